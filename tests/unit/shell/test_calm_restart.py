"""The holder's agent is restarted on purpose: nobody takes over, and no session ends (P1, F6)."""

from __future__ import annotations

import pytest
from tests.support.quorum import BALANCED, SUSPECT_S, nothing_is_lost, quorum
from tests.support.safety import overlapping_gates
from tests.support.world import World

from failover_agent.core.model import Mode

BOUND_S = SUSPECT_S - BALANCED.margin_s
RIGHT_S = BALANCED.ttl_s - BALANCED.margin_s  # of a renewal, from its sending


def three() -> World:
    return quorum("db1", "db2", "db3", k=1, failsafe=True)


def away(world: World, seconds: float, name: str = "db1") -> float:
    """Its agent ends, and the next one begins `seconds` later; returns when the last beat was sent."""
    world.end_agent(name)
    mine = world.nodes[name].agent.keeper.mine()
    assert mine is not None
    world.run(seconds)
    world.start_agent(name)
    return mine.beat_sent


@pytest.mark.parametrize("mode", ["async", "quorum", "strict"])
@pytest.mark.parametrize("seconds", [0.3, BOUND_S, SUSPECT_S + 0.5, RIGHT_S - 0.1])
def test_a_restart_within_the_lease_changes_nothing(mode: Mode, seconds: float) -> None:
    world = World("db1", "db2", "db3", mode=mode, failsafe=True)
    assert world.bring_up() == "db1"
    world.run(10.3)
    gate = world.nodes["db1"].gate
    opened, sessions, item = len(gate.openings), gate.sessions, world.lease()

    away(world, seconds)
    world.run(BALANCED.ttl_s)

    assert len(gate.openings) == opened, "never shut in between"
    assert gate.sessions > sessions
    assert gate.is_open()
    assert (world.lease().epoch, world.lease().sync) == (item.epoch, item.sync)
    assert not world.said("sealed")
    assert not world.said("sessions-ended")


def test_the_next_life_serves_with_its_first_round_by_what_was_promised_to_the_last() -> None:
    world = three()
    world.end_agent("db1")
    world.run(SUSPECT_S)
    world.no_api.add("db1")
    world.cut_links |= {frozenset(("db1", "db2")), frozenset(("db1", "db3"))}
    world.start_agent("db1")

    world.nodes["db1"].agent.loop.round()

    assert world.nodes["db1"].agent.keeper.serving_epoch() == 1


def test_a_life_that_is_killed_asks_nobody_and_its_gate_shuts_before_anybody_suspects() -> None:
    world = three()
    killed = world.clock.time
    world.stop_agent("db1")
    world.run(BALANCED.ttl_s)

    assert not world.said("promised")
    assert world.nodes["db1"].gate.openings[-1].end <= killed + BOUND_S
    assert world.primary() in ("db2", "db3")


def test_nobody_waits_for_an_agent_that_ends_for_good_as_on_a_host_that_goes_down() -> None:
    world = three()
    world.end_agent("db1", for_good=True)
    ended = world.clock.time
    world.run(SUSPECT_S + 1.5)

    assert not world.said("promised")
    assert world.nodes["db1"].gate.openings[-1].end <= ended + BOUND_S
    assert world.primary() in ("db2", "db3")


def test_it_waits_no_longer_than_one_ttl_for_a_node_that_dies_meanwhile() -> None:
    world = three()
    world.end_agent("db1")
    ended = world.clock.time
    world.power_off("db1")
    world.run(RIGHT_S)
    assert world.lease().epoch == 1, "db2 and db3 promised"

    world.run_until(lambda: any(world.acknowledges(name) for name in ("db2", "db3")))

    assert BALANCED.ttl_s <= world.clock.time - ended < BALANCED.ttl_s + SUSPECT_S
    assert overlapping_gates(world) == []
    assert nothing_is_lost(world)


def test_an_agent_that_does_not_come_back_leaves_a_gate_that_shuts_with_the_lease() -> None:
    world = three()
    world.end_agent("db1")
    mine = world.nodes["db1"].agent.keeper.mine()
    assert mine is not None
    world.run(3 * BALANCED.ttl_s)

    assert world.nodes["db1"].gate.openings[-1].end == pytest.approx(mine.beat_sent + RIGHT_S)
    assert world.primary() in ("db2", "db3")
    assert overlapping_gates(world) == []
    assert nothing_is_lost(world)


def test_the_promise_of_k_members_is_enough_and_of_fewer_is_none() -> None:
    for deaf, reach_s in ((("db3",), RIGHT_S), (("db2", "db3"), BOUND_S)):
        world = three()
        world.cut_links |= {frozenset(("db1", name)) for name in deaf}
        world.run(SUSPECT_S)
        world.end_agent("db1")
        mine = world.nodes["db1"].agent.keeper.mine()
        assert mine is not None
        world.run(BALANCED.ttl_s)

        assert world.nodes["db1"].gate.openings[-1].end == pytest.approx(mine.beat_sent + reach_s)
        world.run(BALANCED.ttl_s)
        assert overlapping_gates(world) == []
        assert nothing_is_lost(world)


