from __future__ import annotations

import dataclasses

from hypothesis import given
from hypothesis import strategies as st

from ec2_lab.model import Interface, Network, Route, RouteTable, Subnet, TargetKind
from ec2_lab.vpc import routing
from ec2_lab.vpc.names import link
from ec2_lab.vpc.routing import EMPTY, Numbers, Plan, changes, plan

VPC = "vpc-1"
ENI = "eni-0123456789abcdef0"
VIP = "172.16.0.1/32"


def interface(eni_id: str = ENI, *addresses: str) -> Interface:
    return Interface(
        eni_id, "i-1", VPC, "subnet-1", "02:00:00:00:00:01", addresses or ("10.0.1.10",), "", True, ()
    )


def network(*routes: Route, interfaces: tuple[Interface, ...] = ()) -> Network:
    return Network(
        vpc_cidrs=((VPC, ("10.0.0.0/16",)),),
        subnets=(Subnet("subnet-1", VPC, "10.0.1.0/24", "rtb-1"),),
        tables=(RouteTable("rtb-1", VPC, routes),),
        interfaces=interfaces or (interface(),),
    )


def planned(*routes: Route, plugged: bool = True, interfaces: tuple[Interface, ...] = ()) -> dict[str, str]:
    """Destination → route, of both tables."""
    made = plan(network(*routes, interfaces=interfaces), frozenset({ENI} if plugged else ()), Numbers())
    return {destination: what for (_, destination), what in made.routes.items()}


def test_an_interface_is_a_target_only_while_it_is_plugged() -> None:
    vip = Route(VIP, TargetKind.INTERFACE, ENI)

    assert planned(vip)[VIP] == f"via 10.0.1.10 dev {link(ENI)} onlink"
    assert planned(vip, plugged=False)[VIP] == "blackhole"
    assert planned(Route(VIP, TargetKind.INTERFACE, "eni-gone"))[VIP] == "blackhole"


def test_what_is_local_is_thrown_to_the_vpcs_own_table() -> None:
    routes = planned(Route("10.0.0.0/16", TargetKind.LOCAL))

    assert routes["10.0.0.0/16"] == "throw"
    assert routes["10.0.1.10/32"] == f"dev {link(ENI)} src 10.0.1.1"
    assert routes["default"] == "blackhole"


def test_an_address_without_a_machine_still_answers_arp() -> None:
    assert planned(plugged=False)["10.0.1.10/32"] == "dev void"


def test_a_second_address_of_an_interface_goes_by_its_first() -> None:
    routes = planned(interfaces=(interface(ENI, "10.0.1.10", "10.0.1.11"),))

    assert routes["10.0.1.11/32"] == f"via 10.0.1.10 dev {link(ENI)} onlink src 10.0.1.1"


def test_a_table_keeps_its_number_whatever_comes_before_it_later() -> None:
    numbers = Numbers()
    before = plan(network(Route(VIP, TargetKind.BLACKHOLE)), frozenset(), numbers)
    more = network(Route(VIP, TargetKind.BLACKHOLE))
    more = dataclasses.replace(more, tables=(RouteTable("rtb-0", VPC, ()), *more.tables))

    after = plan(more, frozenset(), numbers)

    assert before.routes.items() <= after.routes.items()


def test_one_replaced_route_is_one_line() -> None:
    numbers, plugged = Numbers(), frozenset({ENI})
    hole = plan(network(Route(VIP, TargetKind.BLACKHOLE)), plugged, numbers)
    led = plan(network(Route(VIP, TargetKind.INTERFACE, ENI)), plugged, numbers)

    table = numbers.of("rtb-1")
    assert changes(hole, led) == [f"route replace {VIP} via 10.0.1.10 dev {link(ENI)} onlink table {table}"]
    assert changes(led, led) == []


WHAT = st.sampled_from(["blackhole", "throw", "dev eni-a", "via 10.0.0.1 dev eni-b onlink"])
PLANS = st.builds(
    Plan,
    st.dictionaries(
        st.tuples(st.integers(1000, 1002), st.sampled_from(["default", "10.0.0.0/16", VIP])), WHAT
    ),
    st.frozensets(st.sampled_from(["pref 100 iif eni-a lookup 1000", "pref 100 iif eni-a lookup 1001"])),
    st.frozensets(st.sampled_from(["10.0.1.1", "10.0.2.1"])),
)


class Kernel:
    """As much of `ip -batch` as the lines use; like the kernel it refuses to add or delete twice."""

    def __init__(self) -> None:
        self.routes: dict[tuple[int, str], str] = {}
        self.rules: set[str] = set()
        self.addresses: set[str] = set()

    def obey(self, lines: list[str]) -> Kernel:
        for line in lines:
            kind, verb, *words = line.split()
            getattr(self, kind)(verb, words)
        return self

    def route(self, verb: str, words: list[str]) -> None:
        *body, _, table = words
        special = body[0] in ("blackhole", "throw")
        destination = body[1] if special else body[0]
        what = body[0] if special else " ".join(body[1:])
        if verb == "replace":
            self.routes[int(table), destination] = what
        else:
            assert self.routes.pop((int(table), destination)) == what

    def rule(self, verb: str, words: list[str]) -> None:
        (self.rules.add if verb == "add" else self.rules.remove)(" ".join(words))

    def address(self, verb: str, words: list[str]) -> None:
        address = words[0].removesuffix("/32")
        (self.addresses.add if verb == "replace" else self.addresses.remove)(address)


@given(PLANS, PLANS)
def test_the_changes_lead_from_any_plan_to_any_other(first: Plan, second: Plan) -> None:
    kernel = Kernel().obey(changes(EMPTY, first)).obey(changes(first, second))

    assert Plan(kernel.routes, frozenset(kernel.rules), frozenset(kernel.addresses)) == second


def test_a_network_made_anew_uses_only_tables_that_afresh_empties() -> None:
    numbers = Numbers()
    used = {table for table, _ in plan(network(), frozenset({ENI}), numbers).routes}

    assert {f"route flush table {table}" for table in used} <= set(routing.afresh(numbers))
