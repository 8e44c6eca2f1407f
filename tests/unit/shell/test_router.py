"""When the route tables are read and when they are written (R1: compare, write, prove)."""

from __future__ import annotations

import pytest
from tests.support.machine import NodeRoutes
from tests.support.world import World

from failover_agent.shell.routes import FRESH_S


def routes(world: World, name: str) -> NodeRoutes:
    found = world.nodes[name].agent.body.ports.routes
    assert isinstance(found, NodeRoutes)
    return found


def after_a_power_loss() -> list[tuple[str, float]]:
    """What db2 asked of the tables from its claim until they all pointed to it."""
    world = World("db1", "db2")
    world.bring_up()
    world.run(5)
    world.power_off("db1")
    routes(world, "db2").calls.clear()
    world.run_until(lambda: set(world.tables.values()) == {"eni-db2"})
    world.run(0.1)
    return routes(world, "db2").calls


def test_a_new_holder_compares_before_it_writes_and_proves_what_it_wrote() -> None:
    calls = after_a_power_loss()

    kinds = [kind for kind, _ in calls]
    first, last = kinds.index("point"), len(kinds) - 1 - kinds[::-1].index("point")
    looked = max(moment for kind, moment in calls[:first] if kind == "look")
    assert calls[first][1] - looked <= FRESH_S
    assert "look" in kinds[last + 1 :]
    assert kinds.count("point") == 2, "one change per table"


def test_what_it_compared_with_is_not_older_than_its_claim() -> None:
    """A table that a stranger moved after an older look must not be missed for long."""
    world = World("db1", "db2")
    world.bring_up()
    world.run(5)
    world.power_off("db1")
    world.run_until(lambda: world.acknowledges("db2"))
    world.tables["rtb-a"] = "eni-stranger"

    took = world.run_until(lambda: set(world.tables.values()) == {"eni-db2"})

    assert took < 10


@pytest.mark.parametrize("moved", ["rtb-a", "rtb-b"])
def test_a_holder_whose_tables_are_right_writes_nothing(moved: str) -> None:
    world = World("db1", "db2")
    world.bring_up()
    world.run(5)
    routes(world, "db1").calls.clear()
    world.run(20)
    assert {kind for kind, _ in routes(world, "db1").calls} == {"look"}

    world.tables[moved] = "eni-stranger"
    world.run(10)
    assert [kind for kind, _ in routes(world, "db1").calls].count("point") == 1
