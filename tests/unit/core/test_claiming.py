"""Who may take the lease where commits are promised; each pair differs only in the field that decides."""

from __future__ import annotations

from dataclasses import replace

from tests.unit.core.test_rules import DB1, DB2, DB3, NOW, PRIMARY, STANDBY, following, report

from failover_agent.core import snapshot as a
from failover_agent.core.model import Fork, Holder, LeaseItem, LeaseSeen, Server, ServerState, SyncSet
from failover_agent.core.other_facts import STARTING_WAIT_S
from failover_agent.core.rules import decide
from failover_agent.core.seals import Gathered, Seal, Sealed
from failover_agent.core.snapshot import Snapshot
from failover_agent.core.timings import PROFILES

TIMES = PROFILES["balanced"]
ITEM = LeaseItem(
    "c",
    "s1",
    Holder("db1", "i-1", "n1"),
    7,
    "t1",
    TIMES.ttl_s,
    1,
    500,
    sync=SyncSet(("db2", "db3"), 1, 4),
    may_claim=("db1", "db2", "db3"),
    mode="quorum",
    schema_version=2,
)
SUSPECTED = LeaseSeen(ITEM, NOW - TIMES.suspect_after_s, NOW)
EXPIRED = LeaseSeen(ITEM, NOW - TIMES.ttl_s * 1.001, NOW)
DB3_STANDS_BY = report(DB3, STANDBY)


def sealed(name: str, lsn: int = 500) -> Sealed:
    return Sealed(name, Seal("c", 7, 4, "", "db1"), 1, lsn)


def gathered(*seals: Sealed, ago_s: float = 0.0) -> Gathered:
    return Gathered(seals, NOW - ago_s)


BOTH = gathered(sealed("db2"), sealed("db3"))
missing = following.but(others=(DB1, DB3), lease=SUSPECTED, heard=(DB3_STANDS_BY,))
ready = missing.but(gathered=BOTH)


def rule(s: Snapshot) -> str:
    return decide(s).rule


# When there is a campaign


def test_members_are_asked_once_the_primary_is_missed_on_both_ways() -> None:
    beaten = missing.but(lease=replace(SUSPECTED, token_seen_at=NOW - TIMES.suspect_after_s + 0.1))
    heard = missing.but(heard=(DB3_STANDS_BY, report(DB1, PRIMARY, holds=True)))
    heard_without_lease = missing.but(heard=(DB3_STANDS_BY, report(DB1, STANDBY)))

    assert decide(missing).actions == (a.GatherSeals(SUSPECTED, ("db2", "db3")),)
    assert rule(heard_without_lease) == "campaign"
    assert rule(beaten) != "campaign"
    assert rule(heard) == "following"


def test_a_holder_that_keeps_its_gate_open_for_longer_is_missed_later_on_both_ways() -> None:
    """F6: it goes by another profile still, or already; an older agent does not say."""
    patient, fast = ITEM.but(suspect_after_s=4.0), ITEM.but(suspect_after_s=1.5)

    def at(item: LeaseItem, silent_s: float) -> str:
        return rule(missing.but(lease=LeaseSeen(item, NOW - silent_s, NOW)))

    assert at(patient, 3.9) != "campaign"
    assert at(patient, 4.0) == "campaign"
    for item in (fast, ITEM):
        assert at(item, TIMES.suspect_after_s - 0.1) != "campaign"
        assert at(item, TIMES.suspect_after_s) == "campaign"


def test_silence_of_the_store_is_no_missed_beat() -> None:
    unread = missing.but(lease=LeaseSeen(ITEM, NOW - 10, NOW - 9))

    assert rule(unread) != "campaign"


def test_there_is_none_in_async_mode_nor_by_who_is_not_in_the_set() -> None:
    plain = missing.but(lease=replace(SUSPECTED, item=ITEM.but(mode="async")))
    outside = missing.but(lease=replace(SUSPECTED, item=ITEM.but(sync=SyncSet(("db3", "db4"), 1, 4))))
    nothing_promised = missing.but(lease=replace(SUSPECTED, item=ITEM.but(sync=SyncSet((), 0, 4))))

    assert rule(missing) == "campaign"
    without_k = missing.but(lease=replace(SUSPECTED, item=ITEM.but(sync=SyncSet(("db2", "db3"), 0, 4))))
    for other in (plain, outside, nothing_promised, without_k):
        assert rule(other) not in ("campaign", "claim")


