"""Goal: with the rules of PROTOCOL S and F no acknowledged commit is ever lost, and each of them is needed.

Method: tests/model/events.py is searched exhaustively. With the rules as they are, every state within the
bounds; with one rule left out, until the story that loses a commit is found.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from failover_agent.core import quorum as q
from tests.model.search import exhaust, find_loss
from tests.model.state import NUMBER, Bounds, Rules

EXHAUSTED = (
    (Bounds(wishes=2, records=1, epochs=2), 150_000),  # two changes of (S, k), one takeover
    (Bounds(wishes=1, records=2, epochs=2), 100_000),  # two positions in the WAL
    (Bounds(wishes=1, records=1, epochs=3), 80_000),  # two takeovers
)


@pytest.mark.parametrize(("bounds", "at_least"), EXHAUSTED)
def test_no_acknowledged_commit_is_lost_in_any_state(bounds: Bounds, at_least: int) -> None:
    assert exhaust(bounds) > at_least, "the search looked at less than it did once"


@dataclass(frozen=True)
class LeftOut:
    rule: str
    rules: Rules
    bounds: Bounds
    story: str  # the event that could not have been under the rule


ONE = Bounds(wishes=0, records=1, epochs=2)
CHANGED = Bounds(wishes=1, records=1, epochs=2)
TWICE = Bounds(wishes=0, records=1, epochs=3)
THERE_AND_BACK = Bounds(
    wishes=2, records=1, epochs=2, sets=(NUMBER[q.waits("b", 1)], NUMBER[q.waits("bc", 1)])
)

LEFT_OUT = (
    LeftOut("S1: one seal too few", Rules(threshold=-1), ONE, "c claims"),
    LeftOut("S1: expiry needs no seals", Rules(expiry_needs_seals=False), ONE, "c claims"),
    LeftOut("S2: the claim keeps the old set", Rules(claim_empties_set=False), TWICE, "c claims"),
    LeftOut("S3: laxer, PostgreSQL first", Rules(lax_first_in_store=False), CHANGED, "a acknowledges 1"),
    LeftOut("S3: stricter, store first", Rules(strict_first_in_postgres=False), CHANGED, "b claims"),
    LeftOut("S3: no barrier", Rules(barrier=False), CHANGED, "b claims"),
    LeftOut("S3: told is taken for done", Rules(confirmed_afresh=False), CHANGED, "b claims"),
    LeftOut(
        "S4: unanswered is taken for not landed",
        Rules(settles_unknown=False),
        THERE_AND_BACK,
        "the write of any 1 of b lands late",
    ),
    LeftOut("S5: touched while counted on", Rules(leaves_before_touched=False), ONE, "replaced"),
    LeftOut("F2: not cut in the kernel", Rules(cut_in_kernel=False), ONE, "receives 1 from a"),
    LeftOut("F3: a restart breaks the seal", Rules(seal_survives_restart=False), ONE, "restarts and streams"),
    LeftOut("F4: a seal ends by time", Rules(seal_outlives_time=False), ONE, "unseals by time"),
    LeftOut("F4: seals of two versions count", Rules(one_version=False), ONE, "reads a later version"),
    LeftOut(
        "F4: unsealed, the old one is followed", Rules(follows_who_holds=False), ONE, "receives 1 from a"
    ),
    LeftOut("F5: the claim names no version", Rules(claim_names_version=False), ONE, "claim lands late"),
    LeftOut("not the most advanced claims", Rules(most_advanced_claims=False), ONE, "c claims"),
)


@pytest.mark.parametrize("left_out", LEFT_OUT, ids=lambda case: case.rule)
def test_each_rule_left_out_loses_a_commit(left_out: LeftOut) -> None:
    found = find_loss(left_out.rules, left_out.bounds)

    assert found.story, f"nothing lost in {found.states} states"
    assert found.story[-1].startswith("lost: ")
    assert any(left_out.story in event for event in found.story), found


@pytest.mark.parametrize("bounds", dict.fromkeys(case.bounds for case in LEFT_OUT))
def test_within_the_bounds_of_the_counter_examples_the_rules_lose_no_commit(bounds: Bounds) -> None:
    """Else a counter-example would prove nothing."""
    assert find_loss(Rules(), bounds).story == ()
