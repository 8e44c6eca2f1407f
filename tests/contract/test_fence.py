"""The cloud's hand on another node's machine: over moto's EC2 by both methods, and in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from botocore.exceptions import ClientError, ParamValidationError

from failover_agent.adapters.fence import IsolateSubnet, StopInstance
from failover_agent.core.model import Unknown
from failover_agent.errors import ApiThrottled, FenceRefused, RightMissing
from failover_agent.ports import Fence
from tests.support.fence import Cloud, NodeFence

from .moto_server import MotoServer, client

IMAGE = "ami-0d1ab0debaa000013"


@pytest.fixture(scope="module")
def ec2() -> Iterator[Any]:
    with MotoServer() as server:
        yield client("ec2", server.url)


@dataclass
class Place:
    """A machine in a subnet of its own, and an ACL that lets nothing pass."""

    instance: str
    subnet: str
    acl: str


@pytest.fixture
def place(ec2: Any) -> Place:
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
    made = ec2.run_instances(ImageId=IMAGE, MinCount=1, MaxCount=1, SubnetId=subnet)["Instances"][0]
    acl = ec2.create_network_acl(VpcId=vpc)["NetworkAcl"]["NetworkAclId"]
    return Place(made["InstanceId"], subnet, acl)


class SmallWorld:
    """As much of a world as NodeFence asks for."""

    def __init__(self) -> None:
        self.cloud = Cloud()
        self.no_api: set[str] = set()

    def cloud_stops(self, instance_id: str) -> None:
        self.cloud.stopped.add(instance_id)

    def power_on(self, name: str) -> None: ...


def isolating(ec2: Any, place: Place) -> IsolateSubnet:
    return IsolateSubnet(lambda: ec2, acl_id=place.acl, request_timeout_s=30)


def stopping(ec2: Any) -> StopInstance:
    return StopInstance(lambda: ec2, request_timeout_s=30)


@pytest.fixture(params=["memory", "stop-instance", "isolate"])
def fence(request: pytest.FixtureRequest, ec2: Any, place: Place) -> Fence:
    if request.param == "memory":
        return NodeFence(SmallWorld(), "db2")  # type: ignore[arg-type]  # it needs no more of a world
    return stopping(ec2) if request.param == "stop-instance" else isolating(ec2, place)


def fenced_within_a_few_looks(fence: Fence, instance: str) -> bool:
    return any(fence.is_fenced(instance) is True for _ in range(5))


def test_a_machine_is_fenced_only_after_it_was_asked_for(fence: Fence, place: Place) -> None:
    assert fence.is_fenced(place.instance) is False
    before = fence.before(place.instance)
    assert not isinstance(before, Unknown)
    assert fence.fence(place.instance) is None
    assert fenced_within_a_few_looks(fence, place.instance)

    assert fence.fence(place.instance) is None, "safe to repeat"
    assert fence.is_fenced(place.instance) is True


def test_what_was_kept_before_undoes_it_once_and_again(fence: Fence, place: Place) -> None:
    before = fence.before(place.instance)
    assert not isinstance(before, Unknown)
    fence.fence(place.instance)
    assert fenced_within_a_few_looks(fence, place.instance)

    for _ in range(2):
        assert fence.undo(place.instance, before) is None
        assert fence.is_fenced(place.instance) is False


def test_a_machine_that_ec2_does_not_show_is_not_fenced(ec2: Any, place: Place) -> None:
    for fence in (stopping(ec2), isolating(ec2, place)):
        assert isinstance(fence.is_fenced("i-0123456789abcdef0"), Unknown)


def test_a_terminated_machine_is_fenced(ec2: Any, place: Place) -> None:
    ec2.terminate_instances(InstanceIds=[place.instance])

    assert fenced_within_a_few_looks(stopping(ec2), place.instance)


def test_an_isolated_subnet_gets_back_the_acl_it_had(ec2: Any, place: Place) -> None:
    fence = isolating(ec2, place)
    before = fence.before(place.instance)
    assert not isinstance(before, Unknown)
    fence.fence(place.instance)
    assert fence.before(place.instance) == {}, "that it is cut is nothing to go back to"

    fence.undo(place.instance, before)

    assert fence.before(place.instance) == before


def test_a_subnet_that_holds_anybody_else_is_not_isolated(ec2: Any, place: Place) -> None:
    fence = isolating(ec2, place)
    stranger = ec2.create_network_interface(SubnetId=place.subnet)["NetworkInterface"]["NetworkInterfaceId"]

    with pytest.raises(FenceRefused, match=stranger):
        fence.prove(place.instance)
    with pytest.raises(FenceRefused, match=stranger):
        fence.fence(place.instance)
    assert fence.is_fenced(place.instance) is False


def test_without_the_note_nothing_is_guessed(ec2: Any, place: Place) -> None:
    fence = isolating(ec2, place)
    fence.fence(place.instance)

    with pytest.raises(FenceRefused, match=place.subnet):
        fence.undo(place.instance, {})
    assert fence.is_fenced(place.instance) is True


@dataclass
class Says:
    """An EC2 client that answers every change with one error, or takes it, and keeps what it was asked."""

    error: Exception | None
    asked: list[dict[str, Any]] = field(default_factory=list)

    def stop_instances(self, **wish: Any) -> None:
        self.asked.append(wish)
        if self.error is not None and (not is_old(self.error) or "SkipOsShutdown" in wish):
            raise self.error


def is_old(error: Exception) -> bool:
    return isinstance(error, ParamValidationError) or "UnknownParameter" in str(error)


def api(code: str, text: str = "because", status: int = 400) -> ClientError:
    answer = {"Error": {"Code": code, "Message": text}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return ClientError(answer, "StopInstances")  # type: ignore[arg-type]  # as much of one as is read


def stop(error: Exception | None) -> tuple[Unknown | None, list[dict[str, Any]]]:
    ec2 = Says(error)
    return StopInstance(lambda: ec2, request_timeout_s=30).fence("i-1"), ec2.asked


def test_a_machine_is_stopped_by_force_without_a_shutdown_of_its_system() -> None:
    assert stop(None) == (None, [{"InstanceIds": ["i-1"], "Force": True, "SkipOsShutdown": True}])


@pytest.mark.parametrize("error", [ParamValidationError(report="Unknown parameter"), api("UnknownParameter")])
def test_an_sdk_or_an_ec2_that_is_older_gets_what_it_knows(error: Exception) -> None:
    answer, asked = stop(error)

    assert answer is None
    assert asked[-1] == {"InstanceIds": ["i-1"], "Force": True}


@pytest.mark.parametrize(
    "error",
    [api("InternalError", status=500), api("IncorrectInstanceState"), ConnectionResetError("reset")],
    ids=["broken", "on its way", "cut"],
)
def test_what_may_pass_is_no_answer(error: Exception) -> None:
    answer, asked = stop(error)

    assert isinstance(answer, Unknown)
    assert len(asked) == 1, "one attempt per call"


def test_throttling_is_no_answer_either() -> None:
    """cluster-glue #33: it was taken for a fence."""
    answer, _ = stop(api("RequestLimitExceeded", status=503))

    assert isinstance(answer, Unknown)
    assert isinstance(answer.cause, ApiThrottled)


@pytest.mark.parametrize(
    "code", ["OperationNotPermitted", "UnauthorizedOperation", "InvalidInstanceID.NotFound"]
)
def test_a_no_for_good_is_a_refusal_that_says_what_to_do(code: str) -> None:
    with pytest.raises(FenceRefused) as refused:
        stop(api(code, "The instance may not be stopped: modify its 'disableApiStop' attribute."))

    assert refused.value.hint
    assert not isinstance(refused.value, RightMissing)