def test_it_goes_on_after_the_lease_ended_and_when_it_was_released() -> None:
    released = LeaseSeen(ITEM.but(holder=None, released_by="db1"), NOW - 1, NOW)

    assert rule(missing.but(lease=EXPIRED)) == "campaign"
    assert rule(missing.but(lease=released)) == "campaign"


def test_only_who_was_heard_lately_is_asked_and_the_silent_are_named() -> None:
    alone = decide(missing.but(heard=()))

    assert alone.actions == (a.GatherSeals(SUSPECTED, ("db2",)),)
    assert "db3: it does not answer" in alone.because


# The claim


def test_with_enough_seals_the_lease_is_taken_before_it_ends_and_without_them_not_even_after() -> None:
    one = gathered(sealed("db2"))

    assert decide(ready).actions == (a.Claim(SUSPECTED),)
    assert rule(ready.but(lease=EXPIRED)) == "claim"
    assert rule(missing.but(gathered=one)) == "campaign"
    assert rule(missing.but(gathered=one, lease=EXPIRED)) == "campaign"


def test_seals_of_another_version_are_none() -> None:
    old = tuple(replace(s, seal=replace(s.seal, version=3)) for s in BOTH.seals)

    assert rule(missing.but(gathered=Gathered(old, NOW))) == "campaign"


def test_seals_do_not_make_up_for_a_primary_that_is_heard_again() -> None:
    assert rule(ready.but(heard=(DB3_STANDS_BY, report(DB1, PRIMARY, holds=True)))) == "following"


def test_neither_the_lag_limit_nor_who_is_silent_or_still_starts_counts() -> None:
    far = ITEM.but(lsn=10**9)
    starting = report(DB3, Server(ServerState.STARTING, "s1", 1, 500, standby_signal=True))
    just_free = LeaseSeen(far.but(holder=None, released_by="db1"), NOW - 0.01, NOW)
    lagging = ready.but(lease=just_free, others=(DB1, DB3), heard=(starting,))
    plain = lagging.but(lease=replace(just_free, item=far.but(holder=None, mode="async", may_claim=())))

    assert rule(lagging) == "claim"
    assert rule(plain) == "not-me"
    assert STARTING_WAIT_S > 0


def test_the_most_advanced_claims_at_once_and_the_others_only_where_they_suffice_without_it() -> None:
    ahead = ready.but(gathered=gathered(sealed("db2", 501), sealed("db3")))
    behind = ready.but(gathered=gathered(sealed("db2"), sealed("db3", 501), ago_s=100))

    assert rule(ahead) == "claim"
    assert rule(behind) == "not-me"


def test_equals_claim_in_the_order_of_the_election_each_after_its_time() -> None:
    last_holders_zone = ready.but(others=(DB1, replace(DB3, az=DB1.az)))
    near = report(replace(DB3, az=DB1.az), STANDBY)
    second = last_holders_zone.but(heard=(near,))
    until = NOW + 2 * TIMES.poll_s

    assert rule(second) == "not-me"
    assert rule(second.but(now=until - 0.01)) == "not-me"
    assert rule(second.but(now=until, lease=replace(SUSPECTED, read_at=until), heard=(near,))) == "claim"


def test_equals_that_differ_in_name_alone_wait_for_nobody() -> None:
    """Else the one that has its seals first waits until the other has gathered the same ones."""
    me_last = ready.but(me=DB3, others=(DB1, DB2), heard=(report(DB2, STANDBY),))

    assert rule(me_last) == rule(ready) == "claim"
    assert rule(me_last.but(priority=-1)) == "not-me"
    assert rule(me_last.but(gathered=gathered(sealed("db2", 501), sealed("db3")))) == "not-me"


def test_one_that_is_ahead_and_does_not_claim_is_passed_over_where_the_rest_suffices() -> None:
    """Any two of three hold everything; what only db3 has was never acknowledged."""
    three = ITEM.but(sync=SyncSet(("db2", "db3", "db4"), 2, 4), may_claim=("db1", "db2", "db3", "db4"))
    seals = (sealed("db2"), sealed("db3", 501), sealed("db4"))
    lease = replace(SUSPECTED, item=three)

    assert rule(ready.but(lease=lease, gathered=Gathered(seals, NOW))) == "not-me"
    assert rule(ready.but(lease=lease, gathered=Gathered(seals, NOW - 2 * TIMES.poll_s))) == "claim"
    two_ahead = (sealed("db2"), sealed("db3", 501), sealed("db4", 501))
    assert rule(ready.but(lease=lease, gathered=Gathered(two_ahead, NOW - 100))) == "not-me"


