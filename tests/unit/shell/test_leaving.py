"""How a primary leaves that is stuck, whose storage hangs, or whose disk is full (N4)."""

from __future__ import annotations

import pytest
from tests.support.safety import overlapping_gates
from tests.support.world import World

from failover_agent.core.health import BALANCED
from failover_agent.core.liveness import ROOM_BYTES


@pytest.fixture
def world() -> World:
    world = World("db1", "db2", "db3")
    assert world.bring_up() == "db1"
    return world


def test_a_stuck_primary_is_told_of_then_killed_and_loses_nothing(world: World) -> None:
    db1 = world.nodes["db1"]
    db1.probes.stuck = True

    world.run(BALANCED.stuck_after_s * 0.9)
    end = db1.postgres.disk.end
    assert [a["name"] for _, a in world.said("alarm", by="db1")] == ["no-progress"]
    assert world.primary() == "db1", "first people hear of it"

    took = world.run_until(lambda: world.answers("db1") is False and world.lease().holder is not None)
    assert took < 3
    assert world.run_until(lambda: any(world.acknowledges(n) for n in ("db2", "db3"))) < 2
    heir = world.primary()
    assert world.nodes[heir].postgres.disk.end >= end
    assert db1.postgres.starts[-1] != "stop", "a stop could hang; it was killed"
    assert "kill" in db1.postgres.starts
    assert overlapping_gates(world) == []
    db1.probes.stuck = False
    world.run_until(world.is_whole)


def test_a_stuck_primary_without_a_standby_that_has_everything_restarts_in_place(world: World) -> None:
    world.lagging |= {"db2", "db3"}
    world.run(1)
    world.nodes["db1"].probes.stuck = True

    world.run_until(lambda: "kill" in world.nodes["db1"].postgres.starts)
    world.nodes["db1"].probes.stuck = False
    world.run_until(lambda: world.acknowledges("db1"))

    assert world.nodes["db1"].postgres.starts[-2:] == ["kill", "primary"]
    assert world.said("restart-in-place", by="db1")


def test_a_silence_shorter_than_the_limit_changes_nothing(world: World) -> None:
    for _ in range(5):
        world.nodes["db1"].probes.stuck = True
        world.run(BALANCED.stuck_after_s * 0.9)
        world.nodes["db1"].probes.stuck = False
        world.run(3)

    assert world.primary() == "db1"
    assert world.lease().epoch == 1


def test_hung_storage_is_left_within_15_s_without_loss_and_without_being_touched(world: World) -> None:
    db1 = world.nodes["db1"]
    db1.probes.hung = True
    end = db1.postgres.disk.end

    took = world.run_until(lambda: any(world.acknowledges(n) for n in ("db2", "db3")))

    assert took < 15
    assert world.nodes[world.primary()].postgres.disk.end >= end
    assert "kill in vain" in db1.postgres.starts
    world.run(30)
    assert world.stopped_with_open_gate == []
    assert world.stopped_with_address == []
    assert world.touched_hung_volumes == []
    assert world.rules_of("db1")[-1] == "storage-hung"
    assert overlapping_gates(world) == []

    db1.probes.hung = False
    world.run_until(world.is_whole)
    assert [a["name"] for _, a in world.said("alarm-over", by="db1")][-1] == "storage-hung"


def test_on_hung_storage_the_heir_is_no_node_whose_storage_hangs_too(world: World) -> None:
    world.nodes["db2"].probes.hung = True
    world.run(1)
    world.nodes["db1"].probes.hung = True

    world.run_until(lambda: world.lease().epoch > 1)

    assert world.nodes["db1"].store.writes[-1].offered_to == "db3"


def test_on_hung_storage_nobody_is_named_who_lacks_something(world: World) -> None:
    world.lagging |= {"db2", "db3"}
    world.run(1)
    world.nodes["db1"].probes.hung = True

    world.run_until(lambda: world.lease().epoch > 1)

    left = world.nodes["db1"].store.writes[-1]
    assert (left.holder, left.offered_to) == (None, "")


def test_without_a_standby_that_answers_a_hung_primary_keeps_its_lease(world: World) -> None:
    world.power_off("db2")
    world.power_off("db3")
    world.nodes["db1"].probes.hung = True

    world.run(40)

    assert world.primary() == "db1"
    assert "kill" not in world.nodes["db1"].postgres.starts


def test_a_full_primary_hands_over_cleanly_to_a_standby_with_room(world: World) -> None:
    world.nodes["db2"].probes.free_bytes = ROOM_BYTES - 1
    world.nodes["db1"].probes.full = True

    took = world.run_until(lambda: world.acknowledges("db3"))

    assert took < 5
    assert world.nodes["db1"].postgres.starts.count("stop") == 1
    assert "kill" not in world.nodes["db1"].postgres.starts
    world.run_until(world.is_whole)
    assert world.primary() == "db3"


def test_a_full_primary_goes_on_where_no_standby_has_room(world: World) -> None:
    for name in ("db2", "db3"):
        world.nodes[name].probes.full = True
    world.nodes["db1"].probes.full = True

    world.run(20)

    assert world.primary() == "db1"
    assert world.lease().epoch == 1


def test_a_renewal_that_comes_close_is_told_and_counted(world: World) -> None:
    assert world.nodes["db1"].agent.report().health.renewals.near_misses == 0
    world.no_api.add("db1")
    world.run(world.timings.ttl_s - world.timings.margin_s - world.timings.beat_s - 0.05)
    world.no_api.clear()
    world.run(1)

    renewals = world.nodes["db1"].agent.report().health.renewals
    assert renewals.near_misses == 1
    assert renewals.used_most > 0.75
    assert world.said("near-miss", by="db1")
    assert world.primary() == "db1"
