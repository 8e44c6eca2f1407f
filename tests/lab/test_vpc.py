"""What the lab's VPC promises, shown by packets."""

from __future__ import annotations

import dataclasses
import os
import socket
import subprocess
import time

import pytest

from ec2_lab.errors import CommandFailed
from ec2_lab.model import (
    API_ADDRESS,
    DYNAMODB_ADDRESS,
    METADATA_ADDRESS,
    Direction,
    LabPaths,
    Network,
    Route,
    SecurityGroup,
    TargetKind,
)
from ec2_lab.vpc import Vpc, namespace, sweep

from .vpc_world import (
    ADDRESSES,
    ANSWER_S,
    EVERYWHERE,
    GROUPS,
    NAT_PUBLIC,
    NETWORK,
    OUT,
    PORT,
    VIP,
    VPC,
    World,
    echo,
    eni,
    open_to_all,
    rule,
    service,
    to,
    with_interface,
    with_routes,
)

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]

IP_RECVERR = 11  # <linux/in.h>; without it a socket hears of hard errors only
DB1, DB2, APP1 = ADDRESSES["db1"], ADDRESSES["db2"], ADDRESSES["app1"]


def grouped(*groups: SecurityGroup) -> Network:
    return dataclasses.replace(NETWORK, groups=groups)


def overlay(*routes: tuple[str, Route]) -> Network:
    """The base network, source/destination checks of the databases off, with routes by table."""
    network = with_interface(NETWORK, "db1", source_dest_check=False)
    network = with_interface(network, "db2", source_dest_check=False)
    for table, route in routes:
        network = with_routes(network, table, route)
    return network


@pytest.fixture
def vip_hosts(world: World) -> World:
    for name in ("db1", "db2"):
        world[name].run("ip", "address", "replace", f"{VIP}/32", "dev", "lo")
    return world


def test_hosts_talk_within_a_subnet_and_across(world: World) -> None:
    assert world["app1"].ask(DB1) == f"db1 {APP1}"
    assert world["app1"].ask(DB2) == f"db2 {APP1}"
    assert world["db2"].ask(DB1) == f"db1 {DB2}"


def test_neighbours_in_one_subnet_meet_their_security_groups(world: World) -> None:
    world["db1"].serve(9999)

    assert world["app1"].gets_no_answer(DB1, 9999)
    assert world["db1"].gets_no_answer(APP1), "sg-app lets nobody in"


def test_a_rule_by_cidr_lets_in_whom_it_names(world: World) -> None:
    by_cidr = SecurityGroup(
        "sg-db", VPC, (rule(Direction.INGRESS, "tcp", PORT, cidrs=(f"{DB2}/32", "10.0.12.0/24")), OUT)
    )
    world.apply(grouped(by_cidr, *GROUPS[1:]))

    assert world["db2"].ask(DB1) == f"db1 {DB2}"
    assert world["app1"].gets_no_answer(DB1)


def test_a_rule_by_group_follows_the_members(world: World) -> None:
    world.apply(with_interface(NETWORK, "app1", groups=("sg-nat",)))
    assert world["app1"].gets_no_answer(DB1)

    world.apply(NETWORK)
    assert world["app1"].ask(DB1) == f"db1 {APP1}"


def test_the_senders_egress_must_allow_too(world: World) -> None:
    mute = SecurityGroup("sg-app", VPC, (rule(Direction.EGRESS, "tcp", PORT, cidrs=(f"{DB2}/32",)),))
    world.apply(grouped(GROUPS[0], mute, GROUPS[2]))

    assert world["app1"].gets_no_answer(DB1)
    assert world["app1"].ask(DB2) == f"db2 {APP1}"


def test_an_established_connection_survives_the_loss_of_its_rule(world: World) -> None:
    with world["app1"].dial(DB1) as connection:
        connection.recv(100)
        world.apply(grouped(SecurityGroup("sg-db", VPC, (OUT,)), *GROUPS[1:]))

        assert echo(connection) == "ping"
        assert world["app1"].gets_no_answer(DB1)


def test_the_check_drops_what_an_interface_sends_under_a_foreign_address(vip_hosts: World) -> None:
    app1, db1 = vip_hosts["app1"], vip_hosts["db1"]
    unchecked = with_interface(open_to_all(overlay()), "app1", source_dest_check=False)
    vip_hosts.apply(unchecked)
    assert app1.hears(db1, APP1, source=VIP)

    vip_hosts.apply(with_interface(unchecked, "db1", source_dest_check=True))
    assert app1.hears_nothing(db1, APP1, source=VIP)
    assert app1.hears(db1, APP1)


