"""An agent may die at any step; its next life repairs it, nothing acknowledged by two, nothing half left.

Method: one story passes every point (bootstrap, clone, power loss and takeover, rewind, a clone over old
data). In each run the first to pass one named point dies there, alone or with its host.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.support.safety import overlapping_gates
from tests.support.world import World

import failover_agent
from failover_agent.core.model import Mode
from failover_agent.core.quorum import complaint, of_item, waits
from failover_agent.killpoints import POINTS

# No standby seals in this story; test_sealing.py and test_campaign.py die there.
OF_SEALS = {"noted-before-cut", "cut-before-answer", "uncut-before-note", "sealed-before-claim"}

# None is fenced in this story; tests/unit/shell/test_fencing.py dies there.
OF_FENCES = {"fenced-before-note", "noted-before-fence"}

# These lie between two steps of the real data directory; tests/contract dies there.
ON_DISK = {
    "copied-before-place",
    "aside-before-place",
    "marked-before-overwrite",
    "overwritten-before-unmark",
    "allowed-before-start",
    "started-before-signal",
}
OF_MODES = {"switched-before-sync"}  # a person orders it; tests/unit/shell/test_mode_switch.py dies there
OF_SYNC = {"waits-before-item", "item-before-waits"}  # their story is another: commits wait for standbys
LEAVING = {"shut-before-kill", "killed-before-release"}  # their story is another: a volume hangs


def one_serves(world: World) -> bool:
    return len([n for n in world.nodes if world.acknowledges(n)]) == 1


def come_back(world: World, *, clone: bool) -> None:
    """The primary loses power with WAL of its own; another takes over; it returns."""
    lost = world.primary()
    world.postgres(lost).disk.end += 500
    world.postgres(lost).refuse_rewind = clone
    world.power_off(lost)
    world.run_until(lambda: one_serves(world))
    world.power_on(lost)
    world.run_until(world.is_whole)
    world.run(5)


@pytest.mark.parametrize("with_host", [False, True], ids=["agent", "host"])
@pytest.mark.parametrize(
    "point", sorted(set(POINTS) - ON_DISK - LEAVING - OF_SEALS - OF_SYNC - OF_MODES - OF_FENCES)
)
def test_the_next_life_repairs_a_death_at(point: str, with_host: bool) -> None:
    world = World("db1", "db2", "db3")
    world.die_at(point, with_host=with_host)
    world.run_until(world.is_whole)
    come_back(world, clone=False)
    come_back(world, clone=True)

    assert len(world.died) == 1, "it came to pass, once"
    assert overlapping_gates(world) == []
    assert world.stopped_with_open_gate == []
    assert world.promoted_with_readers == []
    assert world.served_unnamed == []
    ends = {node.postgres.disk.end for node in world.nodes.values()}
    lines = {node.postgres.disk.began for node in world.nodes.values()}
    assert len(lines) == 1, "all are on one timeline"
    assert max(ends) - min(ends) <= 100
    assert [n.state_notes.load("rewinding") for n in world.nodes.values()] == [None] * 3


@pytest.mark.parametrize("with_host", [False, True], ids=["agent", "host"])
@pytest.mark.parametrize("point", sorted(LEAVING))
def test_a_volume_that_hangs_is_left_also_by_the_next_life(point: str, with_host: bool) -> None:
    world = World("db1", "db2", "db3")
    world.run_until(world.is_whole)
    old = world.primary()
    end = world.postgres(old).disk.end
    world.die_at(point, with_host=with_host)
    world.nodes[old].probes.hung = True

    world.run_until(lambda: bool(world.died))
    world.run_until(lambda: any(world.acknowledges(n) for n in world.nodes if n != old), limit_s=90)

    assert world.nodes[world.primary()].postgres.disk.end >= end
    world.nodes[old].probes.hung = False
    world.run_until(world.is_whole)
    assert world.died == [old]
    assert overlapping_gates(world) == []
    assert world.stopped_with_open_gate == []


@pytest.mark.parametrize("mode", ["quorum", "strict"])
@pytest.mark.parametrize("point", sorted(OF_SYNC))
def test_a_change_of_the_sync_set_is_ended_by_the_next_life(point: str, mode: Mode) -> None:
    world = World("db1", "db2", "db3", mode=mode)
    world.run_until(world.is_whole)
    world.run(3)
    world.die_at(point, with_host=False)
    world.power_off("db3")
    world.run_until(lambda: bool(world.died))
    promises_hold(world)
    world.power_on("db3")
    world.run_until(world.is_whole)
    world.run(5)

    promises_hold(world)
    assert of_item(world.lease().sync) == world.postgres("db1").waits == waits(["db2", "db3"], 1)
    assert (world.died, world.primary()) == (["db1"], "db1")
    assert overlapping_gates(world) == []


def promises_hold(world: World) -> None:
    assert complaint(world.lease().sync, world.postgres("db1").waits) == ""


def test_the_table_names_every_point_in_the_sources_and_no_other() -> None:
    root = Path(failover_agent.__file__).parent
    passed = [
        name for path in root.rglob("*.py") for name in re.findall(r'\bat\("([a-z-]+)"\)', path.read_text())
    ]

    assert sorted(passed) == sorted(POINTS)
