"""A server that died or was deposed: restarted in place, handed over, rewound, cloned."""

from __future__ import annotations

import pytest
from tests.support.safety import assert_safe, serving
from tests.support.world import World


def test_an_old_primary_with_wal_of_its_own_is_rewound_and_follows(world: World) -> None:
    world.run(5)
    world.postgres("db1").disk.end += 500  # written, and not received by anybody
    world.power_off("db1")
    world.run_until(lambda: bool(serving(world)))

    world.power_on("db1")
    took = world.run_until(world.is_whole)

    assert "rewind db2" in world.postgres("db1").starts
    assert took <= 10


def test_an_old_primary_without_wal_of_its_own_just_follows(world: World) -> None:
    world.clients_write = False
    world.run(5)
    world.power_off("db1")
    world.run_until(lambda: bool(serving(world)))

    world.power_on("db1")
    world.run_until(world.is_whole)

    assert "rewind db2" not in world.postgres("db1").starts


def test_a_rewind_that_fails_ends_in_a_clone(world: World) -> None:
    world.run(5)
    world.postgres("db1").disk.end += 500
    world.postgres("db1").refuse_rewind = True
    world.power_off("db1")
    world.run_until(lambda: bool(serving(world)))

    world.power_on("db1")
    world.run_until(world.is_whole)

    assert "clone db2" in world.postgres("db1").starts


@pytest.mark.parametrize(("refusals", "clones"), [(2, False), (3, True)])
def test_a_rewind_refused_before_it_began_is_tried_again_before_a_clone(refusals: int, clones: bool) -> None:
    world = World("db1", "db2")
    world.bring_up()
    world.postgres("db1").disk.end += 500
    world.postgres("db1").rewinds_to_refuse = refusals
    world.power_off("db1")
    world.run_until(lambda: bool(serving(world)))

    world.power_on("db1")
    world.run_until(world.is_whole)

    assert ("clone db2" in world.postgres("db1").starts) is clones


def test_a_power_loss_in_the_middle_of_a_rewind_ends_in_a_clone(world: World) -> None:
    world.postgres("db1").disk.end += 500
    world.power_off("db1")
    world.run_until(lambda: bool(serving(world)))
    world.nodes["db1"].state_notes.save("rewinding", {"upstream": "db2"})

    world.power_on("db1")
    world.run_until(world.is_whole)

    assert "clone db2" in world.postgres("db1").starts


def test_a_dead_postmaster_hands_over_to_a_standby_that_has_everything(world: World) -> None:
    world.run(5)
    world.replicate()
    world.postmaster_dies("db1")

    took = world.run_until(lambda: serving(world) == ["db2"])

    assert took < 1.0, "nobody waits for the lease to expire"
    assert world.lease().epoch == 2
    assert_safe(world)


def test_a_dead_postmaster_restarts_in_place_when_no_standby_has_everything(world: World) -> None:
    world.run(5)
    world.clients_write = False
    world.lagging |= set(world.nodes)
    world.postgres("db1").disk.end += 10
    world.postmaster_dies("db1")

    world.run_until(lambda: serving(world) == ["db1"])

    assert world.postgres("db1").starts[-1] == "primary"
    assert world.lease().epoch == 1
    assert world.postgres("db1").disk.timeline == 1


def test_a_primary_that_does_not_start_any_more_leaves_the_lease_to_others(world: World) -> None:
    world.run(5)
    world.clients_write = False
    world.lagging |= set(world.nodes)
    world.postgres("db1").disk.end += 10
    world.postgres("db1").refuse_start = True
    world.postmaster_dies("db1")

    world.run_until(lambda: serving(world) == ["db2"], limit_s=15)

    assert_safe(world)


def test_a_node_that_slept_gives_its_standby_the_whole_time_to_stream_again(world: World) -> None:
    """N7: time that ran while the process slept is no ground to doubt the WAL."""
    world.lagging.add("db2")
    world.run(2)
    node = world.nodes["db2"]
    assert node.agent.observer.look(world.clock.now(), 0.0).unstreamed_s >= 1.5
    world.freeze("db2")
    world.run(60)
    world.thaw("db2")
    world.run(0.5)

    assert "woke" in world.rules_of("db2")
    assert node.agent.observer.look(world.clock.now(), 0.0).unstreamed_s <= 1.0


def test_only_one_node_at_a_time_gets_its_turn_to_rejoin(world: World) -> None:
    agent = world.nodes["db1"].agent
    assert agent.grant_rejoin("db2")
    assert not agent.grant_rejoin("db3")
    assert agent.grant_rejoin("db2")
    world.run(31)
    assert agent.grant_rejoin("db3")