def test_the_check_drops_what_is_sent_to_an_interface_under_a_foreign_address(vip_hosts: World) -> None:
    app1, db2 = vip_hosts["app1"], vip_hosts["db2"]
    unchecked = open_to_all(overlay(("rtb-a", to("db2"))))
    vip_hosts.apply(unchecked)
    assert db2.hears(app1, VIP)
    assert app1.ask(VIP) == f"db2 {APP1}"

    vip_hosts.apply(with_interface(unchecked, "db2", source_dest_check=True))
    assert db2.hears_nothing(app1, VIP)
    assert db2.hears(app1, DB2)


def test_every_route_table_may_send_the_vip_elsewhere(vip_hosts: World) -> None:
    by_cidr = SecurityGroup("sg-db", VPC, (rule(Direction.INGRESS, "tcp", PORT, cidrs=EVERYWHERE), OUT))
    network = overlay(("rtb-a", to("db2")), ("rtb-pub", to("db1")))
    vip_hosts.apply(dataclasses.replace(network, groups=(by_cidr, *GROUPS[1:])))

    assert vip_hosts["app1"].ask(VIP).startswith("db2 ")
    assert vip_hosts["nat"].ask(VIP).startswith("db1 ")


def test_a_replaced_route_moves_the_next_connection_and_resets_the_old(vip_hosts: World) -> None:
    vip_hosts.apply(overlay(("rtb-a", to("db1"))))
    with vip_hosts["app1"].dial(VIP) as connection:
        assert connection.recv(100).startswith(b"db1 ")

        vip_hosts.apply(overlay(("rtb-a", to("db2"))))

        assert vip_hosts["app1"].ask(VIP) == f"db2 {APP1}"
        with pytest.raises(ConnectionResetError):
            echo(connection)


def test_the_longest_prefix_wins(vip_hosts: World) -> None:
    wide = Route("172.16.0.0/24", TargetKind.INTERFACE, eni("db1"))
    vip_hosts.apply(overlay(("rtb-a", wide)))
    assert vip_hosts["app1"].ask(VIP) == f"db1 {APP1}"

    vip_hosts.apply(overlay(("rtb-a", wide), ("rtb-a", to("db2"))))
    assert vip_hosts["app1"].ask(VIP) == f"db2 {APP1}"


@pytest.mark.parametrize("address", [VIP, "10.0.12.99", "10.0.99.1", "198.18.0.1"])
def test_the_vpc_says_nothing_about_what_it_cannot_deliver(world: World, address: str) -> None:
    world.apply(with_routes(NETWORK, "rtb-a", Route(f"{VIP}/32", TargetKind.BLACKHOLE)))
    began = time.monotonic()

    assert world["app1"].gets_no_answer(address)

    assert time.monotonic() - began >= 0.5


@pytest.mark.parametrize(("address", "port"), [("10.0.11.1", PORT), (METADATA_ADDRESS, 81)])
def test_the_router_itself_refuses_nobody_aloud(world: World, address: str, port: int) -> None:
    assert world["app1"].gets_no_answer(address, port)


def test_the_router_sends_no_icmp_errors(world: World) -> None:
    def outlive() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 1)
            probe.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
            probe.settimeout(0.5)
            probe.connect((DB2, PORT))
            probe.send(b"too far")
            probe.recv(100)  # OSError by an ICMP error, TimeoutError by silence

    world.apply(open_to_all(NETWORK))
    with pytest.raises(TimeoutError):
        world["app1"].do(outlive)


def test_a_stopped_neighbour_is_silent_and_its_routes_are_blackholes(vip_hosts: World) -> None:
    vip_hosts.apply(overlay(("rtb-a", to("db1"))))
    vip_hosts["db1"].close()
    vip_hosts.vpc.unplug(eni("db1"))
    assert vip_hosts["app1"].gets_no_answer(VIP)
    assert vip_hosts["app1"].gets_no_answer(DB1), "its address still answers ARP: no host unreachable"

    vip_hosts.plug("db1").run("ip", "address", "replace", f"{VIP}/32", "dev", "lo")
    assert vip_hosts["app1"].ask(VIP) == f"db1 {APP1}", "the kernel forgot the route with its device"


def test_the_way_to_the_api_leads_through_the_nat_instance(world: World) -> None:
    assert world["db1"].ask(API_ADDRESS, 80) == f"internet {NAT_PUBLIC}"

    world["nat"].run("sysctl", "-qw", "net.ipv4.ip_forward=0")
    assert world["db1"].gets_no_answer(API_ADDRESS, 80)
    world["nat"].run("sysctl", "-qw", "net.ipv4.ip_forward=1")


