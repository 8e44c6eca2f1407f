"""What the API is told becomes true of machines and wires, in the right order."""

from __future__ import annotations

import pytest
from tests.unit.ec2_lab.door_fakes import until
from tests.unit.ec2_lab.door_lab import VIP, Lab

from ec2_lab.errors import CommandFailed, LabError, NoSuchHost
from ec2_lab.model import Power


def test_an_instance_is_pending_until_its_machine_runs(lab: Lab) -> None:
    lab.machines.hold.clear()
    lab.door.front.patience_s = 0.0
    instance_id, eni = lab.run("db1")
    ec2 = lab.client("ec2")

    def stated() -> str:
        found = ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]
        return str(found["State"]["Name"])

    assert stated() == "pending"
    lab.machines.hold.set()
    until(lambda: stated() == "running")
    assert [verb[0] for verb in lab.wires.log] == ["plug"]
    assert lab.wires.log[0] == ("plug", eni, "10.0.11.4/24", "10.0.11.1")


def test_a_held_boot_does_not_hold_the_api(lab: Lab) -> None:
    lab.machines.hold.clear()
    lab.run("db1")

    assert lab.client("ec2").describe_vpcs()["Vpcs"]
    lab.machines.hold.set()


def test_a_route_is_in_the_kernel_before_it_is_answered(lab: Lab) -> None:
    ec2 = lab.client("ec2")
    (one, first), (two, second) = lab.run("db1"), lab.run("db2")
    for instance_id in (one, two):
        lab.until_state(instance_id, "running")
    ec2.create_route(RouteTableId=lab.table, DestinationCidrBlock=VIP, NetworkInterfaceId=first)
    assert lab.kernel_routes()[VIP] == ("interface", first)

    ec2.replace_route(RouteTableId=lab.table, DestinationCidrBlock=VIP, NetworkInterfaceId=second)

    assert lab.kernel_routes()[VIP] == ("interface", second)
    assert lab.vip_route()["State"] == "active"


@pytest.mark.parametrize("how", ["stop", "terminate"])
def test_a_route_to_what_is_gone_is_a_blackhole(lab: Lab, how: str) -> None:
    ec2 = lab.client("ec2")
    instance_id, eni = lab.run("db1")
    lab.until_state(instance_id, "running")
    ec2.create_route(RouteTableId=lab.table, DestinationCidrBlock=VIP, NetworkInterfaceId=eni)

    if how == "stop":
        ec2.stop_instances(InstanceIds=[instance_id])
        lab.until_state(instance_id, "stopped")
    else:
        ec2.terminate_instances(InstanceIds=[instance_id])
        lab.until_state(instance_id, "terminated")

    assert lab.vip_route()["State"] == "blackhole"
    assert lab.kernel_routes()[VIP] == ("blackhole", "")


def test_a_stopped_instance_comes_back_with_its_route(lab: Lab) -> None:
    ec2 = lab.client("ec2")
    instance_id, eni = lab.run("db1")
    lab.until_state(instance_id, "running")
    ec2.create_route(RouteTableId=lab.table, DestinationCidrBlock=VIP, NetworkInterfaceId=eni)
    ec2.stop_instances(InstanceIds=[instance_id])
    lab.until_state(instance_id, "stopped")

    ec2.start_instances(InstanceIds=[instance_id])
    lab.until_state(instance_id, "running")

    assert lab.kernel_routes()[VIP] == ("interface", eni)
    assert [v[0] for v in lab.machines.log] == ["boot", "shut_down", "boot"]


@pytest.mark.parametrize("flag", ["Force", "SkipOsShutdown"])
def test_a_forced_stop_silences_first_and_cuts_the_power(lab: Lab, flag: str) -> None:
    instance_id, eni = lab.run("db1")
    lab.until_state(instance_id, "running")

    lab.client("ec2").stop_instances(InstanceIds=[instance_id], **{flag: True})
    lab.until_state(instance_id, "stopped")

    assert [verb for verb in lab.wires.log if verb[0] != "plug"] == [("silence", eni), ("unplug", eni)]
    assert lab.machines.log[-1] == ("crash", instance_id)


