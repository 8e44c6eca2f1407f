"""Readers on standbys: let in while they follow, gone before a promotion (PROTOCOL G6, G7, G8)."""

from __future__ import annotations

import pytest
from tests.support.safety import assert_safe, serving
from tests.support.world import World

from failover_agent.core.model import ServerState


@pytest.fixture
def world() -> World:
    world = World("db1", "db2", "db3")
    assert world.bring_up() == "db1"
    world.run(5)
    return world


def test_standbys_that_stream_let_readers_in_and_say_so(world: World) -> None:
    assert [world.reads(name) for name in ("db1", "db2", "db3")] == [False, True, True]
    reports = {name: node.agent.report() for name, node in world.nodes.items()}
    assert [reports[name].reads_open for name in ("db1", "db2", "db3")] == [False, True, True]
    assert [reports[name].serving for name in ("db1", "db2", "db3")] == [True, False, False]


def test_no_session_of_a_reader_lives_on_into_a_primary(world: World) -> None:
    assert world.nodes["db2"].gate.sessions > 0
    world.power_off("db1")
    world.run_until(lambda: serving(world) == ["db2"])

    assert_safe(world)


def test_a_node_whose_kernel_cannot_end_sessions_is_not_promoted_and_another_is(world: World) -> None:
    world.nodes["db2"].gate.cannot_end_sessions = True
    world.power_off("db1")
    world.run_until(lambda: serving(world) == ["db3"], limit_s=60)

    assert "promote" not in world.postgres("db2").starts
    assert_safe(world)


def test_where_the_kernel_cannot_end_sessions_nobody_is_let_in_to_read() -> None:
    world = World("db1", "db2")
    world.nodes["db2"].gate.cannot_end_sessions = True
    world.bring_up()
    world.run(5)
    assert not world.reads("db2")

    world.power_off("db1")
    world.run_until(lambda: serving(world) == ["db2"])


def test_reads_end_by_themselves_where_the_store_is_silent_or_the_agent_is_gone(world: World) -> None:
    world.no_api.add("db2")
    world.stop_agent("db3")
    world.run(world.timings.ttl_s)

    assert [world.reads("db2"), world.reads("db3")] == [False, False]
    world.no_api.clear()
    world.start_agent("db3")
    world.run(2)
    assert [world.reads("db2"), world.reads("db3")] == [True, True]


def test_reads_outlive_the_primary_until_another_epoch_begins(world: World) -> None:
    world.power_off("db1")
    world.run(3)
    assert world.reads("db3")

    world.run_until(lambda: serving(world) == ["db2"])
    world.run(5)

    assert world.reads("db3")
    ended = [v["epoch"] for _, n, e, v in world.events if e == "sessions-ended" and n == "db3"]
    assert ended == [2], "those of the old epoch went when the new one began"


def test_a_standby_that_never_streamed_from_the_holder_serves_no_reader(world: World) -> None:
    world.power_off("db3")
    world.lagging.add("db3")
    world.power_on("db3")
    world.run(3)

    assert world.postgres("db3").state is ServerState.STANDBY
    assert not world.reads("db3")


def test_a_restarted_agent_leaves_the_sessions_of_readers_and_of_clients_alone(world: World) -> None:
    before = {name: world.nodes[name].gate.sessions for name in ("db1", "db2")}
    for name in before:
        world.stop_agent(name)
        world.start_agent(name)
    world.run(3)

    assert all(world.nodes[name].gate.sessions >= count for name, count in before.items())
    assert [e for _, _, e, _ in world.events if e == "sessions-ended"] == []


def test_a_primary_started_again_in_place_begins_without_old_sessions(world: World) -> None:
    """A killed backend's socket would send its last answer once the gate is open again (G7)."""
    world.clients_write = False
    world.lagging |= {"db2", "db3"}
    world.postgres("db1").disk.end += 10
    world.postmaster_dies("db1")
    world.run_until(lambda: serving(world) == ["db1"])

    assert world.lease().epoch == 1
    assert [n for _, n, e, _ in world.events if e == "clients-dismissed"] == ["db1"]


def test_a_deposed_primary_gives_its_address_up_before_it_stops(world: World) -> None:
    """G8: replies under the address would still reach clients."""
    node = world.nodes["db1"]
    node.agent.body.orders.place("db2")
    node.agent.wake()
    world.run_until(lambda: serving(world) == ["db2"])

    assert world.stopped_with_address == []
