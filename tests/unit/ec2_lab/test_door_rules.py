"""What EC2 refuses, the door refuses too, and changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.unit.ec2_lab.door_lab import IMAGE, VIP, Lab


def code_of(call: Callable[..., Any], **parameters: Any) -> str:
    with pytest.raises(ClientError) as refused:
        call(**parameters)
    return str(refused.value.response["Error"]["Code"])


def test_a_dry_run_never_moves_a_route(lab: Lab) -> None:
    ec2 = lab.client("ec2")
    (_, first), (_, second) = lab.run("db1"), lab.run("db2")
    route = {"RouteTableId": lab.table, "DestinationCidrBlock": VIP}
    ec2.create_route(**route, NetworkInterfaceId=first)

    code = code_of(ec2.replace_route, **route, NetworkInterfaceId=second, DryRun=True)

    assert code == "DryRunOperation"
    assert lab.vip_route()["NetworkInterfaceId"] == first


def test_a_dry_run_starts_nothing(lab: Lab) -> None:
    ec2 = lab.client("ec2")
    asked = {"ImageId": IMAGE, "MinCount": 1, "MaxCount": 1, "SubnetId": lab.subnet}

    assert code_of(ec2.run_instances, **asked, DryRun=True) == "DryRunOperation"
    assert lab.door.engine.lives == {}


def test_a_second_route_for_one_destination_is_refused_and_the_first_stays(lab: Lab) -> None:
    ec2 = lab.client("ec2")
    (_, first), (_, second) = lab.run("db1"), lab.run("db2")
    route = {"RouteTableId": lab.table, "DestinationCidrBlock": VIP}
    ec2.create_route(**route, NetworkInterfaceId=first)

    assert code_of(ec2.create_route, **route, NetworkInterfaceId=second) == "RouteAlreadyExists"
    assert lab.vip_route()["NetworkInterfaceId"] == first


@pytest.mark.parametrize("destination", ["10.0.11.77/32", "10.0.0.0/16", "10.0.200.0/24", "169.254.169.9/32"])
def test_a_destination_no_vpc_can_route_is_refused(lab: Lab, destination: str) -> None:
    _, eni = lab.run("db1")
    route = {"RouteTableId": lab.table, "DestinationCidrBlock": destination, "NetworkInterfaceId": eni}

    assert code_of(lab.client("ec2").create_route, **route) == "InvalidParameterValue"


def test_a_whole_subnet_may_be_routed_to_an_interface(lab: Lab) -> None:
    _, eni = lab.run("db1")

    lab.client("ec2").create_route(
        RouteTableId=lab.table, DestinationCidrBlock="10.0.11.0/24", NetworkInterfaceId=eni
    )

    assert lab.kernel_routes()["10.0.11.0/24"][0] in ("interface", "blackhole")


def test_replacing_a_route_that_is_not_there_is_refused(lab: Lab) -> None:
    _, eni = lab.run("db1")
    route = {"RouteTableId": lab.table, "DestinationCidrBlock": VIP, "NetworkInterfaceId": eni}

    assert code_of(lab.client("ec2").replace_route, **route) == "InvalidParameterValue"


def test_a_missing_target_leaves_the_old_one_in_place(lab: Lab) -> None:
    ec2 = lab.client("ec2")
    _, eni = lab.run("db1")
    route = {"RouteTableId": lab.table, "DestinationCidrBlock": VIP}
    ec2.create_route(**route, NetworkInterfaceId=eni)

    gone = "eni-00000000000000000"
    assert (
        code_of(ec2.replace_route, **route, NetworkInterfaceId=gone) == "InvalidNetworkInterfaceID.NotFound"
    )
    assert lab.vip_route()["NetworkInterfaceId"] == eni


def test_an_instance_on_its_way_can_be_neither_stopped_nor_rebooted(lab: Lab) -> None:
    ec2 = lab.client("ec2")
    lab.machines.hold.clear()
    instance_id, _ = lab.run("db1")

    assert code_of(ec2.stop_instances, InstanceIds=[instance_id]) == "IncorrectInstanceState"
    assert code_of(ec2.reboot_instances, InstanceIds=[instance_id]) == "IncorrectInstanceState"
    lab.machines.hold.set()


def test_one_client_token_runs_one_instance(lab: Lab) -> None:
    first = lab.run("db1", ClientToken="once")
    again = lab.run("db1", ClientToken="once")

    assert first == again
    assert len(lab.door.engine.lives) == 1
    other = {"ImageId": IMAGE, "MinCount": 1, "MaxCount": 2, "SubnetId": lab.subnet, "ClientToken": "once"}
    assert code_of(lab.client("ec2").run_instances, **other) == "IdempotentParameterMismatch"


def test_an_address_in_use_is_refused(lab: Lab) -> None:
    lab.run("db1", PrivateIpAddress="10.0.11.10")
    asked = {"ImageId": IMAGE, "MinCount": 1, "MaxCount": 1, "SubnetId": lab.subnet}

    again = code_of(lab.client("ec2").run_instances, **asked, PrivateIpAddress="10.0.11.10")
    gateway = code_of(lab.client("ec2").run_instances, **asked, PrivateIpAddress="10.0.11.1")

    assert (again, gateway) == ("InvalidIPAddress.InUse", "InvalidParameterValue")


def test_an_action_that_does_not_exist_here_is_an_error_an_sdk_can_read(lab: Lab) -> None:
    assert code_of(lab.client("ec2").describe_instance_topology) == "UnsupportedOperation"
    simulate = {"PolicySourceArn": "arn:aws:iam::1:user/a", "ActionNames": ["ec2:ReplaceRoute"]}
    assert code_of(lab.client("iam").simulate_principal_policy, **simulate) == "UnsupportedOperation"