@pytest.mark.parametrize(
    ("how", "between", "at_last"),
    [("stop", "stopping", "stopped"), ("terminate", "shutting-down", "terminated")],
)
def test_the_api_learns_of_a_death_a_while_after_it(lab: Lab, how: str, between: str, at_last: str) -> None:
    lab.door.engine.states_lag_s = 3.0
    lab.door.front.patience_s = 0.0
    instance_id, eni = lab.run("db1")
    lab.until_state(instance_id, "running")
    ec2 = lab.client("ec2")

    if how == "stop":
        ec2.stop_instances(InstanceIds=[instance_id], Force=True)
    else:
        ec2.terminate_instances(InstanceIds=[instance_id])
    until(lambda: lab.wires.log[-1] == ("unplug", eni))

    assert lab.state(instance_id) == between
    lab.until_state(instance_id, at_last)


def test_a_machine_that_does_not_boot_is_stopped_with_its_reason(lab: Lab) -> None:
    lab.machines.fail_boot = RuntimeError("no disk")
    instance_id, eni = lab.run("db1")
    lab.until_state(instance_id, "stopped")

    found = lab.client("ec2").describe_instances(InstanceIds=[instance_id])
    reason = found["Reservations"][0]["Instances"][0]["StateReason"]
    assert reason["Code"] == "Server.InternalError"
    assert "no disk" in reason["Message"]
    assert lab.wires.log[-1] == ("unplug", eni)


def test_a_kernel_that_does_not_follow_is_an_answer_and_is_repaired_by_the_next_change(lab: Lab) -> None:
    ec2 = lab.client("ec2")
    instance_id, eni = lab.run("db1")
    lab.until_state(instance_id, "running")
    lab.wires.fail_apply = RuntimeError("netlink")
    route = {"RouteTableId": lab.table, "DestinationCidrBlock": VIP, "NetworkInterfaceId": eni}

    with pytest.raises(ec2.exceptions.ClientError, match="InternalError"):
        ec2.create_route(**route)
    assert lab.door.region.status()["trouble"] == "RuntimeError: netlink"

    lab.wires.fail_apply = None
    ec2.replace_route(**route)
    assert lab.kernel_routes()[VIP] == ("interface", eni)
    assert lab.door.region.status()["trouble"] == ""


def test_volumes_follow_the_api(lab: Lab) -> None:
    ec2 = lab.client("ec2")
    data = {"DeviceName": "/dev/sdf", "Ebs": {"VolumeSize": 4, "DeleteOnTermination": True}}
    instance_id, _ = lab.run("db1", BlockDeviceMappings=[data])
    lab.until_state(instance_id, "running")
    (given,) = lab.machines.specs[instance_id].volumes
    assert (given.device, given.size_gib) == ("/dev/sdf", 4)

    made = ec2.create_volume(AvailabilityZone="eu-central-1a", Size=1)["VolumeId"]
    ec2.attach_volume(VolumeId=made, InstanceId=instance_id, Device="/dev/sdg")
    assert lab.machines.log[-1] == ("attach_volume", instance_id, made)
    ec2.detach_volume(VolumeId=made)
    assert lab.machines.log[-1] == ("detach_volume", instance_id, made)

    ec2.terminate_instances(InstanceIds=[instance_id])
    until(lambda: ("delete_volume", given.volume_id) in lab.machines.log)
    verbs = [verb[0] for verb in lab.machines.log]
    assert verbs.index("destroy") < verbs.index("delete_volume")
    assert ("delete_volume", made) not in lab.machines.log


def test_one_source_dest_check_for_instance_and_interface(lab: Lab) -> None:
    ec2 = lab.client("ec2")
    instance_id, eni = lab.run("db1")

    ec2.modify_instance_attribute(InstanceId=instance_id, SourceDestCheck={"Value": False})

    shown = ec2.describe_network_interfaces(NetworkInterfaceIds=[eni])["NetworkInterfaces"][0]
    assert shown["SourceDestCheck"] is False
    assert [i.source_dest_check for i in lab.wires.network.interfaces] == [False]
    ec2.modify_network_interface_attribute(NetworkInterfaceId=eni, SourceDestCheck={"Value": True})
    found = ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]
    assert found["SourceDestCheck"] is True


def test_changed_security_groups_reach_the_kernel(lab: Lab) -> None:
    ec2 = lab.client("ec2")
    instance_id, _ = lab.run("db1")
    made = ec2.create_security_group(GroupName="db", Description="db", VpcId=lab.vpc)["GroupId"]
    rule = {"IpProtocol": "tcp", "FromPort": 5432, "ToPort": 5432, "UserIdGroupPairs": [{"GroupId": made}]}
    ec2.authorize_security_group_ingress(GroupId=made, IpPermissions=[rule])

    ec2.modify_instance_attribute(InstanceId=instance_id, Groups=[made])

    (interface,) = lab.wires.network.interfaces
    assert interface.groups == (made,)
    group = next(g for g in lab.wires.network.groups if g.group_id == made)
    assert (group.rules[0].from_port, group.rules[0].group_ids) == (5432, (made,))


