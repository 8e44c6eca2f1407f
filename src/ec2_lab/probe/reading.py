"""What the API says every packet may do, worked out from its answers alone."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

INTERNET = "internet"
_LOCAL, _NOWHERE = "local", ""


@dataclass(frozen=True, slots=True)
class Host:
    name: str
    instance_id: str
    eni_id: str
    subnet_id: str
    addresses: tuple[str, ...]
    public_ip: str
    check: bool  # the source/destination check
    groups: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """A line of a security group that concerns TCP."""

    low: int
    high: int
    cidrs: tuple[str, ...]
    group_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Facts:
    """All that matters to a packet. Routes: (destination, target), target an interface or a word."""

    hosts: tuple[Host, ...]
    routes: dict[str, tuple[tuple[str, str], ...]]  # by subnet
    ingress: dict[str, tuple[Rule, ...]]  # by group
    egress: dict[str, tuple[Rule, ...]]

    def host(self, eni_id: str) -> Host | None:
        return next((h for h in self.hosts if h.eni_id == eni_id), None)

    def owner(self, address: str) -> Host | None:
        return next((h for h in self.hosts if address in h.addresses), None)

    def ports(self) -> set[int]:
        """Every port a rule begins at."""
        return {r.low for rules in (*self.ingress.values(), *self.egress.values()) for r in rules if r.low}

    def translators(self) -> set[str]:
        """Interfaces of NAT instances: what they send under a foreign address becomes their own."""
        return {target for routes in self.routes.values() for to, target in routes if to == "0.0.0.0/0"}

    def overlays(self) -> set[str]:
        """Single addresses that routes send to interfaces."""
        return {
            to.removesuffix("/32")
            for routes in self.routes.values()
            for to, target in routes
            if to.endswith("/32") and target.startswith("eni-")
        }


def read(ec2: Any) -> Facts:
    """Ask the API for everything."""
    groups = ec2.describe_security_groups()["SecurityGroups"]
    return Facts(
        hosts=tuple(_hosts(ec2)),
        routes=_routes(ec2),
        ingress={g["GroupId"]: tuple(_rules(g["IpPermissions"])) for g in groups},
        egress={g["GroupId"]: tuple(_rules(g["IpPermissionsEgress"])) for g in groups},
    )


def _hosts(ec2: Any) -> Iterator[Host]:
    running = [{"Name": "instance-state-name", "Values": ["running"]}]
    for reservation in ec2.describe_instances(Filters=running)["Reservations"]:
        for instance in reservation["Instances"]:
            eni = instance["NetworkInterfaces"][0]
            tags = {tag["Key"]: tag["Value"] for tag in instance.get("Tags", [])}
            yield Host(
                name=tags.get("Name", instance["InstanceId"]),
                instance_id=instance["InstanceId"],
                eni_id=eni["NetworkInterfaceId"],
                subnet_id=eni["SubnetId"],
                addresses=tuple(a["PrivateIpAddress"] for a in eni["PrivateIpAddresses"]),
                public_ip=eni.get("Association", {}).get("PublicIp", ""),
                check=eni["SourceDestCheck"],
                groups=tuple(g["GroupId"] for g in eni["Groups"]),
            )


def _routes(ec2: Any) -> dict[str, tuple[tuple[str, str], ...]]:
    subnets = {s["SubnetId"]: s["VpcId"] for s in ec2.describe_subnets()["Subnets"]}
    explicit, main = {}, {}
    for table in ec2.describe_route_tables()["RouteTables"]:
        routes = tuple(r for route in table["Routes"] for r in _targets(ec2, route))
        for association in table["Associations"]:
            if "SubnetId" in association:
                explicit[association["SubnetId"]] = routes
            elif association.get("Main"):
                main[table["VpcId"]] = routes
    return {subnet: explicit.get(subnet) or main.get(vpc, ()) for subnet, vpc in subnets.items()}


def _targets(ec2: Any, route: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if prefix_list := route.get("DestinationPrefixListId"):
        for entry in ec2.get_managed_prefix_list_entries(PrefixListId=prefix_list)["Entries"]:
            yield entry["Cidr"], "service"
    elif to := route.get("DestinationCidrBlock"):
        gateway = route.get("GatewayId", "")
        if route.get("State") == "blackhole":
            yield to, _NOWHERE
        elif gateway == _LOCAL:
            yield to, _LOCAL
        else:
            yield to, INTERNET if gateway.startswith("igw-") else route.get("NetworkInterfaceId", _NOWHERE)


def _rules(permissions: list[dict[str, Any]]) -> Iterator[Rule]:
    for permission in permissions:
        if permission["IpProtocol"] in ("-1", "tcp"):
            low, high = permission.get("FromPort", -1), permission.get("ToPort", -1)
            yield Rule(
                low=0 if low == -1 else low,
                high=65535 if high == -1 else high,
                cidrs=tuple(r["CidrIp"] for r in permission.get("IpRanges", [])),
                group_ids=tuple(p["GroupId"] for p in permission.get("UserIdGroupPairs", [])),
            )


def path(facts: Facts, source: Host, address: str, destination: str, port: int) -> tuple[str, ...]:
    """Where the first packet of a TCP flow from `source`, sent under `address`, must arrive; in order."""
    if source.check and address not in source.addresses:
        return ()
    if not _allowed(facts, facts.egress, source, destination, port):
        return ()
    target = _route(facts, source, destination)
    if target == "service":
        return (INTERNET,)
    if target == INTERNET:
        return (INTERNET,) if source.public_ip and address == source.addresses[0] else ()
    receiver = facts.owner(destination) if target == _LOCAL else facts.host(target)
    if receiver is None or (receiver.check and destination not in receiver.addresses):
        return ()
    if not _allowed(facts, facts.ingress, receiver, address, port):
        return ()
    if _route(facts, receiver, destination) == INTERNET:  # a NAT instance: it sends on under its own
        return (receiver.eni_id, *path(facts, receiver, receiver.addresses[0], destination, port))
    return (receiver.eni_id,)


def _route(facts: Facts, source: Host, destination: str) -> str:
    """The target of the longest prefix."""
    wanted = ipaddress.IPv4Address(destination)
    fitting = [
        (ipaddress.IPv4Network(to).prefixlen, target)
        for to, target in facts.routes[source.subnet_id]
        if wanted in ipaddress.IPv4Network(to)
    ]
    return max(fitting, default=(0, _NOWHERE))[1]


def _allowed(facts: Facts, side: dict[str, tuple[Rule, ...]], host: Host, peer: str, port: int) -> bool:
    owner = facts.owner(peer)
    peer_groups = set(owner.groups) if owner else set()
    return any(
        rule.low <= port <= rule.high
        and (peer_groups & set(rule.group_ids) or any(_within(peer, cidr) for cidr in rule.cidrs))
        for group in host.groups
        for rule in side.get(group, ())
    )


def _within(address: str, cidr: str) -> bool:
    return ipaddress.IPv4Address(address) in ipaddress.IPv4Network(cidr, strict=False)