def test_where_two_must_acknowledge_one_promise_holds_nothing_open() -> None:
    world = quorum("db1", "db2", "db3", "db4", "db5", k=2, failsafe=True)
    world.cut_links |= {frozenset(("db1", name)) for name in ("db3", "db4", "db5")}
    world.run(SUSPECT_S)
    world.end_agent("db1")
    mine = world.nodes["db1"].agent.keeper.mine()
    assert mine is not None

    assert [name for name, _until in mine.promised] == ["db2"]
    assert world.nodes["db1"].gate.openings[-1].end == pytest.approx(mine.beat_sent + BOUND_S)


def test_a_member_that_forgets_its_promise_keeps_it_all_the_same() -> None:
    world = three()
    world.end_agent("db1")
    for name in ("db2", "db3"):
        world.stop_agent(name)
        world.start_agent(name)
    world.run(RIGHT_S)

    assert world.acknowledges("db1") or world.lease().epoch == 1
    assert not world.said("sealed")
    world.start_agent("db1")
    world.run(BALANCED.ttl_s)
    assert (world.primary(), world.lease().epoch) == ("db1", 1)


def test_an_answer_that_comes_when_others_may_have_claimed_counts_for_nothing() -> None:
    """Whoever promises now may have sealed for another's claim before, and have forgotten it since."""
    world = three()
    keeper = world.nodes["db1"].agent.keeper
    world.stop_agent("db1")
    mine = keeper.mine()
    assert mine is not None
    world.run(BOUND_S + 0.1)

    for name in ("db2", "db3"):
        keeper._desk.promised_by(name, 1, mine.beat_sent + RIGHT_S)

    assert keeper.alone() is None
    assert not world.nodes["db1"].gate.is_open()


def test_promises_hold_nothing_open_beyond_the_lease_and_not_in_another_epoch() -> None:
    world = three()
    desk = world.nodes["db1"].agent.keeper._desk
    mine = world.nodes["db1"].agent.keeper.mine()
    assert mine is not None

    desk.promised_by("db2", mine.epoch + 1, mine.valid_until)
    assert desk.mine is not None
    assert desk.mine.promised == ()
    desk.promised_by("db2", mine.epoch, mine.valid_until + 100)
    assert desk.unchallenged_until() == mine.valid_until


def test_who_does_not_serve_or_has_no_failsafe_asks_nobody() -> None:
    off = quorum("db1", "db2", "db3", k=1, failsafe=False)
    off.end_agent("db1")
    assert not off.said("promised")

    world = three()
    world.end_agent("db2")
    assert not world.said("promised")
    world.nodes["db1"].agent.keeper.shut()
    world.end_agent("db1")
    assert not world.said("promised")


def test_a_lease_that_could_not_be_renewed_is_left_as_it_is() -> None:
    """A promise for a ttl from now would bind members for longer than the lease of nobody lasts."""
    world = three()
    world.no_api.add("db1")
    world.end_agent("db1")

    assert not world.said("promised")


def test_what_changes_while_the_agent_is_away_changes_after_clients_are_in() -> None:
    """A standby came back: to name it in the lease, a gate that the new life did not drive yet was shut."""
    world = three()
    world.lagging.add("db3")
    world.run(10)
    assert world.lease().sync.members == ("db2",)
    gate = world.nodes["db1"].gate
    opened = len(gate.openings)

    world.end_agent("db1")
    world.lagging.discard("db3")
    world.run(1)
    world.start_agent("db1")
    world.run(BALANCED.ttl_s)

    assert world.lease().sync.members == ("db2", "db3")
    assert len(gate.openings) == opened
    assert not world.said("sessions-ended", by="db1")


@pytest.mark.parametrize("mode", ["async", "quorum"])
def test_a_primary_that_once_let_readers_in_as_a_standby_is_restarted_as_calmly(mode: Mode) -> None:
    """→ the note of its readers, older than its promotion, undid what its clients had been let in by."""
    world = World("db1", "db2", "db3", mode=mode, failsafe=True)
    assert world.bring_up() == "db1"
    world.run(3)
    assert world.reads("db2")
    assert world.reads("db3")
    world.power_off("db1")
    world.run_until(lambda: world.acknowledges("db2") or world.acknowledges("db3"))
    world.run(3)
    name = world.primary()
    world.events.clear()

    away(world, 0.5, name)
    world.run(BALANCED.ttl_s)

    assert world.primary() == name
    assert not world.said("sessions-ended", by=name)