def test_a_gateway_endpoint_is_a_route_to_the_service(lab: Lab) -> None:
    ec2 = lab.client("ec2")
    name = "com.amazonaws.eu-central-1.dynamodb"
    made = ec2.create_vpc_endpoint(VpcId=lab.vpc, ServiceName=name, VpcEndpointType="Gateway")
    endpoint = made["VpcEndpoint"]["VpcEndpointId"]

    ec2.modify_vpc_endpoint(VpcEndpointId=endpoint, AddRouteTableIds=[lab.table])
    assert lab.kernel_routes()["203.0.113.20/32"] == ("service", "dynamodb")

    ec2.modify_vpc_endpoint(VpcEndpointId=endpoint, RemoveRouteTableIds=[lab.table])
    assert "203.0.113.20/32" not in lab.kernel_routes()


def test_a_power_loss_is_a_secret_from_the_api(lab: Lab) -> None:
    instance_id, eni = lab.run("db1")
    lab.until_state(instance_id, "running")

    lab.door.region.crash("db1")
    lab.door.region.crash("db1")

    assert lab.state(instance_id) == "running"
    assert [h["state"] for h in lab.door.region.hosts()] == [Power.OFF.value]
    lab.door.region.start("db1")
    lab.door.region.start(instance_id)
    assert [h["state"] for h in lab.door.region.hosts()] == [Power.RUNNING.value]
    assert [v[0] for v in lab.machines.log].count("boot") == 2
    assert eni in lab.door.engine.plugged


def test_a_machine_that_powers_itself_off_is_stopped_and_can_be_started(lab: Lab) -> None:
    ec2 = lab.client("ec2")
    instance_id, _ = lab.run("db1")
    lab.until_state(instance_id, "running")

    lab.machines.powers[instance_id] = Power.OFF
    ec2.describe_instances(InstanceIds=[instance_id])
    lab.until_state(instance_id, "stopped")

    found = ec2.describe_instances(InstanceIds=[instance_id])["Reservations"][0]["Instances"][0]
    assert found["StateReason"]["Code"] == "Client.InstanceInitiatedShutdown"
    ec2.start_instances(InstanceIds=[instance_id])
    lab.until_state(instance_id, "running")


def test_a_reboot_is_a_shutdown_and_a_boot_and_never_a_stop(lab: Lab) -> None:
    instance_id, eni = lab.run("db1")
    lab.until_state(instance_id, "running")

    lab.client("ec2").reboot_instances(InstanceIds=[instance_id])
    until(lambda: [v[0] for v in lab.machines.log] == ["boot", "shut_down", "boot"])

    assert lab.state(instance_id) == "running"
    assert [v[0] for v in lab.wires.log] == ["plug", "unplug", "plug"]
    assert eni in lab.door.engine.plugged


def test_a_paused_machine_is_silent_before_it_freezes_and_speaks_after_it_wakes(lab: Lab) -> None:
    instance_id, eni = lab.run("db1")
    lab.until_state(instance_id, "running")

    lab.door.region.pause("db1")
    assert lab.wires.log[-1] == ("silence", eni)
    assert [h["state"] for h in lab.door.region.hosts()] == [Power.PAUSED.value]

    lab.door.region.resume("db1")
    assert lab.wires.log[-1] == ("wake", eni)
    assert [h["state"] for h in lab.door.region.hosts()] == [Power.RUNNING.value]


def test_a_machine_that_cannot_be_paused_keeps_its_voice(lab: Lab) -> None:
    instance_id, eni = lab.run("db1")
    lab.until_state(instance_id, "running")
    lab.machines.powers[instance_id] = Power.OFF

    with pytest.raises(CommandFailed):
        lab.door.region.pause("db1")

    assert lab.wires.log[-2:] == [("silence", eni), ("wake", eni)]


def test_faults_are_refused_with_a_way_out(lab: Lab) -> None:
    instance_id, _ = lab.run("db1")
    lab.until_state(instance_id, "running")
    lab.client("ec2").stop_instances(InstanceIds=[instance_id])
    lab.until_state(instance_id, "stopped")

    with pytest.raises(LabError) as stopped:
        lab.door.region.start("db1")
    with pytest.raises(NoSuchHost) as unknown:
        lab.door.region.crash("db9")

    assert instance_id in stopped.value.hint
    assert "db1" in unknown.value.hint
