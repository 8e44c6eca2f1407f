"""A standby that received far more than it replayed: it is promoted once, and only when it can be."""

from __future__ import annotations

import pytest
from tests.support.safety import assert_safe, serving
from tests.support.world import World

from failover_agent.shell.execute import PROMOTE_S

LONG_S = 2 * PROMOTE_S


def standbys_fall_behind(world: World, seconds: float) -> None:
    """Commits go on: they wait for what is flushed, and all of it is."""
    world.run(5)
    world.postgres("db1").disk.end += 1 << 30
    world.run(5)
    for name in set(world.nodes) - {"db1"}:
        world.postgres(name).fall_behind(seconds)


def test_replay_longer_than_a_promotion_may_take_ends_in_one_promotion(world: World) -> None:
    standbys_fall_behind(world, LONG_S)
    world.power_off("db1")

    took = world.run_until(lambda: bool(serving(world)), limit_s=2 * LONG_S)

    new = serving(world)[0]
    assert "await-replay" in world.rules_of(new)
    assert world.postgres(new).starts.count("promote") == 1
    assert "stop" not in world.postgres(new).starts
    assert took < LONG_S + 15, "no replay is begun anew"
    assert world.lease().epoch == 2
    assert_safe(world)


def test_replay_is_finished_by_who_restarted_with_the_lease(world: World) -> None:
    """Each start replays from the last restartpoint on."""
    standbys_fall_behind(world, LONG_S)
    world.power_off("db1")
    world.run_until(lambda: any("await-replay" in world.rules_of(n) for n in world.nodes))
    new = next(n for n in world.nodes if "await-replay" in world.rules_of(n))

    world.postmaster_dies(new)
    world.run_until(lambda: serving(world) == [new], limit_s=2 * LONG_S)

    assert world.postgres(new).starts.count("promote") == 1
    assert_safe(world)


@pytest.mark.parametrize("slept", [False, True], ids=["awake", "slept"])
def test_replay_that_does_not_move_is_timed_from_when_it_was_last_seen_to(world: World, slept: bool) -> None:
    """N7: time that ran while the process slept is no ground to give up on replay."""
    standbys_fall_behind(world, 0.0)
    world.clients_write = False
    world.run(2)
    observer = world.nodes["db2"].agent.observer
    if slept:
        observer.forget()

    still_s = observer.look(world.clock.now(), 0.0).replay_still_s

    assert (still_s >= 1.5) is not slept


def test_nothing_more_is_taken_from_an_old_primary_that_still_sends(world: World) -> None:
    """Its agent is gone, its gate shut itself, its PostgreSQL goes on: replay of that would have no end."""
    standbys_fall_behind(world, LONG_S)
    world.stop_agent("db1")
    world.run_until(lambda: any("await-replay" in world.rules_of(n) for n in world.nodes))
    new = next(n for n in world.nodes if "await-replay" in world.rules_of(n))
    end = world.postgres(new).disk.end

    world.postgres("db1").disk.end += 1 << 30
    world.run_until(lambda: serving(world) == [new], limit_s=2 * LONG_S)

    assert world.postgres(new).disk.history[-1].lsn == end
    assert_safe(world)
