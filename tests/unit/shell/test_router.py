"""When the route tables are read and when they are written (R1: compare, write, prove)."""

from __future__ import annotations

import pytest
from tests.support.ways import NodeRoutes
from tests.support.world import World


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
    kinds = [kind for kind, _ in after_a_power_loss()]

    first, last = kinds.index("point"), len(kinds) - 1 - kinds[::-1].index("point")
    assert "look" in kinds[:first]
    assert "look" in kinds[last + 1 :]
    assert kinds.count("point") == 2, "one change per table"


def test_no_route_comes_before_the_lease_and_the_address_and_the_end_of_old_sessions() -> None:
    """The route may come before the gate opens, as the API takes its time; but not before these."""
    world = World("db1", "db2")
    world.bring_up()
    world.run(5)
    world.power_off("db1")
    db2 = world.nodes["db2"]
    world.run_until(lambda: set(world.tables.values()) == {"eni-db2"})

    holder = world.lease().holder
    assert holder is not None
    assert holder.name == "db2"
    assert db2.addresses.here
    assert world.promoted_with_readers == []


def test_a_node_that_gave_the_lease_up_moves_no_route_any_more() -> None:
    world = World("db1", "db2")
    world.bring_up()
    world.run(5)
    world.nodes["db1"].agent.body.orders.place("db2")
    world.nodes["db1"].agent.wake()
    world.run_until(lambda: world.acknowledges("db2"))
    routes(world, "db1").calls.clear()
    world.run(30)

    assert {kind for kind, _ in routes(world, "db1").calls} == {"look"}


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


def test_a_lease_lost_while_the_address_is_looked_at_moves_no_route(monkeypatch: pytest.MonkeyPatch) -> None:
    """R1: the lease is looked at last, right before the call. → a frozen agent woke between the two."""
    world = World("db1", "db2")
    world.bring_up()
    world.run(5)
    node = world.nodes["db1"]
    bound, routes_of = type(node.addresses).bound, routes(world, "db1")

    def bound_and_asleep(addresses: object) -> frozenset[str]:
        here = bound(node.addresses)
        if addresses is node.addresses:
            node.agent.keeper.drop("slept longer than the lease")
        return here

    world.tables["rtb-a"] = "eni-stranger"
    routes_of.calls.clear()
    monkeypatch.setattr(type(node.addresses), "bound", bound_and_asleep)
    node.agent.router.round()

    assert [kind for kind, _ in routes_of.calls if kind == "point"] == []
    monkeypatch.undo()
    assert not node.agent.keeper.holds(1)