def test_who_must_not_be_primary_claims_by_no_seals() -> None:
    assert rule(ready.but(nofailover=True)) == "not-me"
    assert "nofailover" in decide(ready.but(nofailover=True)).because


# Without seals


def test_the_last_holder_comes_back_when_its_lease_ended_with_what_the_lease_named() -> None:
    back = ready.but(me=DB1, others=(DB2, DB3), lease=EXPIRED, gathered=Gathered())
    less = Server(ServerState.STANDBY, "s1", 1, 499, 499, standby_signal=True)

    assert rule(back) == "claim"
    assert rule(back.but(lease=SUSPECTED)) != "claim"
    assert rule(back.but(server=less)) == "not-me"
    others = ITEM.but(may_claim=("db2", "db3"))
    assert rule(back.but(lease=replace(EXPIRED, item=others))) == "not-me"


def test_what_the_last_holder_wrote_on_a_line_that_no_lease_named_does_not_count() -> None:
    back = ready.but(me=DB1, others=(DB2, DB3), lease=EXPIRED, gathered=Gathered())
    beyond = Server(ServerState.STANDBY, "s1", 2, 900, 900, history=(Fork(1, 499),))

    assert rule(back.but(server=replace(beyond, history=(Fork(1, 500),)))) == "claim"
    assert rule(back.but(server=beyond)) == "not-me"


def test_an_offer_by_name_needs_no_seals_while_it_lasts() -> None:
    offered = ITEM.but(holder=None, released_by="db1", offered_to="db2")
    lasting = LeaseSeen(offered, NOW - 1, NOW)
    over = LeaseSeen(offered, NOW - TIMES.ttl_s * 1.001, NOW)

    assert rule(missing.but(lease=lasting)) == "claim"
    assert rule(missing.but(lease=over)) == "campaign"
    assert rule(missing.but(lease=replace(lasting, item=offered.but(offered_to="db3")))) == "hold"


def test_a_person_may_accept_what_seals_would_have_excluded_once_the_lease_is_free() -> None:
    assert rule(missing.but(lease=EXPIRED, accepted_loss=7)) == "claim-with-loss"
    assert rule(missing.but(accepted_loss=7)) == "campaign"


# In async mode


def test_in_async_mode_only_who_is_named_claims_where_somebody_is() -> None:
    def seen(*names: str) -> Snapshot:
        item = ITEM.but(mode="async", sync=SyncSet(), may_claim=names, schema_version=1)
        return missing.but(lease=replace(EXPIRED, item=item), now=NOW + TIMES.ask_s)

    assert rule(seen()) == "claim"
    assert rule(seen("db1", "db2")) == "claim"
    assert rule(seen("db1", "db3")) == "not-me"
    assert rule(seen("db1")) == "claim", "an older agent's claim leaves its own name"


def test_a_lease_whose_claim_needs_what_nobody_here_can_gather_is_claimed_by_nobody() -> None:
    """P2: its holder may go on without those who claim it without; a person's word stands above."""
    majority = ITEM.but(claim_needs="majority")
    plain = ITEM.but(claim_needs="majority", mode="async", sync=SyncSet(version=4))

    assert rule(ready) == "claim"
    assert rule(ready.but(lease=replace(SUSPECTED, item=majority))) == "not-me"
    offered = majority.but(holder=None, released_by="db1", offered_to="db2")
    assert rule(ready.but(lease=LeaseSeen(offered, NOW - 1, NOW))) == "not-me"
    silent = missing.but(heard=(), lease=replace(EXPIRED, item=plain), now=NOW + 10)
    assert "needs majority" in decide(silent).because
    assert rule(silent) == "not-me"
    assert rule(silent.but(lease=replace(EXPIRED, item=plain.but(claim_needs="any")))) == "claim"
    assert rule(silent.but(accepted_loss=7)) == "claim-with-loss"
