"""Clusters in memory in which commits are promised."""

from __future__ import annotations

from failover_agent.core.model import Mode
from failover_agent.core.timings import PROFILES
from tests.support.world import World

BALANCED = PROFILES["balanced"]
SUSPECT_S = BALANCED.suspect_after_s


def quorum(*names: str, k: int, failsafe: bool = False) -> World:
    """`names[0]` serves, any k of all others acknowledge; every agent has run for longer than a ttl."""
    world = World(*names, mode="quorum", failsafe=failsafe)
    assert world.bring_up() == names[0]
    world.run(10)
    assert (world.lease().sync.members, world.lease().sync.k) == (names[1:], k)
    return world


def three(mode: Mode) -> World:
    """db1 serves in `mode`, db2 and db3 stream."""
    world = World("db1", "db2", "db3", mode=mode)
    assert world.bring_up() == "db1"
    world.run(3)
    return world


def nothing_is_lost(world: World, first: str = "db1") -> bool:
    """Whether the node that serves now has everything that `first` had told its clients about."""
    postgres = world.postgres(world.primary())
    had = postgres.disk.history[0].lsn if postgres.disk.history else postgres.disk.end
    return had >= world.acknowledged[first]
