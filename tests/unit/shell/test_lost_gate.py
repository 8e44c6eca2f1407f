"""A gate that can neither be shut nor put back lets nobody write behind it: PostgreSQL is killed."""

from __future__ import annotations

from tests.support.world import World


def test_a_primary_whose_lease_ended_behind_a_lost_gate_is_killed_at_once() -> None:
    world = World("db1", "db2")
    assert world.bring_up() == "db1"
    world.run(3)
    world.nodes["db1"].gate.lost = True
    world.no_api.add("db1")

    world.run_until(lambda: "kill" in world.postgres("db1").starts)

    assert "stop" not in world.postgres("db1").starts, "nobody waits for a clean end"
    assert world.lease().epoch == 1, "before anybody else could claim"


def test_a_flushed_gate_that_cannot_be_put_back_hands_the_primary_over() -> None:
    world = World("db1", "db2")
    assert world.bring_up() == "db1"
    world.run(3)
    world.clients_write = False
    world.nodes["db1"].gate.lost = True
    world.nodes["db1"].agent.keeper.disturbed()

    assert world.postgres("db1").starts[-1] == "kill"
    world.run_until(lambda: world.acknowledges("db2"))


def test_a_standby_behind_a_lost_gate_goes_on_receiving() -> None:
    world = World("db1", "db2")
    assert world.bring_up() == "db1"
    world.run(3)
    world.nodes["db2"].gate.lost = True
    world.nodes["db2"].agent.keeper.disturbed()
    world.run(20)

    assert "kill" not in world.postgres("db2").starts
    assert world.postgres("db2").streaming
