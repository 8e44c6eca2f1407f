"""The VPC's route tables, over moto: what a node may read and change, and what silence means (R1)."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from failover_agent.adapters.clock import SystemClock
from failover_agent.adapters.inspect_cloud import Ec2Inspector
from failover_agent.adapters.routes import Ec2RouteTables
from failover_agent.core.model import Unknown
from failover_agent.errors import ApiRefused, RouteDidNotMove
from failover_agent.ports import RouteTables
from tests.support.machine import HandClock
from tests.support.ways import NodeRoutes

from .moto_server import MotoServer, client

VIP = "172.16.52.1"
IMAGE = "ami-0d1ab0debaa000013"


@pytest.fixture(scope="module")
def ec2() -> Iterator[Any]:
    with MotoServer() as server:
        yield client("ec2", server.url)


@pytest.fixture
def vpc(ec2: Any) -> tuple[list[str], list[str]]:
    """Two route tables, and the interfaces of two running instances: a route to another is a blackhole."""
    vpc_id = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc_id, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
    tables = [ec2.create_route_table(VpcId=vpc_id)["RouteTable"]["RouteTableId"] for _ in range(2)]
    made = ec2.run_instances(ImageId=IMAGE, MinCount=2, MaxCount=2, SubnetId=subnet)["Instances"]
    return tables, [instance["NetworkInterfaces"][0]["NetworkInterfaceId"] for instance in made]


def over(ec2: Any, tables: list[str], timeout_s: float = 30) -> Ec2RouteTables:
    return Ec2RouteTables(lambda: ec2, table_ids=tables, request_timeout_s=timeout_s)


class SmallWorld:
    """As much of a world as NodeRoutes asks for: one address, two tables."""

    def __init__(self, tables: list[str]) -> None:
        self.tables = dict.fromkeys(tables, "")
        self.no_api: set[str] = set()
        self.no_ec2: set[str] = set()
        self.late_routes: set[str] = set()
        self.clock = HandClock()


@pytest.fixture(params=["memory", "ec2"])
def routes(request: pytest.FixtureRequest, vpc: tuple[list[str], list[str]], ec2: Any) -> RouteTables:
    tables, _ = vpc
    if request.param == "memory":
        return NodeRoutes(SmallWorld(tables), "db1")  # type: ignore[arg-type]  # it needs no more of a world
    return over(ec2, tables)


def test_a_route_is_created_then_replaced_and_each_table_is_its_own(
    routes: RouteTables, vpc: tuple[list[str], list[str]]
) -> None:
    (one, two), (first, second) = vpc
    assert routes.targets(VIP) == {one: "", two: ""}

    assert routes.point(one, VIP, first) is None
    assert routes.targets(VIP) == {one: first, two: ""}

    assert routes.point(one, VIP, second) is None
    assert routes.point(two, VIP, second) is None
    assert routes.targets(VIP) == {one: second, two: second}


def test_each_address_has_a_route_of_its_own(ec2: Any, vpc: tuple[list[str], list[str]]) -> None:
    (one, two), (first, _) = vpc
    routes = over(ec2, [one, two])

    assert routes.point(one, VIP, first) is None

    assert routes.targets("172.16.52.2") == {one: "", two: ""}


def test_a_refusal_is_an_error_and_names_what_was_to_move(ec2: Any, vpc: tuple[list[str], list[str]]) -> None:
    (one, _), (first, _) = vpc

    with pytest.raises(RouteDidNotMove) as refused:
        over(ec2, [one]).point("rtb-00000000", VIP, first)

    assert "rtb-00000000" in refused.value.args[0]


def test_a_table_that_is_gone_makes_the_answer_unknown_not_empty(
    ec2: Any, vpc: tuple[list[str], list[str]]
) -> None:
    (one, _), _ = vpc

    assert isinstance(over(ec2, [one, "rtb-00000000"]).targets(VIP), Unknown)


def test_silence_is_unknown_and_bounded() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        routes = over(client("ec2", url, 30), ["rtb-1"], timeout_s=0.1)
        begun = SystemClock().now()
        assert isinstance(routes.targets(VIP), Unknown)
        assert isinstance(routes.point("rtb-1", VIP, "eni-1"), Unknown)
        assert SystemClock().now() - begun < 10


def test_without_tables_there_is_nothing_to_ask() -> None:
    def never() -> Any:
        raise AssertionError("the API was asked")

    assert Ec2RouteTables(never, table_ids=(), request_timeout_s=1).targets(VIP) == {}


def test_a_server_that_ignores_a_dry_run_is_named_and_loses_nothing_by_it(
    ec2: Any, vpc: tuple[list[str], list[str]]
) -> None:
    """The wish of a dry run is what stands there already: bare moto, which obeys it, ends as it was."""
    (one, _), (first, second) = vpc
    over(ec2, [one]).point(one, VIP, first)
    inspector = Ec2Inspector(lambda: ec2)
    [seen] = inspector.tables([one])

    with pytest.raises(ApiRefused) as ignored:
        inspector.prove_may_route(seen, VIP, second)

    assert ignored.value.expected == "DryRunOperation"
    assert over(ec2, [one]).targets(VIP) == {one: first}
