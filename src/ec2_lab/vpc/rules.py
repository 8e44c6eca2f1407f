"""Security groups, source/destination check, internet gateway and cuts as one nftables table; pure.

Simulated:
- [documented] a security group is stateful: the first packet of a flow must be let out by the sender's
  groups and in by the receiver's; what follows passes, also after the rule is gone <EC2 user guide:
  security group connection tracking>
- [assumed (AWS: per interface)] flows are tracked per region: one whose route moves to another interface
  stays allowed
- [documented] the source/destination check drops what an interface sends or is sent under an address
  that is not its own <VPC user guide: NAT instances>
- [documented] the internet gateway translates public addresses one to one and serves nobody else <VPC
  user guide: internet gateways>
- [documented] only what is addressed to the metadata service from the interface's own address reaches it
  <EC2 user guide: instance metadata service>
- [not simulated] idle timeouts of tracked flows, IPv6
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ec2_lab.model import (
    API_ADDRESS,
    DYNAMODB_ADDRESS,
    METADATA_ADDRESS,
    S3_ADDRESS,
    Direction,
    Network,
    SecurityGroup,
    SecurityRule,
)
from ec2_lab.vpc import acls
from ec2_lab.vpc.names import IGW, SVC, link

TABLE = "vpc"
API_ADDRESSES = (API_ADDRESS, DYNAMODB_ADDRESS, S3_ADDRESS)
ALL_PORTS = (0, 65535)


@dataclass(slots=True)
class Faults:
    """What someone broke on purpose; link names, so that they outlive the cable."""

    silenced: set[str] = field(default_factory=set)  # a machine without power
    cut: set[str] = field(default_factory=set)
    muted: set[str] = field(default_factory=set)  # what it sends is lost, what is sent to it arrives
    pairs: set[tuple[str, str]] = field(default_factory=set)  # from, to
    unreachable: set[str] = field(default_factory=set)  # addresses of the API


def ruleset(network: Network, faults: Faults) -> str:
    """The whole table, as one transaction that replaces the one before."""
    chains = (*_group_chains(network), *_interface_chains(network), *acls.chains(network))
    body = "\n".join([*_sets(network, faults), *chains, acls.HOOK, _HOOKS])
    return f"table ip {TABLE} {{}}\ndelete table ip {TABLE}\ntable ip {TABLE} {{\n{body}\n}}\n"


_HOOKS = f"""
chain inward {{
  oifname vmap @ingress
  drop
}}
chain outward {{
  oifname "{IGW}" ip saddr @public_sources accept
  oifname "{IGW}" drop
  oifname "{SVC}" accept
  goto inward
}}
chain faults {{
  iifname @silenced drop
  oifname @silenced drop
  iifname @cut drop
  oifname @cut drop
  iifname @muted drop
  iifname . oifname @pairs drop
  ip daddr @unreachable drop
  ip saddr @unreachable drop
}}
chain forwarding {{
  type filter hook forward priority filter; policy drop;
  jump faults
  iifname @checked iifname . ip saddr != @owned drop
  oifname @checked oifname . ip daddr != @owned drop
  jump borders
  ct state established,related accept
  iifname "{IGW}" goto inward
  iifname vmap @egress
}}
chain to_router {{
  type filter hook input priority filter; policy drop;
  iifname "lo" accept
  jump faults
  ip daddr {METADATA_ADDRESS} tcp dport 80 iifname . ip saddr @owned accept
  ct state established accept
}}
chain from_router {{
  type filter hook output priority filter; policy drop;
  oifname "lo" accept
  jump faults
  meta l4proto tcp accept
  icmp type destination-unreachable icmp code frag-needed accept
}}
chain gateway_in {{
  type nat hook prerouting priority dstnat;
  iifname "{IGW}" dnat to ip daddr map @private_of
}}
chain gateway_out {{
  type nat hook postrouting priority srcnat;
  oifname "{IGW}" snat to ip saddr map @public_of
}}
"""


def _set(name: str, of: str, elements: Iterable[str], kind: str = "set") -> str:
    listed = ", ".join(sorted(elements))
    return f"{kind} {name} {{ type {of}; {f'elements = {{ {listed} }}' if listed else ''}\n}}"


def pair(one: str, other: str) -> str:
    return f'"{one}" . "{other}"'


def quoted(names: Iterable[str]) -> list[str]:
    return [f'"{n}"' for n in names]


def _sets(network: Network, faults: Faults) -> Iterator[str]:
    yield _set("silenced", "ifname", quoted(faults.silenced))
    yield _set("cut", "ifname", quoted(faults.cut))
    yield _set("muted", "ifname", quoted(faults.muted))
    yield _set("pairs", "ifname . ifname", [pair(*p) for p in faults.pairs])
    yield _set("unreachable", "ipv4_addr", faults.unreachable)
    interfaces = network.interfaces
    yield _set("checked", "ifname", quoted(link(i.eni_id) for i in interfaces if i.source_dest_check))
    owned = [f'"{link(i.eni_id)}" . {a}' for i in interfaces for a in i.private_ips]
    yield _set("owned", "ifname . ipv4_addr", owned)
    public = [(i.private_ips[0], i.public_ip) for i in interfaces if i.public_ip]
    yield _set("public_sources", "ipv4_addr", [private for private, _ in public])
    yield _set("public_of", "ipv4_addr : ipv4_addr", [f"{a} : {b}" for a, b in public], "map")
    yield _set("private_of", "ipv4_addr : ipv4_addr", [f"{b} : {a}" for a, b in public], "map")
    for name, short in (("ingress", "in"), ("egress", "out")):
        verdicts = [f'"{link(i.eni_id)}" : goto {link(i.eni_id)}-{short}' for i in interfaces]
        yield _set(name, "ifname : verdict", verdicts, "map")
    for group_id in sorted({g for group in network.groups for r in group.rules for g in r.group_ids}):
        members = {a for i in interfaces if group_id in i.groups for a in i.private_ips}
        yield _set(f"{group_id}-members", "ipv4_addr", members)


def _group_chains(network: Network) -> Iterator[str]:
    for group in network.groups:
        for direction, short in ((Direction.INGRESS, "in"), (Direction.EGRESS, "out")):
            lines = "\n".join(_rule_lines(group, direction))
            yield f"chain {group.group_id}-{short} {{\n{lines}\n}}"


def _interface_chains(network: Network) -> Iterator[str]:
    known = {g.group_id for g in network.groups}
    for interface in network.interfaces:
        for short in ("in", "out"):
            jumps = "\n".join(f"  jump {g}-{short}" for g in interface.groups if g in known)
            yield f"chain {link(interface.eni_id)}-{short} {{\n{jumps}\n  drop\n}}"


def _rule_lines(group: SecurityGroup, direction: Direction) -> Iterator[str]:
    field_, verdict = ("saddr", "accept") if direction is Direction.INGRESS else ("daddr", "goto outward")
    for rule in group.rules:
        if rule.direction is direction:
            for peers in _peers(rule):
                yield f"  ip {field_} {peers} {_traffic(rule)} {verdict}"


def _peers(rule: SecurityRule) -> Iterator[str]:
    v4 = [ipaddress.IPv4Network(c, strict=False) for c in rule.cidrs if ":" not in c]
    for network in ipaddress.collapse_addresses(v4):
        yield str(network)
    for group_id in rule.group_ids:
        yield f"@{group_id}-members"


def _traffic(rule: SecurityRule) -> str:
    if rule.protocol == "all":
        return ""
    if rule.protocol == "icmp" or (rule.from_port, rule.to_port) == ALL_PORTS:
        return f"meta l4proto {rule.protocol}"
    return f"{rule.protocol} dport {rule.from_port}-{rule.to_port}"
