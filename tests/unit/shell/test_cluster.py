"""The real shell on two or three nodes in memory: who serves, and that never two do."""

from __future__ import annotations

import pytest
from tests.support.world import VIP, World

from failover_agent.core.model import ServerState
from failover_agent.core.suspicion import valid_until
from failover_agent.errors import AgentError

BALANCED_OUTAGE_S = 7.5


@pytest.fixture(params=[("db1", "db2"), ("db1", "db2", "db3")], ids=["two nodes", "three nodes"])
def world(request: pytest.FixtureRequest) -> World:
    world = World(*request.param)
    assert world.bring_up() == "db1"
    return world


def assert_safe(world: World) -> None:
    """Never two open gates at once, and no server was stopped while clients could still be answered."""
    assert world.overlapping_gates() == []
    assert world.stopped_with_open_gate == []
    assert world.stopped_with_clients == []
    assert world.promoted_with_readers == []
    assert world.stopped_with_address == []
    assert world.served_unnamed == []


def serving(world: World) -> list[str]:
    return [name for name in world.nodes if world.acknowledges(name)]


def test_a_fresh_cluster_initialises_one_node_and_clones_the_others(world: World) -> None:
    assert world.postgres("db1").starts[:2] == ["init", "primary"]
    for name in set(world.nodes) - {"db1"}:
        assert world.postgres(name).starts[0] == "clone db1"
    assert world.lease().epoch == 1
    assert world.lease().system_identifier == "made by db1"
    assert not any(node.token.here for node in world.nodes.values())
    assert set(world.tables.values()) == {"eni-db1"}


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


def test_an_old_primary_with_wal_of_its_own_is_rewound_and_follows(world: World) -> None:
    world.run(5)
    world.postgres("db1").disk.end += 500  # written, and not received by anybody
    world.power_off("db1")
    world.run_until(lambda: bool(serving(world)))

    world.power_on("db1")
    took = world.run_until(world.is_whole)

    assert "rewind db2" in world.postgres("db1").starts
    assert took <= 10


def test_an_old_primary_without_wal_of_its_own_just_follows(world: World) -> None:
    world.clients_write = False
    world.run(5)
    world.power_off("db1")
    world.run_until(lambda: bool(serving(world)))

    world.power_on("db1")
    world.run_until(world.is_whole)

    assert "rewind db2" not in world.postgres("db1").starts


def test_a_rewind_that_fails_ends_in_a_clone(world: World) -> None:
    world.run(5)
    world.postgres("db1").disk.end += 500
    world.postgres("db1").refuse_rewind = True
    world.power_off("db1")
    world.run_until(lambda: bool(serving(world)))

    world.power_on("db1")
    world.run_until(world.is_whole)

    assert "clone db2" in world.postgres("db1").starts


@pytest.mark.parametrize(("refusals", "clones"), [(2, False), (3, True)])
def test_a_rewind_refused_before_it_began_is_tried_again_before_a_clone(refusals: int, clones: bool) -> None:
    world = World("db1", "db2")
    world.bring_up()
    world.postgres("db1").disk.end += 500
    world.postgres("db1").rewinds_to_refuse = refusals
    world.power_off("db1")
    world.run_until(lambda: bool(serving(world)))

    world.power_on("db1")
    world.run_until(world.is_whole)

    assert ("clone db2" in world.postgres("db1").starts) is clones


def test_a_power_loss_in_the_middle_of_a_rewind_ends_in_a_clone(world: World) -> None:
    world.postgres("db1").disk.end += 500
    world.power_off("db1")
    world.run_until(lambda: bool(serving(world)))
    world.nodes["db1"].state_notes.save("rewinding", {"upstream": "db2"})

    world.power_on("db1")
    world.run_until(world.is_whole)

    assert "clone db2" in world.postgres("db1").starts


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


def test_a_dead_postmaster_hands_over_to_a_standby_that_has_everything(world: World) -> None:
    world.run(5)
    world.replicate()
    world.postmaster_dies("db1")

    took = world.run_until(lambda: serving(world) == ["db2"])

    assert took < 1.0, "nobody waits for the lease to expire"
    assert world.lease().epoch == 2
    assert_safe(world)


