"""Two promotions that look alike never meet (PROTOCOL N2)."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.support.safety import serving
from tests.support.world import World

from failover_agent import killpoints
from failover_agent.core.model import Unknown


@pytest.fixture
def world() -> Iterator[World]:
    world = World("db1", "db2")
    assert world.bring_up() == "db1"
    world.run(5)
    yield world
    killpoints.arm("", lambda: None)


def history(world: World) -> dict[str, tuple[str, str]]:
    notes = world.store.notes("history#")
    assert not isinstance(notes, Unknown)
    return {key: (note["node"], note["timeline"]) for key, note in notes.items()}


def test_every_epoch_that_served_stands_in_the_history(world: World) -> None:
    world.power_off("db1")
    world.run_until(lambda: serving(world) == ["db2"])
    world.run(2)

    assert history(world) == {"history#1": ("db1", "1"), "history#2": ("db2", "2")}


def test_the_history_is_written_later_where_the_store_did_not_take_it_at_once(world: World) -> None:
    world.no_notes.add("db2")
    world.power_off("db1")
    world.run_until(lambda: serving(world) == ["db2"])
    world.run(3)
    assert "history#2" not in history(world)

    world.no_notes.clear()
    world.run(3)
    assert history(world)["history#2"] == ("db2", "2")


def _promoted_unseen(world: World) -> None:
    """db2 is promoted and dies before anybody has read anything of it; db1 comes back and goes on."""
    world.die_at("promoted-before-publish", with_host=True, comes_back=False)
    world.power_off("db1")
    world.run_until(lambda: world.died == ["db2"])
    world.power_on("db1")
    world.run_until(lambda: serving(world) == ["db1"])


def test_a_node_whose_promotion_nobody_knows_is_cloned_though_its_wal_looks_like_the_primarys(
    world: World,
) -> None:
    _promoted_unseen(world)
    twin, primary = world.postgres("db2").disk, world.postgres("db1").disk
    assert (twin.timeline, twin.history) == (primary.timeline, primary.history), "alike to PostgreSQL"
    assert twin.began != primary.began

    before = len(world.postgres("db2").starts)
    world.power_on("db2")
    world.run_until(world.is_whole)

    assert world.postgres("db2").starts[before:] == ["clone db1", "standby of db1"]
    assert world.postgres("db2").disk.began == primary.began


def test_an_abandoned_node_never_claims(world: World) -> None:
    _promoted_unseen(world)
    world.power_off("db1")
    world.postgres("db2").disk.end += 10_000
    before = len(world.postgres("db2").starts)
    world.power_on("db2")
    world.run(60)

    assert serving(world) == []
    assert world.postgres("db2").starts[before:] == []
    assert world.rules_of("db2")[-1] == "abandoned"

    world.power_on("db1")
    world.run_until(world.is_whole)
    assert serving(world) == ["db1"]


def test_an_old_primary_whose_promotion_is_recorded_returns_without_a_clone(world: World) -> None:
    for lost, heir in (("db1", "db2"), ("db2", "db1")):
        world.power_off(lost)
        world.run_until(lambda heir=heir: serving(world) == [heir])  # type: ignore[misc]
        world.power_on(lost)
        world.run_until(world.is_whole)

    assert not [s for s in world.postgres("db2").starts[1:] if "clone" in s]


def test_a_second_promotion_in_one_epoch_takes_the_place_of_the_first_in_the_history(world: World) -> None:
    """→ promoted, it died before it served, and was promoted again: by the history it was another's."""
    promotions = world.nodes["db1"].agent.body.promotions
    promotions.record(1)
    world.run(2)
    assert history(world)["history#1"] == ("db1", "1")
    world.postgres("db1").disk.timeline = 2

    promotions.record(1)
    assert history(world)["history#1"] == ("db1", "1"), "it stands there already"
    promotions.intend(1, 1)
    promotions.record(1)

    assert history(world)["history#1"] == ("db1", "2")
