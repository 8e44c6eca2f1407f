"""Sealing and claiming: what counts, what ends a seal, who may claim, until when a gate may be open."""

from __future__ import annotations

from dataclasses import replace

import pytest

from failover_agent.core.model import Holder, LeaseItem, LeaseSeen, NodeReport, SyncSet, Unknown
from failover_agent.core.seals import (
    Seal,
    Sealed,
    claimants,
    counted,
    counts_as_heard,
    ends,
    gate_until,
    is_patient_enough,
    unchallenged_until,
    why_not_claim,
    why_not_seal,
)
from failover_agent.core.timings import PROFILES

ITEM = LeaseItem(
    cluster="c",
    system_identifier="s",
    holder=Holder("a", "i-a", "n"),
    epoch=4,
    token="t",
    ttl_s=6,
    timeline=3,
    lsn=100,
    sync=SyncSet(("b", "c", "d"), 2, 7, ("inc-b", "inc-c", "inc-d")),
    may_claim=("a", "b", "c", "d"),
)
NOW, SUSPECT_S = 50.0, 2.5


def seal(name: str = "b") -> Seal:
    return Seal("c", 4, 7, f"inc-{name}", against="a")


def sealed(name: str, lsn: int = 100, timeline: int = 3) -> Sealed:
    return Sealed(name, seal(name), timeline, lsn)


# Who may claim


def test_as_many_seals_as_the_item_says_and_not_one_fewer() -> None:
    assert why_not_claim(ITEM, "b", [sealed("b"), sealed("c")]) == ""
    assert why_not_claim(ITEM, "b", [sealed("b")]).startswith("1 of 2 seals of version 7")
    all_needed = ITEM.but(sync=replace(ITEM.sync, k=1))
    assert why_not_claim(all_needed, "b", [sealed("b"), sealed("c")]).endswith("waiting for d")
    assert why_not_claim(all_needed, "b", [sealed("b"), sealed("c"), sealed("d")]) == ""


@pytest.mark.parametrize(
    "other",
    [
        replace(sealed("c"), seal=replace(seal("c"), version=6)),
        replace(sealed("c"), seal=replace(seal("c"), version=8)),
        replace(sealed("c"), seal=replace(seal("c"), epoch=3)),
        replace(sealed("c"), seal=replace(seal("c"), cluster="other")),
        replace(sealed("c"), seal=replace(seal("c"), incarnation="inc-x")),
        replace(sealed("c"), name="e"),
        replace(sealed("c"), timeline=2),
        sealed("b"),
    ],
)
def test_a_seal_counts_for_exactly_one_version_member_and_data_directory(other: Sealed) -> None:
    assert why_not_claim(ITEM, "b", [sealed("b"), sealed("c")]) == ""
    assert why_not_claim(ITEM, "b", [sealed("b"), other]).startswith("1 of 2 seals")


def test_the_most_advanced_of_the_sealed_claims() -> None:
    answers = [sealed("b", 100), sealed("c", 101)]

    assert why_not_claim(ITEM, "c", answers) == ""
    assert why_not_claim(ITEM, "b", answers) == "c has received 0/65, it has 0/64"
    level = [sealed("b", 101), sealed("c", 101)]
    assert [why_not_claim(ITEM, name, level) for name in "bc"] == ["", ""]


def test_a_later_timeline_is_further_whatever_its_position() -> None:
    answers = [sealed("b", 500), sealed("c", 100, timeline=4)]

    assert why_not_claim(ITEM, "c", answers) == ""
    assert why_not_claim(ITEM, "b", answers) != ""


def test_who_may_claim_is_the_most_advanced_of_as_many_as_are_needed() -> None:
    def names(*answers: Sealed) -> list[str]:
        return [a.name for a in claimants(ITEM, answers)]

    assert names(sealed("b", 100), sealed("c", 101)) == ["c"]
    assert names(sealed("b", 100), sealed("c", 101), sealed("d", 102)) == ["d", "c"]
    assert names(sealed("b", 100), sealed("c", 100), sealed("d", 102)) == ["d", "b", "c"]
    assert names(sealed("b", 100)) == []


def test_where_commits_are_promised_nobody_is_not_everybody() -> None:
    nobody = ITEM.but(may_claim=())

    assert why_not_claim(nobody, "b", []) == ""
    assert why_not_claim(nobody.but(mode="quorum"), "b", []) == "only nobody may claim"


def test_who_is_not_sealed_itself_does_not_claim() -> None:
    assert why_not_claim(ITEM, "d", [sealed("b"), sealed("c")]) == "it is not sealed itself"


def test_the_last_holder_has_everything_and_needs_no_seals() -> None:
    assert why_not_claim(ITEM, "a", []) == ""
    assert why_not_claim(ITEM.but(may_claim=("b", "c", "d")), "a", []) == "only b, c, d may claim"


