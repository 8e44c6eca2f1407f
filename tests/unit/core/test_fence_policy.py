"""Who is fenced before a promotion, and when it may go on without."""

from __future__ import annotations

import pytest
from tests.unit.core.test_rules import ITEM, MINE, NOW, STANDBY, STOPPED, serving

from failover_agent.core import lease_writes
from failover_agent.core import snapshot as a
from failover_agent.core.fencing import Fences, Fencing, unfenced_after_claim, waited_for
from failover_agent.core.model import Holder, LeaseItem, LeaseSeen, Server
from failover_agent.core.rules import decide
from failover_agent.core.snapshot import Mine

OLD = Holder("db1", "i-1", "n1")
DEAD_CLAIMANT = Holder("db3", "i-3", "n3")
ME = Holder("db2", "i-2", "n2")
WAIT = Fencing("stop-instance", "wait", 20.0)
PROMOTE = Fencing("stop-instance", "promote", 20.0)
CLAIMED = ITEM.but(holder=ME, epoch=8, unfenced=(OLD,))
BEGUN = Fences(8, since=NOW - 5)


def holding(item: LeaseItem, **more: object) -> a.Snapshot:
    """db2, a standby that holds the lease and was not promoted yet."""
    mine = Mine(item, NOW + 3, was_primary=False)
    known = {"server": STANDBY, "fencing": WAIT, "fences": BEGUN, **more}
    return serving.but(mine=mine, lease=LeaseSeen(item, NOW, NOW), **known)


def claim(old: LeaseItem, *, fences: bool = True) -> LeaseItem:
    server = Server(STANDBY.state, "s1", 1, 500)
    return lease_writes.claim("c", old, ME, "t2", 6.0, server, suspect_after_s=2.5, fences=fences)


def test_a_claim_names_whom_it_takes_the_lease_from_and_not_who_gave_it_away() -> None:
    assert claim(ITEM).unfenced == (OLD,)
    assert claim(ITEM.but(holder=None, offered_to="db2")).unfenced == ()
    assert claim(ITEM.but(holder=None)).unfenced == ()


def test_a_cluster_without_fencing_names_nobody() -> None:
    assert claim(ITEM, fences=False).unfenced == ()


def test_who_was_not_fenced_by_a_claimant_that_died_is_the_next_ones_to_fence() -> None:
    left = ITEM.but(holder=DEAD_CLAIMANT, epoch=8, unfenced=(OLD,))

    assert unfenced_after_claim(left, ME) == (OLD, DEAD_CLAIMANT)
    assert unfenced_after_claim(left.but(holder=None), ME) == (OLD,), "also when it gave the lease away"


def test_nobody_fences_itself_and_another_machine_of_its_name_is_not_itself() -> None:
    assert unfenced_after_claim(ITEM.but(unfenced=(ME,)), ME) == (OLD,)
    assert unfenced_after_claim(ITEM.but(holder=Holder("db2", "i-9", "n")), ME) == (
        Holder("db2", "i-9", "n"),
    )


def test_a_cluster_that_was_never_written_to_fences_nobody() -> None:
    assert unfenced_after_claim(ITEM.but(system_identifier=""), ME) == ()


def test_renewals_and_releases_keep_the_names() -> None:
    assert lease_writes.renewal(CLAIMED, ME, "t3", 6.0, STANDBY, suspect_after_s=2.5).unfenced == (OLD,)
    assert lease_writes.release(CLAIMED, "", "t3", STANDBY).unfenced == (OLD,)


def test_a_standby_that_claimed_is_promoted_only_when_the_old_holder_is_seen_fenced() -> None:
    closed = Fences(8, since=NOW - 5, closed=frozenset({"i-1"}))

    assert decide(holding(CLAIMED)).actions == (a.FenceFirst(8),)
    assert decide(holding(CLAIMED, fences=closed)).actions == (a.TakeOver(8),)
    assert decide(holding(CLAIMED, fencing=Fencing())).actions == (a.TakeOver(8),)
    assert decide(holding(CLAIMED.but(unfenced=()))).actions == (a.TakeOver(8),)


def test_a_fence_of_another_epoch_is_no_fence() -> None:
    """The machine was started again since, and held the lease again."""
    earlier = Fences(7, since=NOW - 100, closed=frozenset({"i-1"}))

    for fencing in (WAIT, PROMOTE):
        assert decide(holding(CLAIMED, fences=earlier, fencing=fencing)).rule == "fence-first"


def test_the_sentence_says_whom_it_waits_for_and_what_the_cloud_said() -> None:
    throttled = Fences(8, since=NOW, why=(("i-1", "throttled (RequestLimitExceeded)"),))

    assert "i-1: throttled" in decide(holding(CLAIMED, fences=throttled)).because


def test_a_stopped_claimant_starts_in_recovery_first_and_fences_then() -> None:
    assert decide(holding(CLAIMED, server=STOPPED)).rule == "start-to-promote"


def test_whoever_restarts_in_place_was_promoted_in_this_epoch_and_fences_nobody() -> None:
    mine = Mine(CLAIMED, NOW + 3, was_primary=True)

    assert decide(serving.but(mine=mine, server=STOPPED, fencing=WAIT)).rule == "recover"


@pytest.mark.parametrize("refused", [frozenset[str](), frozenset({"i-1"})], ids=["silent", "refused"])
def test_with_policy_wait_no_time_and_no_refusal_ends_the_waiting(refused: frozenset[str]) -> None:
    fences = Fences(8, since=NOW - 1e6, refused=refused)

    assert waited_for(WAIT, CLAIMED, fences, NOW) == (OLD,)


def test_with_policy_promote_a_silent_cloud_is_waited_for_as_long_as_said() -> None:
    began = Fences(8, since=NOW)

    assert waited_for(PROMOTE, CLAIMED, began, NOW + 19.9) == (OLD,)
    assert waited_for(PROMOTE, CLAIMED, began, NOW + 20.0) == ()


def test_with_policy_promote_a_refusal_is_not_waited_for_but_others_are() -> None:
    both = CLAIMED.but(unfenced=(OLD, DEAD_CLAIMANT))
    fences = Fences(8, since=NOW, refused=frozenset({"i-1"}))

    assert waited_for(PROMOTE, both, fences, NOW + 1) == (DEAD_CLAIMANT,)


def test_no_lease_no_fence() -> None:
    """Only who holds the lease may fence: two that fence each other leave nobody."""
    ended = holding(CLAIMED).but(mine=Mine(CLAIMED, NOW, was_primary=False))

    assert decide(ended).rule != "fence-first"
    assert decide(holding(CLAIMED).but(mine=None)).rule != "fence-first"
    assert MINE.item.unfenced == ()
