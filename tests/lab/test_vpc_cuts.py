"""Cuts of the lab's network, shown by packets: whole hosts, pairs of them, one way only, silence."""

from __future__ import annotations

import os

import pytest

from .vpc_world import ADDRESSES, NETWORK, World, echo, eni, gets_no_echo, open_to_all, with_interface

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root"),
]

DB1, DB2, APP1 = ADDRESSES["db1"], ADDRESSES["db2"], ADDRESSES["app1"]


def test_cut_and_heal(world: World) -> None:
    with world["app1"].dial(DB1) as connection:
        connection.recv(100)
        world.vpc.cut(eni("db1"))
        world.vpc.cut(eni("db1"))
        assert gets_no_echo(connection)
        assert world["app1"].ask(DB2) == f"db2 {APP1}"

        world.vpc.heal(eni("db1"))
        world.vpc.heal(eni("db1"))
        assert world["app1"].ask(DB1) == f"db1 {APP1}"


def test_a_cut_between_two_leaves_the_others(world: World) -> None:
    world.vpc.cut(eni("db1"), eni("db2"))

    assert world["db1"].gets_no_answer(DB2)
    assert world["db2"].gets_no_answer(DB1)
    assert world["app1"].ask(DB1) == f"db1 {APP1}"

    world.vpc.heal(eni("db2"))
    assert world["db1"].ask(DB2) == f"db2 {DB1}"


def test_a_one_way_cut_drops_what_the_host_sends_and_lets_it_hear(world: World) -> None:
    world.apply(open_to_all(NETWORK))
    app1, db1, db2 = world["app1"], world["db1"], world["db2"]
    world.vpc.cut(eni("db1"), one_way=True)
    world.vpc.cut(eni("db1"), one_way=True)

    assert db1.hears(app1, DB1)
    assert app1.hears_nothing(db1, APP1)
    assert app1.hears(db2, APP1)

    world.vpc.heal(eni("db1"))
    assert app1.hears(db1, APP1)


def test_a_one_way_cut_between_two_leaves_the_others(world: World) -> None:
    world.apply(open_to_all(NETWORK))
    app1, db1, db2 = world["app1"], world["db1"], world["db2"]
    world.vpc.cut(eni("db1"), eni("db2"), one_way=True)

    assert db1.hears(db2, DB1)
    assert db2.hears_nothing(db1, DB2)
    assert app1.hears(db1, APP1)

    world.vpc.heal(eni("db2"))
    assert db2.hears(db1, DB2)


def test_a_cut_survives_a_change_of_the_rules(world: World) -> None:
    world.vpc.cut(eni("db1"))
    world.apply(with_interface(NETWORK, "app1", groups=("sg-app", "sg-nat")))

    assert world["app1"].gets_no_answer(DB1)


def test_silence_lasts_until_the_machine_is_plugged_again(world: World) -> None:
    world.vpc.silence(eni("db2"))
    assert world["app1"].gets_no_answer(DB2)

    world["db2"].close()
    world.plug("db2")
    assert world["app1"].ask(DB2) == f"db2 {APP1}"


def test_a_silenced_interface_wakes_with_its_connections(world: World) -> None:
    with world["app1"].dial(DB1) as connection:
        connection.recv(100)
        world.vpc.silence(eni("db1"))
        assert gets_no_echo(connection, "one ")

        world.vpc.wake(eni("db1"))
        # The retransmission's turn comes later and later.
        assert echo(connection, "two ", within_s=30).startswith("one ")
