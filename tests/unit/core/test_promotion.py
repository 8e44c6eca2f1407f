"""When a node's own promotion counts (PROTOCOL N2); each pair differs in the field that decides."""

from __future__ import annotations

from failover_agent.core.model import Unknown
from failover_agent.core.promotion import (
    Beginning,
    OwnPromotion,
    Promotion,
    Standing,
    from_note,
    standing,
    to_note,
)

BEGAN = Beginning(2, 500, "a")
OWN = OwnPromotion(7, 1, BEGAN)
RECORDED = {7: Promotion(7, "db1", BEGAN), 8: Promotion(8, "db2", Beginning(3, 900, "b"))}


def judged(
    own: OwnPromotion | None = OWN,
    timeline: int = 2,
    epoch: int = 8,
    history: object = RECORDED,
    last_holder: str = "db2",
) -> Standing:
    return standing(own, "db1", timeline, epoch, last_holder, history)  # type: ignore[arg-type]


def test_a_recorded_promotion_that_others_built_on_counts() -> None:
    assert judged() is Standing.IN_LINE
    assert judged(own=None, history={}) is Standing.IN_LINE


def test_a_promotion_that_the_history_does_not_name_is_abandoned() -> None:
    assert judged(history={8: RECORDED[8]}) is Standing.ABANDONED
    assert judged(own=OwnPromotion(7, 1, None)) is Standing.ABANDONED
    assert judged(own=OwnPromotion(7, 1, Beginning(2, 500, "another record"))) is Standing.ABANDONED
    assert judged(history={**RECORDED, 7: Promotion(7, "db2", BEGAN)}) is Standing.ABANDONED


def test_two_promotions_to_one_timeline_number_leave_only_the_later() -> None:
    """The counter-example: both are timeline 2 from the same fork, and look alike to pg_rewind."""
    twin = {**RECORDED, 8: Promotion(8, "db2", Beginning(2, 500, "b"))}

    assert judged(history=twin) is Standing.ABANDONED


def test_nobody_is_judged_by_a_history_that_cannot_be_read_or_is_not_written_yet() -> None:
    assert judged(history=Unknown("cut")) is Standing.UNJUDGED
    assert judged(epoch=9) is Standing.UNJUDGED


def test_the_last_promotion_of_the_cluster_needs_no_record() -> None:
    assert judged(epoch=7, history={}) is Standing.IN_LINE
    assert judged(epoch=8, history={}) is Standing.ABANDONED


def test_a_node_that_claimed_again_and_died_before_it_was_promoted_is_in_line() -> None:
    meant = OwnPromotion(7, 1, None)

    assert judged(own=meant, history={}, last_holder="db1") is Standing.IN_LINE
    assert judged(own=meant, history={}, last_holder="db2") is Standing.ABANDONED
    assert judged(own=meant, history={8: RECORDED[8]}, last_holder="db1") is Standing.ABANDONED
    assert judged(own=meant, history=Unknown("cut"), last_holder="db1") is Standing.UNJUDGED


def test_a_promotion_that_never_came_to_pass_is_none() -> None:
    meant = OwnPromotion(7, 1, None)

    assert judged(own=meant, timeline=1, history={}) is Standing.IN_LINE
    assert judged(own=meant, timeline=2, history={}) is Standing.ABANDONED
    assert judged(own=meant, timeline=0, history={}) is Standing.ABANDONED


def test_a_history_entry_is_read_back_as_written() -> None:
    assert from_note(7, to_note(RECORDED[7])) == RECORDED[7]
