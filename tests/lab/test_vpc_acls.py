"""What a network ACL does to packets: it keeps no state, and it guards a subnet's border."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator

import pytest

from ec2_lab.model import AclEntry, Direction, Network, NetworkAcl

from .vpc_world import ADDRESSES, CIDR, NETWORK, PORT, VPC, World, gets_no_echo

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]

DB1, DB2, APP1 = ADDRESSES["db1"], ADDRESSES["db2"], ADDRESSES["app1"]
IN, OUT = Direction.INGRESS, Direction.EGRESS
DEFAULT = NetworkAcl("acl-default", VPC, (AclEntry(100, IN, True), AclEntry(100, OUT, True)))
NOTHING = NetworkAcl("acl-fence", VPC)


@pytest.fixture
def world(region: World) -> Iterator[World]:
    region.apply(guarded())
    yield region
    region.restore()


def guarded(acl: NetworkAcl = DEFAULT) -> Network:
    """Subnet b behind `acl`, the others behind the default one."""
    subnets = tuple(
        dataclasses.replace(s, acl_id=acl.acl_id if s.subnet_id == "subnet-b" else DEFAULT.acl_id)
        for s in NETWORK.subnets
    )
    return dataclasses.replace(
        NETWORK, subnets=subnets, acls=(DEFAULT, acl) if acl != DEFAULT else (DEFAULT,)
    )


def only(*entries: AclEntry) -> Network:
    return guarded(NetworkAcl("acl-some", VPC, entries))


def test_the_default_acl_lets_everything_pass(world: World) -> None:
    assert world["app1"].ask(DB2) == f"db2 {APP1}"
    assert world["db2"].ask(DB1) == f"db1 {DB2}"


def test_an_acl_without_rules_cuts_connections_that_stand_and_its_removal_lets_them_go_on(
    world: World,
) -> None:
    """A security group would leave the connection alone: this is what makes it a fence."""
    with world["app1"].dial(DB2) as connection:
        connection.recv(100)
        world.apply(guarded(NOTHING))

        assert gets_no_echo(connection)
        assert world["app1"].gets_no_answer(DB2)
        assert world["db2"].gets_no_answer(DB1)
        assert world["app1"].ask(DB1) == f"db1 {APP1}", "the other subnets go on"

    world.apply(guarded())
    assert world["app1"].ask(DB2) == f"db2 {APP1}"


def test_answers_need_a_rule_of_their_own(world: World) -> None:
    asked = AclEntry(100, IN, True, "tcp", CIDR, PORT, PORT)
    world.apply(only(asked))
    assert world["app1"].gets_no_answer(DB2)

    world.apply(only(asked, AclEntry(100, OUT, True, "tcp", CIDR, 1024, 65535)))
    assert world["app1"].ask(DB2) == f"db2 {APP1}"


def test_the_lowest_number_that_fits_decides(world: World) -> None:
    not_app1 = AclEntry(90, IN, False, "all", f"{APP1}/32")
    anybody = (AclEntry(100, IN, True), AclEntry(100, OUT, True))
    world.apply(only(*anybody, not_app1))
    assert world["app1"].gets_no_answer(DB2)
    assert world["db1"].ask(DB2) == f"db2 {DB1}"

    world.apply(only(*anybody, dataclasses.replace(not_app1, number=110)))
    assert world["app1"].ask(DB2) == f"db2 {APP1}"


def test_neighbours_in_one_subnet_do_not_meet_it(world: World) -> None:
    shut = tuple(dataclasses.replace(s, acl_id=NOTHING.acl_id) for s in NETWORK.subnets)
    world.apply(dataclasses.replace(NETWORK, subnets=shut, acls=(NOTHING,)))

    assert world["app1"].ask(DB1) == f"db1 {APP1}"
    assert world["app1"].gets_no_answer(DB2)
