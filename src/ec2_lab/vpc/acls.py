"""Network ACLs as chains of the router's nftables table; pure.

Simulated:
- [documented] a network ACL keeps no state: answers need a rule of their own, and a change cuts connections
  that stand <VPC user guide: network ACLs; EC2 user guide: security group connection tracking>
- [documented] rules are tried by number, the first that fits decides, and what no rule fits is denied <VPC
  user guide: network ACL rules>
- [documented] it guards the border of its subnet: what goes out and what comes in; neighbours in one subnet
  do not meet it <VPC user guide: network ACLs>
- [documented] it is evaluated before the groups of who is sent to, and after those of who sends: a packet
  needs both <VPC user guide: internetwork traffic privacy>
- [documented] the metadata service is not subject to it <VPC user guide: network ACLs>
- [assumed (AWS: no time is promised)] a change that was answered is in force for the next packet
- [not simulated] ICMP types, IPv6
"""

from __future__ import annotations

from collections.abc import Iterator

from ec2_lab.model import AclEntry, Direction, Network, NetworkAcl
from ec2_lab.vpc.names import link

HOOK = """
chain borders {
  iifname vmap @leaves
  oifname vmap @enters
}
"""
_SIDES = ((Direction.EGRESS, "leaves", "out"), (Direction.INGRESS, "enters", "in"))


def chains(network: Network) -> Iterator[str]:
    """Sets and chains. A subnet whose ACL lets everything pass costs its packets nothing."""
    acls = {acl.acl_id: acl for acl in network.acls}
    guarded: dict[Direction, list[str]] = {direction: [] for direction, _, _ in _SIDES}
    for subnet in network.subnets:
        acl = acls.get(subnet.acl_id)
        links = [link(i.eni_id) for i in network.interfaces if i.subnet_id == subnet.subnet_id]
        if acl is None or not links:
            continue
        yield _neighbours(subnet.subnet_id, links)
        for direction, _, short in _SIDES:
            if not _lets_all_pass(acl, direction):
                yield _border(subnet.subnet_id, acl.acl_id, direction, short)
                guarded[direction] += [f'"{at}" : jump {subnet.subnet_id}-{short}' for at in links]
    for acl in network.acls:
        for direction, _, short in _SIDES:
            yield _acl(acl, direction, short)
    for direction, name, _ in _SIDES:
        listed = ", ".join(sorted(guarded[direction]))
        elements = f"elements = {{ {listed} }}" if listed else ""
        yield f"map {name} {{ type ifname : verdict; {elements}\n}}"


def _neighbours(subnet_id: str, links: list[str]) -> str:
    listed = ", ".join(sorted(f'"{at}"' for at in links))
    return f"set {subnet_id}-links {{ type ifname; elements = {{ {listed} }}\n}}"


def _border(subnet_id: str, acl_id: str, direction: Direction, short: str) -> str:
    other = "oifname" if direction is Direction.EGRESS else "iifname"
    lines = f"  {other} @{subnet_id}-links return\n  goto {acl_id}-{short}"
    return f"chain {subnet_id}-{short} {{\n{lines}\n}}"


def _acl(acl: NetworkAcl, direction: Direction, short: str) -> str:
    lines = "\n".join(_line(entry) for entry in _in_order(acl, direction))
    return f"chain {acl.acl_id}-{short} {{\n{lines}\n  drop\n}}"


def _line(entry: AclEntry) -> str:
    field = "daddr" if entry.direction is Direction.EGRESS else "saddr"
    verdict = "return" if entry.allow else "drop"  # what may pass still meets security groups
    return f"  ip {field} {entry.cidr} {_traffic(entry)} {verdict}"


def _traffic(entry: AclEntry) -> str:
    if entry.protocol == "all":
        return ""
    if entry.protocol == "icmp":
        return "meta l4proto icmp"
    return f"{entry.protocol} dport {entry.from_port}-{entry.to_port}"


def _in_order(acl: NetworkAcl, direction: Direction) -> list[AclEntry]:
    return sorted((e for e in acl.entries if e.direction is direction), key=lambda e: e.number)


def _lets_all_pass(acl: NetworkAcl, direction: Direction) -> bool:
    first = next(iter(_in_order(acl, direction)), None)
    return first is not None and first.allow and first.protocol == "all" and first.cidr == "0.0.0.0/0"
