"""Which kernel routes and policy rules a network needs; pure.

Every subnet's packets enter by their interface's own link and are looked up in the kernel table of
the subnet's route table (`ip rule iif`). What is local to the VPC is thrown from there to the VPC's
own table, which knows every interface by its /32 and drops the rest.

Simulated:
- [documented] the longest prefix wins <VPC user guide: route priority>
- [documented] a subnet uses the table associated with it, else the VPC's main table <VPC user guide:
  subnet route tables>
- [documented] a blackhole drops silently <EC2 API: Route.State>
- [assumed (AWS: seconds at most)] an answered route change is in force for the next packet
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field

from ec2_lab.model import Interface, Network, Route, Subnet, TargetKind
from ec2_lab.vpc.names import IGW, IGW_FAR, SVC, SVC_FAR, VOID, link

FIRST_TABLE = 1000
SUBNET_PREF, VPC_PREF, ANYWHERE_PREF = 100, 200, 300

# Destination that stays where it is → nothing else in the lab has this key.
RouteKey = tuple[int, str]


@dataclass(slots=True)
class Numbers:
    """Kernel table numbers by VPC or route table id; a number once given stays."""

    given: dict[str, int] = field(default_factory=dict)

    def of(self, name: str) -> int:
        return self.given.setdefault(name, FIRST_TABLE + len(self.given))


@dataclass(frozen=True, slots=True)
class Plan:
    """What the router's kernel should hold.

    `routes` maps (table, destination) to the rest of the `ip route` line, and to its type where it
    has one; `rules` are `ip rule` selectors with their preference; `gateways` the addresses that
    subnets believe their router to have.
    """

    routes: dict[RouteKey, str]
    rules: frozenset[str]
    gateways: frozenset[str]


def plan(network: Network, plugged: frozenset[str], numbers: Numbers) -> Plan:
    """The kernel's state for `network` when the interfaces `plugged` (by id) have a cable."""
    interfaces = {i.eni_id: i for i in network.interfaces}
    subnets = {s.subnet_id: s for s in network.subnets}
    routes: dict[RouteKey, str] = {}
    for vpc_id, _ in network.vpc_cidrs:
        routes[numbers.of(vpc_id), "default"] = "blackhole"
    for interface in network.interfaces:
        routes.update(_addresses(interface, subnets, plugged, numbers))
    cidrs = dict(network.vpc_cidrs)
    for table in network.tables:
        number = numbers.of(table.table_id)
        for cidr in cidrs.get(table.vpc_id, ()):
            routes[number, cidr] = "throw"
        for route in table.routes:
            if route.kind is not TargetKind.LOCAL:
                routes[number, _destination(route)] = _target(route, interfaces, plugged)
    rules = _rules(network, subnets, plugged, numbers)
    return Plan(routes, frozenset(rules), frozenset(gateway(s) for s in network.subnets))


def gateway(subnet: Subnet) -> str:
    """The subnet's first address, AWS's router ("Subnet CIDR blocks", VPC user guide)."""
    return str(ipaddress.ip_network(subnet.cidr)[1])


def _destination(route: Route) -> str:
    return "default" if route.destination == "0.0.0.0/0" else route.destination


def _addresses(
    interface: Interface, subnets: dict[str, Subnet], plugged: frozenset[str], numbers: Numbers
) -> dict[RouteKey, str]:
    """A /32 per private address; without a machine the address still answers ARP, then silence."""
    number = numbers.of(interface.vpc_id)
    subnet = subnets.get(interface.subnet_id)
    source = f" src {gateway(subnet)}" if subnet else ""
    found = {}
    for nth, address in enumerate(interface.private_ips):
        via = f"via {interface.private_ips[0]} " if nth else ""
        here = f"{via}dev {link(interface.eni_id)} onlink{source}" if via else ""
        here = here or f"dev {link(interface.eni_id)}{source}"
        found[number, f"{address}/32"] = here if interface.eni_id in plugged else f"dev {VOID}"
    return found


def _target(route: Route, interfaces: dict[str, Interface], plugged: frozenset[str]) -> str:
    if route.kind is TargetKind.INTERNET:
        return f"via {IGW_FAR} dev {IGW}"
    if route.kind is TargetKind.SERVICE:
        return f"via {SVC_FAR} dev {SVC}"
    if route.kind is TargetKind.INTERFACE and route.target in plugged and route.target in interfaces:
        address = interfaces[route.target].private_ips[0]
        return f"via {address} dev {link(route.target)} onlink"
    return "blackhole"


def _rules(
    network: Network, subnets: dict[str, Subnet], plugged: frozenset[str], numbers: Numbers
) -> Iterable[str]:
    for interface in network.interfaces:
        if interface.eni_id in plugged:
            iif = f"iif {link(interface.eni_id)}"
            subnet = subnets.get(interface.subnet_id)
            if subnet and subnet.table_id:
                yield f"pref {SUBNET_PREF} {iif} lookup {numbers.of(subnet.table_id)}"
            yield f"pref {VPC_PREF} {iif} lookup {numbers.of(interface.vpc_id)}"
    # For what comes from the internet and from the router itself (metadata answers, tunnels).
    for vpc_id, cidrs in network.vpc_cidrs:
        for cidr in cidrs:
            yield f"pref {ANYWHERE_PREF} to {cidr} lookup {numbers.of(vpc_id)}"


EMPTY = Plan({}, frozenset(), frozenset())

_TYPES = ("blackhole", "throw")


def _route_line(verb: str, key: RouteKey, what: str) -> str:
    table, destination = key
    if what in _TYPES:
        return f"route {verb} {what} {destination} table {table}"
    return f"route {verb} {destination} {what} table {table}"


def changes(was: Plan, wanted: Plan) -> list[str]:
    """`ip -batch` lines that turn one plan into the other; no traffic finds a gap it had not before."""
    lines = [f"address replace {a}/32 dev lo" for a in sorted(wanted.gateways - was.gateways)]
    for key, what in wanted.routes.items():
        if was.routes.get(key) != what:
            lines.append(_route_line("replace", key, what))
    lines += [f"rule add {rule}" for rule in sorted(wanted.rules - was.rules)]
    lines += [f"rule delete {rule}" for rule in sorted(was.rules - wanted.rules)]
    lines += [_route_line("delete", k, w) for k, w in was.routes.items() if k not in wanted.routes]
    lines += [f"address delete {a}/32 dev lo" for a in sorted(was.gateways - wanted.gateways)]
    return lines


def afresh(numbers: Numbers) -> list[str]:
    """Lines (for `ip -force`) that empty all our tables, when nobody knows any more what is in them."""
    flush = [f"route flush table {number}" for number in numbers.given.values()]
    return [*flush, "rule flush", "rule add pref 32766 lookup main"]
