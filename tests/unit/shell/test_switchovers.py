"""A person's order to hand over: to whom, and what becomes of a second one."""

from __future__ import annotations

import pytest
from tests.support.safety import overlapping_gates
from tests.support.world import World

from failover_agent.errors import PeerRefused
from failover_agent.shell.orders import Orders


def test_a_switchover_goes_to_the_node_that_was_named() -> None:
    """Not to the one that an election would choose: it ranks by name among equals."""
    world = World("db1", "db2", "db3")
    world.bring_up()
    world.run(5)
    world.nodes["db1"].agent.body.orders.place("db3")
    world.nodes["db1"].agent.wake()

    world.run_until(lambda: world.acknowledges("db3"))
    world.run_until(world.is_whole)

    assert world.lease().epoch == 2
    assert "promote" not in world.postgres("db2").starts
    assert overlapping_gates(world) == []


@pytest.mark.parametrize(("first", "named"), [("db2", "db2"), ("", "the best standby")])
def test_of_two_switchovers_at_once_the_second_is_refused_and_told_of_the_first(
    first: str, named: str
) -> None:
    orders = Orders()
    ticket = orders.place(first)

    with pytest.raises(PeerRefused, match=f"one to {named} is under way") as refused:
        orders.place("db3")
    assert "db3" in str(refused.value)

    assert orders.open() == ticket.order, "the first goes on"
    orders.close(ticket.order.number, None)
    assert orders.place("db3").order.to == "db3"


def test_an_order_that_nobody_waits_for_any_more_makes_room_for_the_next() -> None:
    orders = Orders()
    late = orders.place("db2")
    orders.withdraw(late)
    second = orders.place("db3")

    orders.close(late.order.number, None)

    assert orders.open() == second.order, "the end of the first is not the second's"
