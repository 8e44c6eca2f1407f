"""An agent that starts again: which lease it may go on with, and which it may not."""

from __future__ import annotations

from tests.support.safety import assert_safe, serving
from tests.support.world import World


def test_a_restarted_agent_goes_on_with_the_lease_without_touching_postgres(world: World) -> None:
    world.run(5)
    world.stop_agent("db1")
    starts = list(world.postgres("db1").starts)
    world.run(2)
    world.start_agent("db1")
    world.run(30)

    assert serving(world) == ["db1"]
    assert world.lease().epoch == 1
    assert world.postgres("db1").starts == starts
    assert len(world.nodes["db1"].gate.openings) == 1, "the gate never shut"


def test_an_agent_that_stays_away_longer_than_its_lease_does_not_adopt_it(world: World) -> None:
    world.run(5)
    world.stop_agent("db1")
    world.run(60)
    assert serving(world) == ["db2"]

    world.start_agent("db1")
    world.run_until(world.is_whole)

    assert serving(world) == ["db2"]
    assert_safe(world)


def test_an_agent_that_was_away_too_long_goes_on_if_nobody_could_claim_meanwhile(world: World) -> None:
    world.run(5)
    others = set(world.nodes) - {"db1"}
    world.no_api |= others
    starts = list(world.postgres("db1").starts)
    world.stop_agent("db1")
    world.run(30)
    assert serving(world) == [], "the gate shut by itself"

    world.start_agent("db1")
    world.no_api.clear()
    world.run(10)

    assert serving(world) == ["db1"]
    assert world.lease().epoch == 1
    assert world.postgres("db1").starts == starts
    assert_safe(world)


def test_another_boot_never_adopts_the_lease_even_with_the_note_of_the_last(world: World) -> None:
    world.run(5)
    note = dict(world.nodes["db1"].run_notes.pages)
    world.power_off("db1")
    world.power_on("db1")
    world.nodes["db1"].run_notes.pages.update(note)
    world.start_agent("db1")

    assert world.nodes["db1"].agent.keeper.mine() is None


def test_another_instance_of_the_same_name_never_adopts_the_lease(world: World) -> None:
    world.run(5)
    page = world.nodes["db1"].run_notes.pages["lease"]
    page["instance_id"] = "i-of-the-snapshot"
    world.start_agent("db1")

    assert world.nodes["db1"].agent.keeper.mine() is None
