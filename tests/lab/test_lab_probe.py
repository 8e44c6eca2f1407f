"""A region with real instances, read by the second reader; and labs that die without a word.

subnet a: db1, app1    subnet b: db2    public subnet: nat, with a public address
The VIP's route leads to db1 in a and to db2 in b.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from ec2_lab.daemon import Endpoint
from ec2_lab.hosts.cgroups import lab_cgroup
from ec2_lab.model import API_ADDRESS, LabPaths
from ec2_lab.probe import disagreements
from ec2_lab.vpc import namespace
from ec2_lab.vpc.names import link
from rehearsal.aws import client
from rehearsal.lab import Lab
from rehearsal.waiting import wait_for

pytestmark = pytest.mark.lab

IMAGE = "ami-0d1ab0debaa000013"
VIP = "172.16.52.1/32"
BOOT_S = 60


class Region:
    """The region above."""

    def __init__(self, lab: Lab) -> None:
        self.paths, self.ec2 = LabPaths(lab.name), client(lab)
        self.vpc = self.ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        self.subnets, self.tables = {}, {}
        for name, cidr in (("a", "10.0.11.0/24"), ("b", "10.0.12.0/24"), ("pub", "10.0.1.0/24")):
            made = self.ec2.create_subnet(VpcId=self.vpc, CidrBlock=cidr, AvailabilityZone="eu-central-1a")
            self.subnets[name] = made["Subnet"]["SubnetId"]
            table = self.ec2.create_route_table(VpcId=self.vpc)["RouteTable"]["RouteTableId"]
            self.ec2.associate_route_table(RouteTableId=table, SubnetId=self.subnets[name])
            self.tables[name] = table
        self.groups = {name: self._group(name) for name in ("db", "app", "nat")}
        self._let_in("db", 5432, self.groups["app"])
        self._let_in("db", 5433, self.groups["db"])
        self._let_in("nat", 0, "10.0.0.0/16")
        self.enis: dict[str, str] = {}
        self.ids: dict[str, str] = {}
        for name, subnet, group in (
            ("db1", "a", "db"),
            ("app1", "a", "app"),
            ("db2", "b", "db"),
            ("nat", "pub", "nat"),
        ):
            self._run(name, subnet, group)
        wait_for("four hosts", lambda: len(lab.running("")) == 4, timeout_s=BOOT_S)
        self._routes()
        self._forward(self.paths.host_netns(self.ids["nat"]))

    def _group(self, name: str) -> str:
        made = self.ec2.create_security_group(GroupName=name, Description=name, VpcId=self.vpc)
        return str(made["GroupId"])

    def _let_in(self, group: str, port: int, who: str) -> None:
        peers: dict[str, Any] = {"IpRanges": [{"CidrIp": who}]}
        if who.startswith("sg-"):
            peers = {"UserIdGroupPairs": [{"GroupId": who}]}
        traffic: dict[str, Any] = {"IpProtocol": "-1"}
        if port:
            traffic = {"IpProtocol": "tcp", "FromPort": port, "ToPort": port}
        rule = [traffic | peers]
        self.ec2.authorize_security_group_ingress(GroupId=self.groups[group], IpPermissions=rule)

    def _run(self, name: str, subnet: str, group: str) -> None:
        interface = {
            "DeviceIndex": 0,
            "SubnetId": self.subnets[subnet],
            "Groups": [self.groups[group]],
            "AssociatePublicIpAddress": name == "nat",
        }
        tags = [{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": name}]}]
        (made,) = self.ec2.run_instances(
            ImageId=IMAGE, MinCount=1, MaxCount=1, NetworkInterfaces=[interface], TagSpecifications=tags
        )["Instances"]
        self.ids[name] = made["InstanceId"]
        self.enis[name] = made["NetworkInterfaces"][0]["NetworkInterfaceId"]

    def check(self, name: str, on: bool) -> None:
        self.ec2.modify_instance_attribute(InstanceId=self.ids[name], SourceDestCheck={"Value": on})

    def _routes(self) -> None:
        gateway = self.ec2.create_internet_gateway()["InternetGateway"]["InternetGatewayId"]
        self.ec2.attach_internet_gateway(InternetGatewayId=gateway, VpcId=self.vpc)
        self.ec2.create_route(
            RouteTableId=self.tables["pub"], DestinationCidrBlock="0.0.0.0/0", GatewayId=gateway
        )
        for name in ("db1", "db2", "nat"):
            self.check(name, on=False)
        for subnet, holder in (("a", "db1"), ("b", "db2")):
            for to, eni in ((VIP, self.enis[holder]), ("0.0.0.0/0", self.enis["nat"])):
                self.ec2.create_route(
                    RouteTableId=self.tables[subnet], DestinationCidrBlock=to, NetworkInterfaceId=eni
                )

    def _forward(self, netns: str) -> None:
        rules = (
            "add table ip nat; add chain ip nat post { type nat hook postrouting priority 100; };"
            " add rule ip nat post oifname eth0 masquerade"
        )
        for argv in (["sysctl", "-qw", "net.ipv4.ip_forward=1"], ["nft", rules]):
            subprocess.run(["ip", "netns", "exec", netns, *argv], check=True)

    def said(self) -> set[tuple[str, str]]:
        """Pairs on which API and packets disagree."""
        return {(d.source, d.destination) for d in disagreements(self.paths, self.ec2)}


@pytest.fixture(scope="module")
def region() -> Iterator[Region]:
    lab = Lab(f"probe{os.getpid()}")
    try:
        lab.up(sys.stderr)
        yield Region(lab)
    finally:
        lab.down()


@pytest.fixture
def whole(region: Region) -> Region:
    """The region, on which API and packets agree."""
    assert disagreements(region.paths, region.ec2) == []
    return region


def test_what_the_api_says_is_what_packets_do_also_after_changes(whole: Region) -> None:
    whole.ec2.replace_route(
        RouteTableId=whole.tables["a"], DestinationCidrBlock=VIP, NetworkInterfaceId=whole.enis["db2"]
    )
    assert whole.said() == set()

    whole.check("db2", on=True)
    assert whole.said() == set()

    whole.ec2.modify_instance_attribute(InstanceId=whole.ids["app1"], Groups=[whole.groups["nat"]])
    assert whole.said() == set()

    whole.check("db2", on=False)
    whole.ec2.modify_instance_attribute(InstanceId=whole.ids["app1"], Groups=[whole.groups["app"]])
    assert whole.said() == set()


def test_a_packet_the_kernel_loses_against_the_api_is_found_and_its_pair_named(whole: Region) -> None:
    pair = f'"{link(whole.enis["app1"])}" . "{link(whole.enis["db2"])}"'
    router = ["ip", "netns", "exec", whole.paths.router_netns, "nft"]
    subprocess.run([*router, f"add element ip vpc pairs {{ {pair} }}"], check=True)
    assert {source for source, _ in whole.said()} == {"app1"}

    subprocess.run([*router, f"delete element ip vpc pairs {{ {pair} }}"], check=True)
    assert whole.said() == set()


def test_a_nat_instance_that_does_not_forward_is_found(whole: Region) -> None:
    nat = ["ip", "netns", "exec", whole.paths.host_netns(whole.ids["nat"]), "sysctl", "-qw"]
    subprocess.run([*nat, "net.ipv4.ip_forward=0"], check=True)
    assert {destination for _, destination in whole.said()} == {API_ADDRESS}

    subprocess.run([*nat, "net.ipv4.ip_forward=1"], check=True)
    assert whole.said() == set()


def test_a_killed_lab_is_removed_by_the_next_up_or_down_and_its_neighbour_lives_on(region: Region) -> None:
    lab = Lab(f"killed{os.getpid()}")
    paths = LabPaths(lab.name)
    try:
        for remove in ("up", "down"):
            lab.up(sys.stderr)
            _run_alone(lab)
            os.kill(_daemon(lab), signal.SIGKILL)
            wait_for("the daemon's end", lambda: not lab.is_up(), timeout_s=BOOT_S)
            assert namespace.exists(paths.router_netns)
            assert lab_cgroup(paths).is_dir()

            lab.call(remove, timeout_s=180)
            assert list(lab_cgroup(paths).glob("i-*")) == []
        assert [n for n in namespace.names() if n.startswith(f"ec2-{lab.name}-")] == []
        assert not lab_cgroup(paths).exists()
        assert not paths.run.exists()
        assert not paths.disks.exists()
        loops = subprocess.run(["losetup", "--list", "-O", "BACK-FILE"], capture_output=True, text=True)
        assert str(paths.disks) not in loops.stdout
    finally:
        lab.down()
    assert region.said() == set()


def _run_alone(lab: Lab) -> None:
    ec2 = client(lab)
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.11.0/24", AvailabilityZone="eu-central-1a")
    ec2.run_instances(ImageId=IMAGE, MinCount=1, MaxCount=1, SubnetId=subnet["Subnet"]["SubnetId"])
    wait_for("a host", lambda: len(lab.running("")) == 1, timeout_s=BOOT_S)


def _daemon(lab: Lab) -> int:
    return int(Endpoint.file(LabPaths(lab.name)).with_name("daemon.pid").read_text().split()[0])
