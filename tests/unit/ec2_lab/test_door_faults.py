"""What the API does wrong when told to, and to whom: callers inside the VPC, never the controller."""

from __future__ import annotations

import math
import socket
import threading
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError, ConnectionClosedError
from tests.unit.ec2_lab.door_fakes import until
from tests.unit.ec2_lab.door_lab import VIP, Lab
from tests.unit.ec2_lab.test_door_endpoints import make_table

from ec2_lab.daemon import Servers
from ec2_lab.door import faults
from ec2_lab.errors import LabError
from ec2_lab.model import API_ADDRESS, DYNAMODB_ADDRESS

LATE_S = 0.3
LONG_S = 3600.0


@pytest.fixture
def inside(lab: Lab) -> Any:
    """EC2 as a host in the VPC sees it. Its key may do everything."""
    lab.door.front.rights.trust("AKIACONTROLLER")
    return lab.client("ec2", lab.port_of(lab.door.at(API_ADDRESS)))


@pytest.fixture
def ends(lab: Lab) -> tuple[str, str]:
    """Two interfaces, the VIP's route leading to the first."""
    (_, first), (_, second) = lab.run("db1"), lab.run("db2")
    lab.client("ec2").create_route(RouteTableId=lab.table, DestinationCidrBlock=VIP, NetworkInterfaceId=first)
    return first, second


def target(lab: Lab, client: Any) -> str:
    (table,) = client.describe_route_tables(RouteTableIds=[lab.table])["RouteTables"]
    (route,) = [r for r in table["Routes"] if r.get("DestinationCidrBlock") == VIP]
    return str(route["NetworkInterfaceId"])


def point(lab: Lab, client: Any, eni: str) -> None:
    client.replace_route(RouteTableId=lab.table, DestinationCidrBlock=VIP, NetworkInterfaceId=eni)


def test_a_slow_api_delays_the_hosts_without_holding_the_controller(lab: Lab, inside: Any) -> None:
    lab.door.region.api_fault("slow", LONG_S)
    answered = threading.Event()

    def ask() -> None:
        inside.describe_vpcs()
        answered.set()

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    lab.client("ec2").describe_vpcs()
    assert not answered.is_set()

    lab.door.region.api_fault("slow", 0)
    assert answered.wait(60), "the end of the fault ends the waiting"


def test_a_slow_answer_takes_as_long_as_told(lab: Lab, inside: Any) -> None:
    inside.describe_vpcs()
    lab.door.region.api_fault("slow", LATE_S)
    began = time.monotonic()

    inside.describe_vpcs()

    assert time.monotonic() - began >= LATE_S


def test_a_throttled_api_refuses_the_hosts_and_nobody_else(lab: Lab, inside: Any) -> None:
    lab.door.region.api_fault("throttle", 0.001)
    inside.describe_vpcs()

    with pytest.raises(ClientError) as refused:
        inside.describe_vpcs()
    lab.client("ec2").describe_vpcs()

    assert refused.value.response["Error"]["Code"] == "RequestLimitExceeded"
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 503
    lab.door.region.api_fault("throttle", 0)
    inside.describe_vpcs()


def test_a_stale_api_shows_the_hosts_what_was(lab: Lab, inside: Any, ends: tuple[str, str]) -> None:
    first, second = ends
    lab.door.region.api_fault("stale", LONG_S)
    point(lab, inside, second)

    assert target(lab, inside) == first
    assert target(lab, lab.client("ec2")) == second
    assert lab.kernel_routes()[VIP] == ("interface", second) or lab.door.engine.plugged == set()

    lab.door.region.api_fault("stale", 0)
    assert target(lab, inside) == second


def test_stale_answers_are_never_older_than_told(lab: Lab, inside: Any, ends: tuple[str, str]) -> None:
    first, second = ends
    lab.door.region.api_fault("stale", LATE_S)
    began = time.monotonic()
    point(lab, inside, second)
    seen = target(lab, inside)
    assert seen == first or time.monotonic() - began >= LATE_S

    until(lambda: target(lab, inside) == second)
    assert time.monotonic() - began >= LATE_S


def test_consistent_reads_of_the_store_are_never_stale(lab: Lab, inside: Any) -> None:
    store = lab.client("dynamodb", lab.port_of(lab.door.at(DYNAMODB_ADDRESS)))
    make_table(store)
    lab.door.region.api_fault("stale", LONG_S)
    store.put_item(TableName="leases", Item={"cluster": {"S": "c"}})

    assert "Item" in store.get_item(TableName="leases", Key={"cluster": {"S": "c"}}, ConsistentRead=True)


def test_a_late_route_is_answered_before_it_is_true(lab: Lab, inside: Any, ends: tuple[str, str]) -> None:
    first, second = ends
    lab.door.region.api_fault("late-routes", LATE_S)
    began = time.monotonic()

    point(lab, inside, second)
    seen = target(lab, lab.client("ec2"))
    assert seen == first or time.monotonic() - began >= LATE_S

    until(lambda: target(lab, lab.client("ec2")) == second)
    assert time.monotonic() - began >= LATE_S
    assert lab.door.region.history(3)[-1]["action"] == "DescribeRouteTables"
    assert "landed late" in [entry["fault"] for entry in lab.door.region.history()]


def test_a_late_route_of_a_deposed_holder_undoes_a_newer_one(
    lab: Lab, inside: Any, ends: tuple[str, str]
) -> None:
    first, second = ends
    point(lab, lab.client("ec2"), second)
    lab.door.region.api_fault("late-routes", LATE_S)
    point(lab, inside, first)
    lab.door.region.api_fault("late-routes", 0)
    point(lab, inside, second)

    until(lambda: target(lab, inside) == first)


def test_what_ec2_refuses_is_refused_at_once_also_when_routes_are_late(lab: Lab, inside: Any) -> None:
    lab.door.region.api_fault("late-routes", LONG_S)

    with pytest.raises(ClientError) as refused:
        point(lab, inside, lab.run("db1")[1])

    assert "Invalid" in refused.value.response["Error"]["Code"]


def test_a_lost_answer_has_taken_effect(lab: Lab, inside: Any, ends: tuple[str, str]) -> None:
    first, second = ends
    with socket.create_server(("127.0.0.1", 0)) as listening:
        servers = Servers()
        servers.add(lab.door.at(API_ADDRESS), listening)
        threading.Thread(target=servers.run, daemon=True).start()
        served = lab.client("ec2", listening.getsockname()[1])
        assert target(lab, served) == first
        lab.door.region.api_fault("lost-answers", 1)

        with pytest.raises(ConnectionClosedError):
            point(lab, served, second)

        assert target(lab, lab.client("ec2")) == second
        lab.door.region.api_fault("lost-answers", 0)
        assert target(lab, served) == second
    assert [e["fault"] for e in lab.door.region.history() if e["action"] == "ReplaceRoute"] == [
        "lost-answers"
    ]


def test_the_status_shows_what_is_on(lab: Lab) -> None:
    lab.door.region.api_fault("slow", 2)
    lab.door.region.api_fault("stale", 3)
    lab.door.region.api_fault("slow", 0)
    lab.door.region.api(reachable=False)

    status = lab.door.region.status()
    assert status["api_faults"] == {"stale": 3}
    assert status["api_reachable"] == "no"


@pytest.mark.parametrize(
    ("kind", "value"), [("odd", 1.0), ("slow", -1.0), ("slow", math.inf), ("slow", math.nan)]
)
def test_a_fault_that_cannot_be_is_refused(kind: str, value: float) -> None:
    with pytest.raises(LabError):
        faults.ApiFaults().set(kind, value)
