"""Slots and lost WAL, lived through by whole agents in memory."""

from __future__ import annotations

from dataclasses import replace

from tests.support.world import World

from failover_agent.core.slot_facts import WAL_GONE_S
from failover_agent.core.slots import Slot
from failover_agent.errors import LogicalSlotsAtRisk
from failover_agent.shell.slots import EVERY_S

SOON_S = 4 * EVERY_S
CDC = Slot("cdc", 50, logical=True)


def three() -> World:
    world = World("db1", "db2", "db3")
    world.bring_up()
    world.run(SOON_S)
    return world


def slots_of(world: World, name: str) -> set[str]:
    return set(world.postgres(name).has_slots)


def everybody_has_the_others(world: World) -> bool:
    names = list(world.nodes)
    return all(slots_of(world, n) == {f"primacy_{o}" for o in names if o != n} for n in names)


def test_every_node_has_a_slot_for_every_other_and_standbys_stream_by_theirs() -> None:
    world = three()

    assert everybody_has_the_others(world)
    assert [world.postgres(n).slot for n in ("db2", "db3")] == ["primacy_db2", "primacy_db3"]
    primary, standby = world.postgres("db1").has_slots, world.postgres("db2").has_slots
    world.clients_write = False
    world.run(SOON_S)
    assert standby["primacy_db3"] == primary["primacy_db3"], "a standby keeps no more than the primary does"


def test_slots_survive_a_failover_and_a_switchover() -> None:
    world = three()
    old = world.primary()
    world.power_off(old)
    world.run_until(lambda: any(world.acknowledges(n) for n in world.nodes if n != old))
    new = world.primary()

    assert f"primacy_{old}" in slots_of(world, new), "from the first moment on: it was there before"
    world.power_on(old)
    world.run_until(world.is_whole)
    world.run(SOON_S)
    assert everybody_has_the_others(world)
    assert world.postgres(old).slot == f"primacy_{old}"

    target = "db3" if new != "db3" else "db2"
    world.nodes[new].agent.body.orders.place(target)
    world.run_until(lambda: world.acknowledges(target))
    world.run_until(world.is_whole)
    world.run(SOON_S)
    assert everybody_has_the_others(world)
    assert all(p.slot for p in map(world.postgres, world.nodes) if not p.is_primary())


def test_a_slot_that_vanishes_stops_nobody() -> None:
    world = three()
    primary = world.postgres(world.primary())
    del primary.has_slots["primacy_db2"]
    primary.refuse_slots = True

    world.run_until(lambda: world.postgres("db2").slot == "", limit_s=10)
    world.run_until(world.is_whole, limit_s=10)
    world.run(SOON_S)
    assert world.is_whole()
    assert [p.object for p in world.nodes[primary.name].agent.problems()] == ["keeping replication slots"]

    primary.refuse_slots = False
    world.run_until(lambda: world.postgres("db2").slot == "primacy_db2", limit_s=10)


def without_its_wal(world: World) -> None:
    """db2 was away for longer than anybody keeps WAL."""
    world.power_off("db2")
    world.run(20)
    primary = world.postgres(world.primary())
    primary.oldest_wal = primary.disk.end
    world.power_on("db2")


def clones(world: World, name: str) -> int:
    return world.postgres(name).starts.count("clone db1")


def test_a_node_whose_wal_is_gone_is_cloned_and_streams() -> None:
    world = three()
    without_its_wal(world)

    took = world.run_until(world.is_whole, limit_s=2 * WAL_GONE_S)

    assert world.postgres("db2").starts[-2:] == ["clone db1", "standby of db1"]
    assert took >= WAL_GONE_S
    world.run(SOON_S)
    assert everybody_has_the_others(world)


def test_a_node_that_recovers_from_an_archive_is_not_cloned() -> None:
    world = three()
    without_its_wal(world)
    standby, primary = world.postgres("db2"), world.postgres(world.primary())

    for _ in range(6):  # a segment now and then
        world.run(WAL_GONE_S / 2)
        standby.disk = replace(standby.disk, end=standby.disk.end + 10)
    standby.disk = replace(primary.disk)
    world.run_until(world.is_whole, limit_s=10)
    assert clones(world, "db2") == 1, "its making"


def test_one_node_at_a_time_is_cloned_for_lost_wal() -> None:
    """N5: the turn to rejoin is the holder's to give, here too."""
    world = three()
    world.power_off("db3")
    without_its_wal(world)
    world.power_on("db3")

    world.run_until(world.is_whole, limit_s=4 * WAL_GONE_S)
    assert [clones(world, name) for name in ("db2", "db3")] == [2, 2], "one is its making"


def test_what_a_failover_would_lose_is_told_before() -> None:
    world = three()
    primary = world.postgres("db1")
    for name in ("db2", "db3"):
        world.postgres(name).logical = (replace(CDC, name="brought", failover=True, synced=True),)
    world.run(SOON_S)
    primary.logical = (CDC, replace(CDC, name="brought", failover=True))
    world.run(SOON_S)

    for node in world.nodes.values():
        told = [p for p in node.agent.problems() if isinstance(p, LogicalSlotsAtRisk)]
        assert [p.object for p in told] == ["logical slots cdc of the primary"] * 2
        members = {m["name"]: m["lost_logical_slots"] for m in node.agent.cluster()["members"]}  # type: ignore[attr-defined]  # a list of rows
        assert members == {"db1": [], "db2": ["cdc"], "db3": ["cdc"]}
    said = [v["slots"] for _, n, e, v in world.events if (n, e) == ("db2", "logical-slots-at-risk")]
    assert said == ["db2 would lose cdc; db3 would lose cdc"]


def test_nothing_is_said_where_every_slot_is_ready() -> None:
    world = three()
    world.postgres("db1").logical = (replace(CDC, failover=True),)
    for name in ("db2", "db3"):
        world.postgres(name).logical = (replace(CDC, failover=True, synced=True),)
    world.run(SOON_S)

    assert all(node.agent.problems() == () for node in world.nodes.values())
