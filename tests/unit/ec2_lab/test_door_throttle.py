"""AWS' token buckets: how many calls at once, how many a second, and which calls share one."""

from __future__ import annotations

import itertools

import pytest
from botocore.exceptions import ClientError
from tests.unit.ec2_lab.door_lab import Lab

from ec2_lab.door.answers import Refused
from ec2_lab.door.calls import EVERYTHING, Call
from ec2_lab.door.throttle import Throttle


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def call(action: str, service: str = "ec2", **params: str) -> Call:
    return Call(service, action, params, b"", "10.0.11.4", "AKIA", EVERYTHING)


def served(throttle: Throttle, asked: Call) -> int:
    """How many of these calls pass before one is refused."""
    return sum(itertools.takewhile(bool, (passes(throttle, asked) for _ in range(1000))))


def passes(throttle: Throttle, asked: Call) -> bool:
    try:
        throttle.take(asked)
    except Refused as refused:
        return (refused.code, refused.status) != ("RequestLimitExceeded", 503)
    return True


@pytest.mark.parametrize(
    ("action", "at_once", "a_second"),
    [
        ("ReplaceRoute", 50, 5),
        ("DescribeRouteTables", 100, 20),
        ("DescribeInstances", 50, 10),
        ("RunInstances", 5, 2),
        ("StartInstances", 5, 2),
        ("TerminateInstances", 100, 5),
    ],
)
def test_a_bucket_has_its_size_and_its_refill(action: str, at_once: int, a_second: int) -> None:
    clock = Clock()
    throttle = Throttle(clock)
    asked = call(action)

    assert served(throttle, asked) == at_once
    clock.now += 1
    assert served(throttle, asked) == a_second
    clock.now += 3600
    assert served(throttle, asked) == at_once, "it never holds more than its size"


def test_a_filtered_list_has_a_bucket_of_its_own() -> None:
    throttle = Throttle(Clock())
    served(throttle, call("DescribeInstances"))

    assert served(throttle, call("DescribeInstances", **{"Filter.1.Name": "vpc-id"})) == 100


def test_actions_do_not_share_a_bucket_and_other_services_have_none() -> None:
    throttle = Throttle(Clock())
    served(throttle, call("ReplaceRoute"))

    assert served(throttle, call("CreateRoute")) == 50
    for _ in range(1000):
        throttle.take(call("PutItem", service="dynamodb"))


def test_a_throttled_change_has_changed_nothing(lab: Lab) -> None:
    ec2 = lab.client("ec2")
    lab.door.front.throttle = Throttle(Clock())
    for _ in range(50):
        made = ec2.create_vpc(CidrBlock="10.1.0.0/16")["Vpc"]["VpcId"]
        ec2.delete_vpc(VpcId=made) if _ < 49 else None
    before = len(ec2.describe_vpcs()["Vpcs"])

    with pytest.raises(ClientError) as refused:
        ec2.create_vpc(CidrBlock="10.2.0.0/16")

    assert refused.value.response["Error"]["Code"] == "RequestLimitExceeded"
    assert len(ec2.describe_vpcs()["Vpcs"]) == before
