"""One node at a time in the cluster does what cannot be undone, also across a change of the holder (N5)."""

from __future__ import annotations

from tests.support.world import World

from failover_agent.shell.jobs import REST_S
from failover_agent.shell.rejoin_turn import ASKS_AGAIN_S, TURN_S


def three_after_a_failover() -> World:
    """db1 is gone, db2 serves in an epoch of its own; db3 follows."""
    world = World("db1", "db2", "db3")
    assert world.bring_up() == "db1"
    world.run(3)
    world.power_off("db1")
    world.run_until(lambda: world.acknowledges("db2"))
    return world


def test_a_new_holder_learns_of_the_last_ones_grant_from_who_uses_it() -> None:
    world = three_after_a_failover()
    holder, rejoins = world.nodes["db2"].agent, world.nodes["db3"].agent.body.jobs
    world.power_on("db1")
    world.run_until(world.is_whole)

    rejoins.turn_from = "db1"  # granted by the holder before
    assert not holder.grant_rejoin("db1")
    assert holder.grant_rejoin("db3")

    rejoins.turn_from = ""
    world.run(TURN_S + 1)
    assert holder.grant_rejoin("db1")


def test_a_new_holder_waits_a_grants_time_for_a_node_that_does_not_answer() -> None:
    world = three_after_a_failover()
    holder = world.nodes["db2"].agent

    assert not holder.grant_rejoin("db3"), "db1 is silent: it may be in the middle of a rewind"
    world.run(TURN_S - 1)
    assert not holder.grant_rejoin("db3")
    world.run(2)
    assert holder.grant_rejoin("db3")


def a_grant_to_db2() -> World:
    world = World("db1", "db2", "db3")
    assert world.bring_up() == "db1"
    world.run(TURN_S + 1)
    assert world.nodes["db1"].agent.grant_rejoin("db2")
    assert not world.nodes["db1"].agent.grant_rejoin("db3")
    return world


def test_the_turn_is_given_on_once_its_node_is_a_standby_and_does_no_job() -> None:
    world = a_grant_to_db2()
    world.run(2)
    assert world.nodes["db1"].agent.grant_rejoin("db3")


def test_the_turn_is_kept_for_a_node_whose_postgresql_does_not_run() -> None:
    world = a_grant_to_db2()
    world.postgres("db2").refuse_start = True
    world.postmaster_dies("db2")
    world.run(TURN_S - 2)
    assert not world.nodes["db1"].agent.grant_rejoin("db3")
    world.run(3)
    assert world.nodes["db1"].agent.grant_rejoin("db3")


def test_an_answer_that_may_be_older_than_the_job_ends_no_turn() -> None:
    world = a_grant_to_db2()
    world.run(world.timings.request_timeout_s / 2)
    assert not world.nodes["db1"].agent.grant_rejoin("db3")


def test_a_standby_that_streams_and_asks_again_and_again_gets_its_turn() -> None:
    """→ its promotion was abandoned; between two questions it counted as whole and vouched again."""
    world = World("db1", "db2", "db3", mode="quorum")
    assert world.bring_up() == "db1"
    world.run(TURN_S + 1)
    holder, asked = world.nodes["db1"].agent, 0

    while not holder.grant_rejoin("db2"):
        asked += 1
        assert asked < 10, "refused for ever"
        world.run(REST_S + 0.1)

    assert "db2" not in world.lease().sync.members
    world.run(ASKS_AGAIN_S + 10)
    assert "db2" in world.lease().sync.members, "who asks no more vouches again"
