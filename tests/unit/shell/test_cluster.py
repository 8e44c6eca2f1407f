"""The real shell on two or three nodes in memory: who serves, and that never two do."""

from __future__ import annotations

import pytest
from tests.support.safety import assert_safe, serving
from tests.support.world import VIP, World

from failover_agent.core.model import ServerState
from failover_agent.core.suspicion import valid_until
from failover_agent.errors import AgentError

BALANCED_OUTAGE_S = 7.5


def test_after_a_power_loss_exactly_one_other_node_takes_over_in_time(world: World) -> None:
    world.run(10)
    world.power_off("db1")

    took = world.run_until(lambda: bool(serving(world)))

    assert took <= BALANCED_OUTAGE_S
    assert serving(world) == ["db2"]
    assert world.lease().epoch == 2
    world.run(30)
    assert serving(world) == ["db2"]
    assert set(world.tables.values()) == {"eni-db2"}
    assert_safe(world)


def test_a_primary_frozen_for_a_minute_never_shares_an_instant_with_its_successor(world: World) -> None:
    world.run(5)
    world.freeze("db1")
    world.run(60)
    assert serving(world) == ["db2"]

    world.thaw("db1")
    world.run_until(world.is_whole)

    assert world.rules_of("db1")[-1] in ("following", "use-slot", "connecting", "return", "busy")
    assert "woke" in world.rules_of("db1")
    assert "fence" in world.rules_of("db1")
    assert_safe(world)


def test_a_standby_that_cannot_be_promoted_leaves_the_lease_to_the_next() -> None:
    world = World("db1", "db2", "db3")
    world.bring_up()
    world.postgres("db2").refuse_promotion = True
    world.power_off("db1")

    world.run_until(lambda: serving(world) == ["db3"], limit_s=15)

    assert_safe(world)


def test_a_switchover_loses_nothing_and_the_old_primary_follows_without_a_rewind(world: World) -> None:
    world.run(5)
    end = world.postgres("db1").disk.end
    ticket = world.nodes["db1"].agent.body.orders.place("db2")
    world.nodes["db1"].agent.wake()

    took = world.run_until(lambda: serving(world) == ["db2"])

    assert ticket.done.is_set()
    assert ticket.result is not None
    assert ticket.result.target == "db2"
    assert took < 0.5
    assert world.postgres("db2").disk.end >= end
    world.run_until(world.is_whole)
    assert not [s for s in world.postgres("db1").starts if "rewind" in s or "clone" in s]
    assert VIP not in world.nodes["db1"].addresses.here
    assert_safe(world)


def test_a_switchover_to_a_standby_that_does_not_stream_is_refused_and_nothing_stops(world: World) -> None:
    world.run(5)
    world.lagging.add("db2")
    world.run(0.1)
    ticket = world.nodes["db1"].agent.body.orders.place("db2")
    world.nodes["db1"].agent.wake()
    world.run(2)

    assert isinstance(ticket.error, AgentError)
    assert "stop" not in world.postgres("db1").starts
    assert serving(world) == ["db1"]


def test_two_switchovers_at_once_are_refused(world: World) -> None:
    orders = world.nodes["db1"].agent.body.orders
    orders.place("db2")

    with pytest.raises(AgentError):
        orders.place("")


def test_while_the_store_is_silent_nobody_claims_and_the_primary_stops_in_time(world: World) -> None:
    world.run(5)
    world.no_api |= set(world.nodes)
    world.run(60)

    assert serving(world) == []
    assert world.lease().epoch == 1

    world.no_api.clear()
    world.run_until(world.is_whole)
    assert world.lease().epoch == 2
    assert_safe(world)


def test_a_primary_cut_from_the_store_alone_is_replaced_without_overlap(world: World) -> None:
    world.run(5)
    world.no_api.add("db1")

    took = world.run_until(lambda: serving(world) == ["db2"])

    assert took <= BALANCED_OUTAGE_S
    assert_safe(world)


def test_lost_answers_do_not_cost_the_lease(world: World) -> None:
    world.run(5)
    world.lost_answers.add("db1")
    world.run(3)
    world.lost_answers.clear()
    world.run(10)

    assert serving(world) == ["db1"]
    assert world.lease().epoch == 1
    assert len(world.nodes["db1"].gate.openings) == 1, "the gate never shut"


def test_a_standby_too_far_behind_waits_for_the_old_primary() -> None:
    world = World("db1", "db2", lag_limit_bytes=100)
    world.bring_up()
    world.lagging.add("db2")
    world.run(10)
    world.power_off("db1")
    world.run(60)
    assert serving(world) == []
    assert world.rules_of("db2")[-1] == "not-me"

    world.lagging.clear()
    world.power_on("db1")
    world.run_until(world.is_whole)

    assert serving(world) == ["db1"]


def test_the_holders_validity_is_what_its_gate_shows(world: World) -> None:
    world.run(5)
    node = world.nodes["db1"]
    mine = node.agent.keeper.mine()
    assert mine is not None
    assert node.gate.openings[-1].end == mine.valid_until
    assert mine.valid_until <= valid_until(world.clock.now(), world.timings.ttl_s, world.timings.margin_s)


def test_a_route_moved_by_somebody_else_is_repaired(world: World) -> None:
    world.tables["rtb-b"] = "eni-of-a-stranger"
    world.run(5)

    assert set(world.tables.values()) == {"eni-db1"}


def test_a_route_change_of_a_deposed_holder_that_takes_effect_late_is_repaired(world: World) -> None:
    """R1: ReplaceRoute has no condition, so the call of a holder of long ago cannot be excluded."""
    world.late_routes.add("db1")
    world.tables["rtb-a"] = ""
    world.run(4)
    assert ("rtb-a", "eni-db1") in world.on_their_way
    world.power_off("db1")
    world.run_until(lambda: serving(world) == ["db2"])
    world.run(1)

    world.land_routes()
    assert world.tables["rtb-a"] == "eni-db1"

    took = world.run_until(lambda: set(world.tables.values()) == {"eni-db2"})
    assert took <= 3.5
    assert_safe(world)


def test_status_names_roles_and_states_as_promised(world: World) -> None:
    world.run(12)
    for name in world.nodes:
        status = world.nodes[name].agent.cluster()
        assert (status["holder"], status["epoch"], status["mode"]) == ("db1", 1, "async")
        members = {str(m["name"]): m for m in status["members"]}  # type: ignore[attr-defined]
        assert (members["db1"]["role"], members["db1"]["state"]) == ("primary", "running")
        assert (members["db2"]["role"], members["db2"]["state"]) == ("standby", "streaming")
        endpoint = status["endpoints"][0]  # type: ignore[index]
        assert endpoint["target"] == "db1"
        assert endpoint["tables"] == {"rtb-a": "db1", "rtb-b": "db1"}


def test_a_deposed_primary_unbinds_its_address(world: World) -> None:
    world.run(5)
    world.no_api.add("db1")
    world.run_until(lambda: serving(world) == ["db2"])

    assert world.nodes["db1"].addresses.here == set()
    assert world.postgres("db1").state is not ServerState.PRIMARY
