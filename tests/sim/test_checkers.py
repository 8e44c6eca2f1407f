"""Every checker finds the anomaly it is named for, in the smallest history, and nothing in its clean twin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from failover_agent.core.model import Holder, LeaseItem, Mode, SyncSet
from tests.sim import checkers as c
from tests.sim import pause_checks as pauses
from tests.sim.history import (
    Ack,
    AtEnd,
    ClaimLanded,
    ClaimSent,
    Death,
    FenceSeen,
    HandoverOrdered,
    History,
    LeaseWrite,
    Mistake,
    ModeOrdered,
    NodeAtEnd,
    PauseOrdered,
    Phase,
    Promised,
    Promotion,
    Window,
)

TTL_S = 6.0


def item(epoch: int, holder: str, token: str, offered_to: str = "") -> LeaseItem:
    who = Holder(holder, f"i-{holder}", "n") if holder else None
    return LeaseItem("c", "s", who, epoch, token, TTL_S, 1, 1000, offered_to=offered_to, mode="quorum")


SYNC = SyncSet(("db2", "db3"), 1, 4)


def claim(by: str, epoch: int, sealed: tuple[str, ...], **changes: object) -> ClaimLanded:
    """Over a lease of db1 in which db2 and db3 vouch for commits."""
    before = item(epoch - 1, "db1", "t").but(sync=SYNC, may_claim=("db1", "db2", "db3"), **changes)
    return ClaimLanded(9, by, 8.9, before, item(epoch, by, "new"), sealed, (), False)


SEALABLE = item(1, "db1", "missed").but(sync=SYNC)


def write(at: float, by: str, epoch: int, holder: str, offered_to: str = "") -> LeaseWrite:
    return LeaseWrite(at, by, item(epoch, holder, f"{by}{at}", offered_to), at - 0.01)


def in_mode(mode: Mode, of: LeaseWrite) -> LeaseWrite:
    return replace(of, item=of.item.but(mode=mode))


def _pause_and(h: History, then: LeaseWrite) -> None:
    h.pauses_ordered.append(PauseOrdered(7.5, "db2", pause=True))
    h.writes += [paused(write(9, "db2", 2, "db2")), then]


def paused(of: LeaseWrite) -> LeaseWrite:
    return replace(of, item=of.item.but(paused=SINCE))


SINCE = "2026-11-29T14:52:29Z"
STANDBY = NodeAtEnd("db2", "standby", False, True, "db1", True, (), "following")
PRIMARY = NodeAtEnd("db1", "primary", True, False, "", True, (), "serve")


def clean() -> History:
    """db1 holds, serves, is lost; db2 takes over when it may."""
    h = History(1, "quorum", TTL_S, 100, ("db1", "db2"))
    h.writes = [write(0, "db1", 1, "db1"), write(1, "db1", 1, "db1"), write(7.1, "db2", 2, "db2")]
    h.windows = [Window("db1", 1, 0.1, 6.0), Window("db2", 2, 7.3, 20.0)]
    h.acks = [Ack(1.5, "db1", 1, 1, 1010, 1.4), Ack(7.5, "db2", 2, 2, 1030, 7.4)]
    h.landed = [claim("db2", 2, ("db2", "db3"))]
    h.suspect_after_s = 2.5
    h.waits_for_fences, h.fences = True, [FenceSeen(7.15, "db2", "db1", True)]
    h.claims = [ClaimSent(7.09, "db2", 2, 0, (), False)]
    h.promotions = [Promotion(7.2, "db2", 2, 2, 2, 0, False, (), False)]
    h.phases = [Phase("safety", 0, 10), Phase("liveness", 10, 15), Phase("calm", 15, 20)]
    end = AtEnd("liveness", 15, True, 5.0, (PRIMARY, STANDBY), (("rtb-a", "db1"),), 2)
    h.ends = [replace(end, phase="safety"), end]
    return h


def test_the_clean_history_is_clean() -> None:
    assert c.judge(clean()) == []


def _late_ack(h: History) -> None:
    h.acks.append(Ack(7.4, "db1", 3, 1, 1020, 1.6))


def _mixed(h: History) -> None:
    h.acks.append(Ack(7.6, "db1", 3, 1, 1020, 1.6))


def _end(h: History, node: NodeAtEnd, *, whole: bool = True) -> None:
    h.ends[1] = replace(h.ends[1], whole=whole, nodes=(PRIMARY, node))


CASES: dict[str, tuple[Callable[[History], list[str]], Callable[[History], object]]] = {
    "two windows share an instant": (
        c.no_two_writers,
        lambda h: h.windows.append(Window("db1", 1, 7.29, 7.31)),
    ),
    "an old line is acknowledged late": (c.acknowledgements_of_one_line_never_mix, _mixed),
    "an answer after the lease": (c.no_acknowledgement_after_the_lease, _late_ack),
    "an epoch goes back": (c.epochs_only_grow, lambda h: h.writes.append(write(9, "db1", 1, "db1"))),
    "two holders in one epoch": (
        c.one_holder_per_epoch,
        lambda h: h.writes.append(write(9, "db1", 2, "db1")),
    ),
    "a claim before its time": (
        c.no_claim_before_its_time,
        lambda h: h.writes.append(write(9, "db1", 3, "db1")),
    ),
    "a claim by seals over another token than the one that was missed": (
        c.no_claim_before_its_time,
        lambda h: h.writes.insert(2, replace(write(6.9, "db1", 1, "db1"), item=SEALABLE)),
    ),
    "a claim against an offer": (
        c.no_claim_against_an_offer,
        lambda h: h.writes.extend([write(9, "db2", 2, "", "db2"), write(10, "db1", 3, "db1")]),
    ),
    "a claim against a promise": (
        c.promises_are_kept,
        lambda h: h.promises.append(Promised(2, 2.01, "db2", "db1", 1, TTL_S)),
    ),
    "a promotion against a promise": (
        c.promises_are_kept,
        lambda h: h.promises.append(Promised(7.15, 7.16, "db2", "db1", 1, TTL_S)),
    ),
    "a claim with a seal too few": (
        c.no_claim_without_seals,
        lambda h: h.landed.append(claim("db2", 3, ("db2",))),
    ),
    "a claim by who may not": (
        c.no_claim_without_seals,
        lambda h: h.landed.append(claim("db4", 3, ("db2", "db3"))),
    ),
    "a claim by who is not sealed": (
        c.no_claim_without_seals,
        lambda h: h.landed.append(claim("db2", 3, ("db3", "db4"))),
    ),
    "a seal that does not cut": (
        c.no_claim_without_seals,
        lambda h: h.landed.append(replace(h.landed[0], still_fed=("db3",))),
    ),
    "a claim from too far behind": (
        c.no_stale_claim,
        lambda h: h.claims.append(ClaimSent(9, "db1", 3, 101, (), False)),
    ),
    "a claim where a better node was heard": (
        c.no_stale_claim,
        lambda h: h.claims.append(ClaimSent(9, "db1", 3, 0, ("db2",), False)),
    ),
    "readers in a promotion": (
        c.readers_end_before_a_promotion,
        lambda h: h.promotions.append(Promotion(9, "db1", 3, 3, 3, 1, False, (), False)),
    ),
    "an open gate in a promotion": (
        c.readers_end_before_a_promotion,
        lambda h: h.promotions.append(Promotion(9, "db1", 3, 3, 3, 0, True, (), False)),
    ),
    "a promotion beside a machine that runs": (
        c.fenced_before_a_promotion,
        lambda h: setattr(h, "fences", [FenceSeen(7.15, "db2", "db1", False)]),
    ),
    "a fence after the promotion": (
        c.fenced_before_a_promotion,
        lambda h: setattr(h, "fences", [FenceSeen(7.25, "db2", "db1", True)]),
    ),
    "a fence before the claim": (
        c.fenced_before_a_promotion,
        lambda h: setattr(h, "fences", [FenceSeen(7.0, "db2", "db1", True)]),
    ),
    "a handover that loses": (
        c.a_handover_loses_nothing,
        lambda h: h.promotions.append(Promotion(9, "db1", 3, 3, 3, 0, False, (2,), True)),
    ),
    "a takeover that loses": (
        c.nothing_acknowledged_is_lost,
        lambda h: h.promotions.append(Promotion(9, "db2", 3, 3, 2, 0, False, (2,), False)),
    ),
    "another mode that nobody ordered": (
        c.modes_are_ordered,
        lambda h: h.writes.append(in_mode("async", write(9, "db2", 2, "db2"))),
    ),
    "a pause that nobody ordered": (
        pauses.pauses_are_ordered,
        lambda h: h.writes.append(paused(write(9, "db2", 2, "db2"))),
    ),
    "a pause that is forgotten": (
        pauses.pauses_are_ordered,
        lambda h: _pause_and(h, write(10, "db2", 2, "db2")),
    ),
    "a takeover in a pause": (
        pauses.nobody_takes_over_while_paused,
        lambda h: setattr(h, "landed", [claim("db2", 2, ("db2", "db3"), paused=SINCE)]),
    ),
    "a handover in a pause": (
        pauses.nothing_is_handed_over_while_paused,
        lambda h: h.writes.append(paused(write(9, "db2", 2, "", "db1"))),
    ),
    "a copy that is none": (c.copies_are_copies, lambda h: _end(h, replace(STANDBY, same_as_primary=False))),
    "a forbidden order": (c.no_forbidden_order, lambda h: h.mistakes.append(Mistake(1, "db1", "N3", "x"))),
    "an agent that dies": (c.no_agent_dies, lambda h: h.deaths.append(Death(1, "db1", "KeyError"))),
    "a cluster that stays broken": (c.healed_becomes_whole, lambda h: _end(h, STANDBY, whole=False)),
    "a promotion in the calm": (
        c.calm_changes_nothing,
        lambda h: h.promotions.append(Promotion(16, "db1", 3, 3, 3, 0, False, (), False)),
    ),
}


@pytest.mark.parametrize(("check", "spoil"), CASES.values(), ids=CASES.keys())
def test_what_is_spoilt_is_found(
    check: Callable[[History], list[str]], spoil: Callable[[History], object]
) -> None:
    history = clean()
    assert check(history) == []
    spoil(history)
    assert check(history)


def test_every_check_has_a_case() -> None:
    assert {check for check, _ in CASES.values()} == set(c.CHECKS)


@pytest.mark.parametrize(("promised", "carried"), [(("db2", "db3"), True), (("db2",), False), ((), False)])
def test_only_promises_of_all_who_may_claim_let_answers_leave_after_the_lease(
    promised: tuple[str, ...], carried: bool
) -> None:
    history = clean()
    may_claim = ("db1", "db2", "db3")
    history.writes = [replace(write(1, "db1", 1, "db1"), item=item(1, "db1", "t").but(may_claim=may_claim))]
    history.acks = [Ack(8, "db1", 1, 1, 1010, 7.9)]
    history.promises = [Promised(5, 5.01, name, "db1", 1, TTL_S) for name in promised]

    assert (c.no_acknowledgement_after_the_lease(history) == []) is carried
    history.acks = [Ack(11.1, "db1", 1, 1, 1010, 7.9)]
    assert c.no_acknowledgement_after_the_lease(history) != []


def test_async_may_lose_what_was_acknowledged_to_the_lost_primary() -> None:
    history = clean()
    history.landed = [claim("db2", 2, (), mode="async")]
    history.promotions.append(Promotion(9, "db2", 3, 3, 2, 0, False, (2,), False))
    assert c.nothing_acknowledged_is_lost(history) == []


def test_an_order_switches_the_mode() -> None:
    history = clean()
    history.modes_ordered = [ModeOrdered(8, "db1", "async")]
    history.writes.append(in_mode("async", write(9, "db2", 2, "db2")))
    assert c.modes_are_ordered(history) == []


def test_a_person_pauses_resumes_and_hands_over_meanwhile() -> None:
    history = clean()
    history.pauses_ordered = [PauseOrdered(8, "db1", pause=True), PauseOrdered(10, "db1", pause=False)]
    history.handovers_ordered = [HandoverOrdered(8.5, "db2")]
    given, taken = paused(write(9, "db2", 2, "", "db1")), paused(write(9.5, "db1", 3, "db1"))
    history.writes += [paused(write(8.1, "db2", 2, "db2")), given, taken, write(10.1, "db1", 3, "db1")]
    history.landed.append(replace(claim("db1", 3, ()), before=given.item))

    for check in (
        pauses.pauses_are_ordered,
        pauses.nobody_takes_over_while_paused,
        pauses.nothing_is_handed_over_while_paused,
    ):
        assert check(history) == []


def test_the_last_holder_takes_its_own_lease_again_in_a_pause() -> None:
    history = clean()
    history.landed = [claim("db1", 2, (), paused=SINCE)]
    assert pauses.nobody_takes_over_while_paused(history) == []


def test_only_what_was_acknowledged_since_mode_async_must_be_there_at_the_end() -> None:
    """Number 1 was acknowledged in mode async, number 2 after the switch."""
    history = clean()
    history.writes[:2] = [in_mode("async", w) for w in history.writes[:2]]
    _end(history, replace(PRIMARY, missing=(1,)))
    assert c.nothing_acknowledged_is_lost(history) == []
    _end(history, replace(PRIMARY, missing=(1, 2)))
    assert c.nothing_acknowledged_is_lost(history)


def test_nothing_is_missed_at_the_end_in_mode_async() -> None:
    history = clean()
    history.writes.append(in_mode("async", write(9, "db2", 2, "db2")))
    _end(history, replace(PRIMARY, missing=(1, 2)))
    assert c.nothing_acknowledged_is_lost(history) == []


def test_a_person_may_accept_what_is_lost() -> None:
    history = clean()
    history.landed = [replace(claim("db2", 2, ()), accepted=True)]
    history.promotions.append(Promotion(9, "db2", 3, 3, 2, 0, False, (2,), False))
    assert c.nothing_acknowledged_is_lost(history) == c.no_claim_without_seals(history) == []


def test_a_cluster_that_was_never_written_to_may_be_begun_again_by_anybody() -> None:
    history = clean()
    history.landed = [claim("db4", 2, (), system_identifier="")]
    assert c.no_claim_without_seals(history) == []


def test_the_heir_needs_no_seals_however_late_it_reads_of_its_offer_and_nobody_else_is_one() -> None:
    history = clean()
    history.writes.insert(2, write(7.0, "db1", 1, "", "db2"))
    offered = history.writes[2].item.but(sync=SYNC, may_claim=("db1", "db2", "db3"))
    in_time = replace(claim("db2", 2, ()), before=offered, first_sent=7.5)
    history.landed = [in_time]
    assert c.no_claim_without_seals(history) == []
    history.landed = [replace(in_time, first_sent=30.0)]
    assert c.no_claim_without_seals(history) == []
    history.landed = [replace(in_time, before=offered.but(offered_to="db3"))]
    assert c.no_claim_without_seals(history)


def test_a_history_without_writes_proves_nothing() -> None:
    history = clean()
    history.acks = []
    with pytest.raises(c.UnusableHistory):
        c.judge(history)