def test_after_a_claim_only_the_claimant_may_come_back() -> None:
    """S2: S is empty, and the node that claimed stands in may_claim alone."""
    claimed = ITEM.but(
        epoch=5, holder=Holder("b", "i-b", "n"), sync=SyncSet(version=8), may_claim=("b",), mode="quorum"
    )

    assert why_not_claim(claimed, "b", []) == ""
    assert why_not_claim(claimed, "c", [sealed("c")]) == "only b may claim"


def test_in_async_mode_nobody_needs_a_seal() -> None:
    item = ITEM.but(sync=SyncSet(version=7), may_claim=())

    assert why_not_claim(item, "d", []) == ""


def test_incarnations_that_the_item_does_not_name_are_not_compared() -> None:
    old = ITEM.but(sync=replace(ITEM.sync, incarnations=()))

    assert set(counted(old, [sealed("b"), sealed("c")])) == {"b", "c"}


# What ends a seal


def test_a_seal_ends_by_a_later_version_or_epoch_only() -> None:
    assert not ends(seal(), ITEM)
    assert ends(seal(), ITEM.but(sync=replace(ITEM.sync, version=8)))
    assert ends(seal(), ITEM.but(epoch=5, sync=SyncSet(version=8)))
    assert not ends(seal(), ITEM.but(sync=replace(ITEM.sync, version=6)))
    assert not ends(seal(), ITEM.but(holder=None, token="other"))


# The vote


def seen(token_age_s: float = SUSPECT_S) -> LeaseSeen:
    return LeaseSeen(ITEM, token_seen_at=NOW - token_age_s, read_at=NOW)


def vote(lease: LeaseSeen, heard_ago_s: float | None = None, asked: Seal | None = None) -> str:
    heard_at = None if heard_ago_s is None else NOW - heard_ago_s
    return why_not_seal(lease, NOW, heard_at, SUSPECT_S, asked or seal())


def test_who_missed_the_primary_on_both_ways_would_seal() -> None:
    assert vote(seen()) == ""
    assert vote(seen(), heard_ago_s=SUSPECT_S) == ""


def test_who_heard_the_primary_on_either_way_refuses() -> None:
    assert vote(seen(), heard_ago_s=SUSPECT_S - 0.1) == "a answered 2.4 s ago"
    assert vote(seen(SUSPECT_S - 0.1)).startswith("a renewed its lease")


def test_who_is_less_patient_than_the_holder_counts_on_refuses_for_as_long_as_that() -> None:
    """F6: the holder's gate is open by what it wrote, whatever the member was given since."""

    def voted(item: LeaseItem, token_age_s: float, heard_ago_s: float) -> str:
        return vote(LeaseSeen(item, token_seen_at=NOW - token_age_s, read_at=NOW), heard_ago_s)

    patient = ITEM.but(ttl_s=20, suspect_after_s=8.0)
    assert voted(patient, 8.0, 8.0) == ""
    assert voted(patient, 8.0, 7.9) == "a answered 7.9 s ago"
    assert voted(patient, 7.9, 8.0).startswith("a renewed its lease")
    fast = ITEM.but(suspect_after_s=1.5)
    assert voted(fast, SUSPECT_S, SUSPECT_S - 0.1) == "a answered 2.4 s ago"
    assert voted(fast, SUSPECT_S - 0.1, SUSPECT_S).startswith("a renewed its lease")


def test_reads_that_failed_are_no_missed_beat() -> None:
    """The token is old because nobody could read, not because nobody wrote (L4)."""
    unread = LeaseSeen(ITEM, token_seen_at=NOW - 10, read_at=NOW - 9)

    assert vote(unread) != ""


def test_a_vote_is_for_the_version_that_was_asked_about() -> None:
    for asked in (
        replace(seal(), version=6),
        replace(seal(), epoch=5),
        replace(seal(), cluster="x"),
        replace(seal(), against="b"),
    ):
        assert vote(seen(), asked=asked) != ""


def test_nobody_seals_against_nobody() -> None:
    lease = LeaseSeen(ITEM.but(holder=None), NOW - 10, NOW)

    assert vote(lease, asked=replace(seal(), against="")) != ""


def test_an_agent_that_lost_the_store_and_still_answers_blocks_nobody_once_its_lease_ended() -> None:
    end = ITEM.ttl_s * 1.001

    assert vote(seen(end), heard_ago_s=0.1) == ""
    assert vote(seen(end - 0.01), heard_ago_s=0.1) == "a answered 0.1 s ago"
    unread = LeaseSeen(ITEM, token_seen_at=NOW - end, read_at=NOW - 0.1)
    assert vote(unread, heard_ago_s=0.1) != "", "time alone is no missed beat"


