"""Sealing and claiming: what counts, what ends a seal, who may claim, until when a gate may be open."""

from __future__ import annotations

from dataclasses import replace

import pytest

from failover_agent.core.model import Holder, LeaseItem, LeaseSeen, SyncSet
from failover_agent.core.seals import Seal, Sealed, counted, ends, gate_until, why_not_claim, why_not_seal

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


def test_who_is_not_sealed_itself_does_not_claim() -> None:
    assert why_not_claim(ITEM, "d", [sealed("b"), sealed("c")]) == "it is not sealed itself"


def test_the_last_holder_has_everything_and_needs_no_seals() -> None:
    assert why_not_claim(ITEM, "a", []) == ""
    assert why_not_claim(ITEM.but(may_claim=("b", "c", "d")), "a", []) == "only b, c, d may claim"


def test_after_a_claim_only_the_claimant_may_come_back() -> None:
    """S2: S is empty, and the node that claimed stands in may_claim alone."""
    claimed = ITEM.but(epoch=5, holder=Holder("b", "i-b", "n"), sync=SyncSet(version=8), may_claim=("b",))

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