def test_a_dead_postmaster_restarts_in_place_when_no_standby_has_everything(world: World) -> None:
    world.run(5)
    world.clients_write = False
    world.lagging |= set(world.nodes)
    world.postgres("db1").disk.end += 10
    world.postmaster_dies("db1")

    world.run_until(lambda: serving(world) == ["db1"])

    assert world.postgres("db1").starts[-1] == "primary"
    assert world.lease().epoch == 1
    assert world.postgres("db1").disk.timeline == 1


def test_a_primary_that_does_not_start_any_more_leaves_the_lease_to_others(world: World) -> None:
    world.run(5)
    world.clients_write = False
    world.lagging |= set(world.nodes)
    world.postgres("db1").disk.end += 10
    world.postgres("db1").refuse_start = True
    world.postmaster_dies("db1")

    world.run_until(lambda: serving(world) == ["db2"], limit_s=15)

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


def test_a_deleted_lease_item_is_an_alarm_and_nothing_is_touched(world: World) -> None:
    world.run(5)
    world.power_off("db1")
    world.store.delete()
    for node in world.nodes.values():
        node.token.here = True
    world.run(60)

    assert serving(world) == []
    assert world.rules_of("db2")[-1] == "lease-missing"
    assert "init" not in world.postgres("db2").starts


def test_nobody_bootstraps_while_a_member_is_silent() -> None:
    world = World("db1", "db2")
    world.power_off("db2")
    world.run(60)

    assert world.store.read() is None
    assert world.rules_of("db1") == ["bootstrap-wait"]


def test_a_node_that_dies_while_it_bootstraps_is_replaced_by_the_next() -> None:
    world = World("db1", "db2", "db3")
    world.postgres("db1").refuse_start = True
    world.run_until(lambda: "init" in world.postgres("db1").starts)
    assert not world.lease().system_identifier
    world.power_off("db1")

    world.run_until(world.is_whole)

    assert serving(world) == ["db2"]
    world.power_on("db1")
    world.run(10)
    assert world.rules_of("db1")[-1] == "foreign-data", "its data was never written to; a person removes it"


def test_both_hosts_off_and_on_again_serve_the_node_with_most_wal(world: World) -> None:
    world.run(5)
    for name in world.nodes:
        world.power_off(name)
    world.run(5)
    for name in world.nodes:
        world.power_on(name)

    world.run_until(world.is_whole)

    assert_safe(world)


@pytest.mark.parametrize("replays_for_s", [8.0, 60.0])
def test_after_a_power_loss_of_all_the_node_that_still_replays_is_waited_for_a_while(
    replays_for_s: float,
) -> None:
    world = World("db1", "db2")
    world.bring_up()
    world.run(5)
    world.lagging.add("db2")
    world.run(1)
    world.postgres("db1").replays_for_s = replays_for_s
    for name in world.nodes:
        world.power_off(name)
    world.lagging.clear()
    world.run(5)
    for name in world.nodes:
        world.power_on(name)

    world.run_until(lambda: bool(serving(world)))

    assert serving(world) == (["db1"] if replays_for_s < 30 else ["db2"])
    world.run_until(world.is_whole, limit_s=120)
    assert_safe(world)


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


def test_a_node_that_slept_gives_its_standby_the_whole_time_to_stream_again(world: World) -> None:
    """N7: time that ran while the process slept is no ground to doubt the WAL."""
    world.lagging.add("db2")
    world.run(2)
    node = world.nodes["db2"]
    assert node.agent.observer.look(world.clock.now(), 0.0).unstreamed_s >= 1.5
    world.freeze("db2")
    world.run(60)
    world.thaw("db2")
    world.run(0.5)

    assert "woke" in world.rules_of("db2")
    assert node.agent.observer.look(world.clock.now(), 0.0).unstreamed_s <= 1.0


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


def test_only_one_node_at_a_time_gets_the_slot_to_rejoin(world: World) -> None:
    agent = world.nodes["db1"].agent
    assert agent.grant_rejoin("db2")
    assert not agent.grant_rejoin("db3")
    assert agent.grant_rejoin("db2")
    world.run(31)
    assert agent.grant_rejoin("db3")


def test_a_deposed_primary_unbinds_its_address(world: World) -> None:
    world.run(5)
    world.no_api.add("db1")
    world.run_until(lambda: serving(world) == ["db2"])

    assert world.nodes["db1"].addresses.here == set()
    assert world.postgres("db1").state is not ServerState.PRIMARY