def test_the_internet_gateway_serves_public_addresses_only(world: World) -> None:
    by_gateway = with_routes(NETWORK, "rtb-a", Route(f"{API_ADDRESS}/32", TargetKind.INTERNET))
    world.apply(by_gateway)
    assert world["db1"].gets_no_answer(API_ADDRESS, 80)

    world.apply(with_interface(by_gateway, "db1", public_ip="198.51.100.8"))
    assert world["db1"].ask(API_ADDRESS, 80) == "internet 198.51.100.8"


def test_the_internet_reaches_a_public_address_that_lets_it_in(world: World) -> None:
    assert world.internet.gets_no_answer(NAT_PUBLIC)

    opened = SecurityGroup("sg-nat", VPC, (rule(Direction.INGRESS, "tcp", PORT, cidrs=EVERYWHERE), OUT))
    world.apply(grouped(*GROUPS[:2], opened))
    assert world.internet.ask(NAT_PUBLIC).startswith("nat ")


def test_a_gateway_endpoint_needs_neither_nat_nor_public_address(world: World) -> None:
    world.apply(with_routes(NETWORK, "rtb-a", service()))
    assert world["db1"].ask(DYNAMODB_ADDRESS, 80) == f"internet {DB1}"
    assert world["db2"].ask(DYNAMODB_ADDRESS, 80) == f"internet {NAT_PUBLIC}"


def test_a_change_that_stopped_half_way_is_repaired_by_the_next(vip_hosts: World) -> None:
    vip_hosts.apply(overlay(("rtb-a", to("db1"))))
    nonsense = Route("300.0.0.0/8", TargetKind.BLACKHOLE)
    with pytest.raises(CommandFailed):
        vip_hosts.apply(overlay(("rtb-a", nonsense), ("rtb-a", to("db2"))))

    vip_hosts.apply(overlay(("rtb-a", to("db2"))))

    assert vip_hosts["app1"].ask(VIP) == f"db2 {APP1}"
    assert vip_hosts["db1"].ask(API_ADDRESS, 80) == f"internet {NAT_PUBLIC}"


def test_the_api_can_be_out_of_reach(world: World) -> None:
    world.apply(with_routes(NETWORK, "rtb-a", service()))
    world.vpc.reach_api(False)
    assert world["db1"].gets_no_answer(API_ADDRESS, 80)
    assert world["db1"].gets_no_answer(DYNAMODB_ADDRESS, 80)

    world.vpc.reach_api(True)
    assert world["db1"].ask(API_ADDRESS, 80) == f"internet {NAT_PUBLIC}"


def test_we_can_listen_where_the_metadata_service_and_the_api_are(world: World) -> None:
    with (
        world.vpc.listen("router", METADATA_ADDRESS, 80) as metadata,
        world["db1"].dial(METADATA_ADDRESS, 80),
    ):
        accepted, (seen, _) = metadata.accept()
        accepted.close()
        assert seen == DB1
    with world.vpc.listen("internet", API_ADDRESS, 81) as api, world["db1"].dial(API_ADDRESS, 81):
        accepted, (seen, _) = api.accept()
        accepted.close()
        assert seen == NAT_PUBLIC


def test_nobody_asks_the_metadata_service_under_a_foreign_address(world: World) -> None:
    world.apply(overlay())
    world["db1"].run("ip", "address", "add", f"{DB2}/32", "dev", "lo")
    with world.vpc.listen("router", METADATA_ADDRESS, 80):
        assert world["db1"].gets_no_answer(METADATA_ADDRESS, 80, source=DB2)
    world["db1"].run("ip", "address", "delete", f"{DB2}/32", "dev", "lo")


def test_the_router_reaches_hosts_as_an_instance_connect_endpoint_does(world: World) -> None:
    room = world.vpc._router  # where `ec2-lab tunnel` starts from
    with room.do(lambda: socket.create_connection((DB1, PORT), ANSWER_S)) as connection:
        assert connection.recv(100) == b"db1 10.0.11.1\n"


def test_what_is_not_changed_is_not_written_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", no_program)

    world.apply(NETWORK)
    with pytest.raises(AssertionError, match="a program was started"):
        world.apply(overlay())


def no_program(*argv: object, **_: object) -> None:
    raise AssertionError(f"a program was started: {argv}")


def test_the_next_lab_of_the_name_removes_what_a_killed_one_left(region: World) -> None:
    paths = LabPaths(f"left{os.getpid()}")
    left = Vpc(paths)
    left.plug(NETWORK.interfaces[0], prefix_length=24, gateway="10.0.11.1")
    mine = f"ec2-{paths.name}-"
    assert len([n for n in namespace.names() if n.startswith(mine)]) == 3

    sweep(paths)
    sweep(paths)

    assert [n for n in namespace.names() if n.startswith(mine)] == []
    assert [n for n in namespace.names() if n.startswith(f"ec2-{region.paths.name}-")] != []
