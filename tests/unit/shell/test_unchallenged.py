"""The gate where members may claim before the lease ends (F6): open while nobody can have claimed."""

from __future__ import annotations

from tests.support.quorum import BALANCED, SUSPECT_S, quorum
from tests.support.safety import overlapping_gates
from tests.support.world import World

from failover_agent.core.model import SyncSet
from failover_agent.shell.lease_desk import SyncPromise

BOUND_S = SUSPECT_S - BALANCED.margin_s


def gate_ends(world: World, name: str = "db1") -> float:
    return world.nodes[name].gate.openings[-1].end


def silent_store(world: World) -> float:
    """db1 cannot reach the store any more; when its last beat that landed was sent."""
    world.no_api.add("db1")
    mine = world.nodes["db1"].agent.keeper.mine()
    assert mine is not None
    return mine.beat_sent


def mute(world: World, *names: str) -> None:
    """Their agents answer nobody and are not heard; their PostgreSQL streams on."""
    for name in names:
        world.stop_agent(name)


def test_without_beats_and_heartbeats_it_shuts_before_anybody_may_suspect() -> None:
    world = quorum("db1", "db2", "db3", k=1)
    mute(world, "db2", "db3")
    world.run(SUSPECT_S)
    sent = silent_store(world)
    world.run(BALANCED.ttl_s)

    assert gate_ends(world) == sent + BOUND_S


def test_in_async_mode_it_is_open_as_long_as_the_lease() -> None:
    world = World("db1", "db2", "db3")
    world.bring_up()
    world.run(10)
    mute(world, "db2", "db3")
    sent = silent_store(world)
    world.run(BALANCED.ttl_s)

    assert gate_ends(world) == sent + BALANCED.ttl_s - BALANCED.margin_s


def test_k_members_that_hear_the_holder_keep_it_open_until_the_lease_ends() -> None:
    world = quorum("db1", "db2", "db3", k=1)
    mute(world, "db3")
    sent = silent_store(world)
    opened = len(world.nodes["db1"].gate.openings)
    until = sent + BALANCED.ttl_s - BALANCED.margin_s
    world.run(until - world.clock.time - 0.1)
    assert world.acknowledges("db1")
    assert gate_ends(world) == until
    assert len(world.nodes["db1"].gate.openings) == opened, "never shut in between"


def test_fewer_than_k_do_not() -> None:
    world = quorum("db1", "db2", "db3", "db4", k=2)
    mute(world, "db3", "db4")
    world.run(SUSPECT_S)
    sent = silent_store(world)
    world.run(BALANCED.ttl_s)

    assert gate_ends(world) == sent + BOUND_S


def test_it_moves_between_renewals_and_stops_moving_with_the_last_heartbeat() -> None:
    world = quorum("db1", "db2", "db3", k=1)
    sent = silent_store(world)
    world.run(BOUND_S)
    mute(world, "db2", "db3")
    last_heard = world.clock.time

    world.run(BALANCED.ttl_s)

    assert sent + BOUND_S < gate_ends(world) <= last_heard + BOUND_S


def test_who_is_sealed_is_no_proof_that_nobody_claims() -> None:
    """It answers, and noted who asks; but its seal was given before, and another may claim with it."""
    world = quorum("db1", "db2", "db3", k=1)
    world.postgres("db3").refuse_cut = True  # so that nobody claims
    world.freeze("db1")
    world.run_until(lambda: world.nodes["db2"].agent.report().sealed != (0, 0), limit_s=SUSPECT_S + 1)
    world.run_until(lambda: world.nodes["db3"].agent.report().sealed != (0, 0), limit_s=1)
    world.thaw("db1")
    world.no_api.update(["db1", "db2", "db3"])
    world.run(0.01)
    desk_heard = dict(world.nodes["db1"].agent.keeper._desk.answered)
    world.run(0.6)

    assert world.nodes["db1"].agent.keeper._desk.answered == desk_heard


def test_who_has_read_of_another_epoch_or_of_none_is_no_proof_that_nobody_claimed() -> None:
    world = quorum("db1", "db2", "db3", k=1)
    db3 = world.nodes["db3"].agent
    assert db3.report_to("db1", 1).noted == 1

    world.freeze("db1")
    world.run_until(lambda: world.lease().epoch == 2)
    world.run_until(lambda: db3.report().sealed == (0, 0) and db3.observer.last_epoch == 2)
    assert db3.report_to("db1", 1).noted == 0

    world.stop_agent("db3")
    world.no_api.add("db3")
    world.start_agent("db3")
    assert world.nodes["db3"].agent.report_to("db1", 1).noted == 0


def test_a_holder_that_slept_through_a_claim_does_not_open_beside_the_claimant() -> None:
    world = quorum("db1", "db2", "db3", k=1)
    world.freeze("db1")
    world.run_until(lambda: world.lease().epoch == 2)
    world.run(0.5)
    world.no_api.add("db1")  # so that it does not learn of its loss from the store
    world.thaw("db1")
    world.run(BALANCED.ttl_s)

    assert overlapping_gates(world) == []


def test_a_gate_that_shut_opens_again_with_the_next_beat_and_the_lease_was_kept() -> None:
    world = quorum("db1", "db2", "db3", k=1)
    mute(world, "db2", "db3")
    world.run(SUSPECT_S)
    silent_store(world)
    world.run(BOUND_S + 0.5)
    assert not world.acknowledges("db1")
    assert world.nodes["db1"].agent.keeper.mine() is not None

    world.no_api.clear()
    world.run(BALANCED.request_timeout_s)

    assert world.acknowledges("db1")
    assert world.lease().epoch == 1


def test_more_who_may_claim_shorten_it_before_they_may() -> None:
    """The write that lets them is on its way: it may have landed, whatever the answer."""
    world = World("db1", "db2", "db3")
    world.bring_up()
    world.run(10)
    mute(world, "db2", "db3")
    world.run(BALANCED.ttl_s)
    world.lost_answers.add("db1")
    mine = world.nodes["db1"].agent.keeper.mine()
    assert mine is not None
    sent = mine.beat_sent
    wanted = SyncPromise(SyncSet(("db2", "db3"), 1, 1), ("db1", "db2", "db3"), "quorum")
    assert not world.nodes["db1"].agent.keeper.write_sync(1, wanted)

    assert gate_ends(world) <= sent + BOUND_S


def test_the_next_life_of_the_agent_keeps_to_the_same_bound() -> None:
    world = quorum("db1", "db2", "db3", k=1)
    mute(world, "db2", "db3")
    world.run(SUSPECT_S)
    sent = silent_store(world)
    world.stop_agent("db1")
    world.run(0.2)
    world.start_agent("db1")
    # What the note of the last beat calls unsettled does not count.
    assert 0 < world.nodes["db1"].agent.keeper._desk.unchallenged_until() <= sent + BOUND_S
    world.run(BALANCED.ttl_s)

    assert gate_ends(world) <= sent + BOUND_S
