"""A person may accept a loss (S9): only where nobody serves, told before, noted for good."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.world import World

from failover_agent.core.model import Unknown


def too_far_behind() -> World:
    """db1 is lost for good; db2 lacks more than it may, and waits."""
    world = World("db1", "db2", lag_limit_bytes=100)
    world.bring_up()
    world.lagging.add("db2")
    world.run(10)
    world.power_off("db1")
    world.run(60)
    assert not world.acknowledges("db2")
    assert world.rules_of("db2")[-1] == "not-me"
    return world


def order(world: World, name: str, *, accept: bool) -> dict[str, Any]:
    return world.nodes[name].agent.request_failover("db2", accept)


def test_what_may_be_lost_is_told_and_nothing_changes() -> None:
    world = too_far_behind()
    missing = world.lease().lsn - world.postgres("db2").disk.end

    told = order(world, "db2", accept=False)
    world.run(10)

    assert (told["ok"], told["done"]) == (True, False)
    assert told["lost"]["bytes"] == missing > 100
    assert not world.acknowledges("db2")
    assert world.store.notes("loss#") == {}


def test_an_accepted_loss_makes_the_node_primary_and_is_noted() -> None:
    world = too_far_behind()
    lost = world.lease()

    told = order(world, "db2", accept=True)

    assert told["ok"], told
    assert world.acknowledges("db2")
    assert told["epoch"] == world.lease().epoch == lost.epoch + 1
    notes = world.store.notes("loss#")
    assert not isinstance(notes, Unknown)
    assert notes[f"loss#{lost.epoch}"]["node"] == "db2"
    assert "claim-with-loss" in world.rules_of("db2")
    assert [v for _, n, e, v in world.events if (n, e) == ("db2", "loss-accepted")]
    assert world.nodes["db2"].agent.body.orders.accepted_loss == 0


def test_the_order_is_passed_on_to_the_node_that_shall_take_over() -> None:
    world = World("db1", "db2", "db3", lag_limit_bytes=100)
    world.bring_up()
    world.lagging |= {"db2", "db3"}
    world.run(10)
    world.power_off("db1")
    world.run(60)

    assert order(world, "db3", accept=True)["ok"]
    assert world.acknowledges("db2")


@pytest.mark.parametrize("accept", [True, False])
def test_it_is_refused_while_a_primary_serves_or_its_lease_lasts(accept: bool) -> None:
    world = World("db1", "db2")
    world.bring_up()
    world.run(3)
    assert "serves" in order(world, "db2", accept=accept)["why"]

    world.power_off("db1")
    world.run(0.1)
    refused = order(world, "db2", accept=accept)
    assert not refused["ok"]
    assert world.store.notes("loss#") == {}


def test_it_is_refused_where_the_store_does_not_take_the_note() -> None:
    world = too_far_behind()
    world.no_notes.add("db2")

    assert not order(world, "db2", accept=True)["ok"]
    world.run(10)
    assert not world.acknowledges("db2")