def test_a_released_lease_is_sealed_against_who_released_it_unless_it_is_on_offer() -> None:
    released = ITEM.but(holder=None, released_by="a")

    assert vote(LeaseSeen(released, NOW, NOW), heard_ago_s=0.1) == ""
    assert vote(LeaseSeen(released.but(released_by="x"), NOW, NOW)) != ""
    offered = released.but(offered_to="b")
    assert vote(LeaseSeen(offered, NOW, NOW)) == "the lease is offered to b"
    assert vote(LeaseSeen(offered, NOW - 7, NOW)) == ""


# The gate


def until(beat: float, *answered: float, k: int = 1, valid_until: float = 1000.0) -> float:
    return gate_until(valid_until, beat, answered, k, suspect_after_s=2.5, margin_s=1.0)


def test_the_gate_shuts_before_anybody_may_suspect() -> None:
    assert until(100.0) == 101.5
    assert until(100.0, valid_until=101.0) == 101.0


def test_members_that_heard_us_hold_the_gate_open_like_a_beat() -> None:
    assert until(100.0, 110.0) == 111.5
    assert until(100.0, 110.0, 111.0) == 112.5
    assert until(100.0, 90.0) == 101.5


def test_it_takes_k_of_them() -> None:
    """k members that heard us leave |S| - k that did not: one seal too few."""
    assert until(100.0, 110.0, k=2) == 101.5
    assert until(100.0, 110.0, 105.0, k=2) == 106.5


def test_the_gate_of_an_item_that_promises_nothing_is_open_as_long_as_the_lease() -> None:
    quorum = ITEM.but(mode="quorum")

    def bound(item: LeaseItem, **heard: float) -> float:
        return unchallenged_until(item, 1000.0, 100.0, heard, PROFILES["balanced"])

    assert bound(quorum) == 101.5
    assert bound(quorum, b=110.0, c=105.0) == 106.5
    assert bound(quorum, b=110.0, x=111.0) == 101.5, "who is not in S is no acknowledger"
    assert bound(quorum.but(mode="async")) == 1000.0
    assert bound(quorum.but(sync=SyncSet(version=8))) == 1000.0


def test_the_gate_goes_by_the_less_patient_of_the_item_and_the_holder() -> None:
    """Members go by the more patient of the item and their own: those may be less than the holder's."""
    quorum = ITEM.but(mode="quorum")

    def bound(suspect_after_s: float, **promised: float) -> float:
        item, heard = quorum.but(suspect_after_s=suspect_after_s), {"b": 110.0, "c": 105.0}
        return unchallenged_until(item, 1000.0, 100.0, heard, PROFILES["balanced"], promised)

    assert bound(8.0) == bound(2.5) == 106.5
    assert bound(1.5) == 105.5
    assert bound(0.0) == 106.5, "an older agent's item: members go by their own"
    assert bound(1.5, c=109.0) == 109.0, "a promise is not about suspicion"


def test_a_promise_of_k_members_holds_the_gate_open_until_it_ends() -> None:
    quorum = ITEM.but(mode="quorum")

    def bound(item: LeaseItem, *, lease: float = 1000.0, c: float = 0.0, **promised: float) -> float:
        return unchallenged_until(item, lease, 100.0, {"c": c}, PROFILES["balanced"], promised)

    assert bound(quorum, b=105.0) == 101.5, "k is 2"
    assert bound(quorum, b=105.0, c=102.0) == 103.5, "one promised, the other was heard"
    assert bound(quorum, b=105.0, d=104.0) == 104.0
    assert bound(quorum, b=105.0, x=105.0) == 101.5, "who is not in S is no acknowledger"
    assert bound(quorum, b=105.0, d=105.0, lease=103.0) == 103.0


def test_an_answer_counts_as_heard_only_of_who_noted_it_and_was_not_sealed() -> None:
    noted = NodeReport("b", "z", "i", Unknown("not asked"), 4, holds_lease=False, noted=4)

    assert counts_as_heard(noted, 4)
    assert not counts_as_heard(noted, 5)
    assert not counts_as_heard(replace(noted, noted=0), 0)
    assert not counts_as_heard(replace(noted, sealed=(4, 7)), 4)


def test_who_seals_sooner_than_the_holder_counts_on_is_not_counted_on() -> None:
    member = NodeReport("b", "z", "i", Unknown("not asked"), 4, holds_lease=False, suspects_after_s=SUSPECT_S)

    assert is_patient_enough(member, SUSPECT_S)
    assert is_patient_enough(member, 1.5)
    assert not is_patient_enough(member, 8.0)
    assert is_patient_enough(replace(member, suspects_after_s=0.0), 8.0), "an older agent does not say"
