"""Every checker finds the anomaly it is named for, in the smallest history, and nothing in its clean twin."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from failover_agent.core.model import Holder, LeaseItem
from tests.sim import checkers as c
from tests.sim.history import (
    Ack,
    AtEnd,
    ClaimSent,
    Death,
    History,
    LeaseWrite,
    Mistake,
    NodeAtEnd,
    Phase,
    Promotion,
    Window,
)

TTL_S = 6.0


def item(epoch: int, holder: str, token: str, offered_to: str = "") -> LeaseItem:
    who = Holder(holder, f"i-{holder}", "n") if holder else None
    return LeaseItem("c", "s", who, epoch, token, TTL_S, 1, 1000, offered_to=offered_to)


def write(at: float, by: str, epoch: int, holder: str, offered_to: str = "") -> LeaseWrite:
    return LeaseWrite(at, by, item(epoch, holder, f"{by}{at}", offered_to), at - 0.01)


STANDBY = NodeAtEnd("db2", "standby", False, True, "db1", True, (), "following")
PRIMARY = NodeAtEnd("db1", "primary", True, False, "", True, (), "serve")


def clean() -> History:
    """db1 holds, serves, is lost; db2 takes over when it may."""
    h = History(1, "quorum", TTL_S, 100, ("db1", "db2"))
    h.writes = [write(0, "db1", 1, "db1"), write(1, "db1", 1, "db1"), write(7.1, "db2", 2, "db2")]
    h.windows = [Window("db1", 1, 0.1, 6.0), Window("db2", 2, 7.3, 20.0)]
    h.acks = [Ack(1.5, "db1", 1, 1, 1010, 1.4), Ack(7.5, "db2", 2, 2, 1030, 7.4)]
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
    "a claim against an offer": (
        c.no_claim_against_an_offer,
        lambda h: h.writes.extend([write(9, "db2", 2, "", "db2"), write(10, "db1", 3, "db1")]),
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
    "a handover that loses": (
        c.a_handover_loses_nothing,
        lambda h: h.promotions.append(Promotion(9, "db1", 3, 3, 3, 0, False, (2,), True)),
    ),
    "a takeover that loses": (
        c.nothing_acknowledged_is_lost,
        lambda h: h.promotions.append(Promotion(9, "db1", 3, 3, 3, 0, False, (2,), False)),
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


def test_async_may_lose_what_was_acknowledged_to_the_lost_primary() -> None:
    history = clean()
    history.mode = "async"
    history.promotions.append(Promotion(9, "db1", 3, 3, 3, 0, False, (2,), False))
    assert c.nothing_acknowledged_is_lost(history) == []


def test_a_history_without_writes_proves_nothing() -> None:
    history = clean()
    history.acks = []
    with pytest.raises(c.UnusableHistory):
        c.judge(history)
