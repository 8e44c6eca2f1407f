"""What a pause of failover keeps from happening, and what it does not; each pair differs in what decides."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.core.test_rules import (
    ABSENT,
    DB1,
    DB2,
    DB3,
    EXPIRED,
    ITEM,
    JUST_SEEN,
    MINE,
    NOW,
    PRIMARY,
    STANDBY,
    STOPPED,
    following,
    report,
    serving,
)
from tests.unit.core.test_rules_liveness import FULL, HUNG, STUCK, heir, primary

from failover_agent.core import snapshot as a
from failover_agent.core.accepted_loss import refusal, waits_for
from failover_agent.core.model import Holder, LeaseItem, LeaseSeen, Server, SyncSet, Unknown
from failover_agent.core.pausing import why_not_resume_here
from failover_agent.core.problems import problems
from failover_agent.core.promises import Given, Promise
from failover_agent.core.rules import decide
from failover_agent.core.seals import Gathered, Seal, Sealed
from failover_agent.core.snapshot import Mine, Snapshot
from failover_agent.errors import FailoverPaused

SINCE = "2026-11-29T14:52:29Z"
PAUSED: LeaseItem = ITEM.but(paused=SINCE, schema_version=3)
GONE = replace(EXPIRED, item=PAUSED)
ALIKE = replace(STANDBY, upstream="", streaming=False)

missing = following.but(lease=GONE, heard=())  # db2's; db1 was the holder and is gone
back = following.but(me=DB1, others=(DB2,), server=ALIKE, lease=GONE, heard=(report(DB2, STANDBY),))
holding = serving.but(
    mine=Mine(MINE.item.but(paused=SINCE), NOW + 3, was_primary=True),
    lease=LeaseSeen(MINE.item.but(paused=SINCE), NOW, NOW),
)


def resumed(s: Snapshot) -> Snapshot:
    assert isinstance(s.lease, LeaseSeen)
    mine = replace(s.mine, item=s.mine.item.but(paused="")) if s.mine else None
    return s.but(lease=replace(s.lease, item=s.lease.item.but(paused="")), mine=mine)


def rule(s: Snapshot) -> str:
    return decide(s).rule


# Nobody takes the primary's place


def test_a_lease_that_ended_is_claimed_by_no_other_node_and_the_reason_names_the_ways_out() -> None:
    assert rule(resumed(missing)) == "claim"
    kept = decide(missing)
    assert (kept.rule, kept.actions) == ("paused", ())
    assert SINCE in kept.because
    assert "failoverctl resume" in kept.because
    assert "failoverctl failover" in kept.because


def test_neither_do_seals_help_nor_are_they_gathered() -> None:
    item = PAUSED.but(mode="quorum", sync=SyncSet(("db2", "db3"), 1, 4), may_claim=("db1", "db2", "db3"))
    times = missing.timings
    suspected = missing.but(lease=LeaseSeen(item, NOW - times.suspect_after_s, NOW), others=(DB1, DB3))
    seals = tuple(Sealed(n, Seal("c", 7, 4, "", "db1"), 1, 500) for n in ("db2", "db3"))
    sealed = suspected.but(gathered=Gathered(seals, NOW - 10))

    assert rule(resumed(suspected)) == "campaign"
    assert rule(resumed(sealed)) == "claim"
    assert rule(suspected) == rule(sealed) == "paused"


def test_a_lease_that_was_released_to_nobody_is_left_alone_too() -> None:
    released = missing.but(lease=LeaseSeen(PAUSED.but(holder=None, released_by="db1"), NOW - 10, NOW))

    assert rule(resumed(released)) == "claim"
    assert rule(released) == "paused"


def test_a_new_cluster_is_not_begun_again_by_another_node() -> None:
    unnamed = replace(GONE, item=PAUSED.but(system_identifier=""))
    empty = missing.but(server=ABSENT, bootstrap_token=True, lease=unnamed)

    assert rule(resumed(empty)) == "bootstrap-again"
    assert rule(empty) == "no-data"


# Who may all the same


def test_the_last_holder_takes_its_own_lease_again_also_where_another_ranks_before_it() -> None:
    before_me = back.but(server=replace(ALIKE, replayed_lsn=400))

    assert rule(resumed(before_me)) == "not-me"
    assert decide(before_me).actions == (a.Claim(GONE),)


def test_but_not_over_one_that_has_more() -> None:
    ahead = report(DB2, replace(STANDBY, received_lsn=501))

    assert rule(back.but(heard=(ahead,))) == "not-me"


def test_it_is_the_last_holder_by_its_instance_not_by_its_name_alone() -> None:
    made_anew = replace(GONE, item=PAUSED.but(holder=Holder("db1", "i-9", "n1")))

    assert rule(back.but(lease=made_anew)) == "paused"


def test_who_released_it_may_take_it_back() -> None:
    released = LeaseSeen(PAUSED.but(holder=None, released_by="db1"), NOW - 10, NOW)

    assert rule(back.but(lease=released)) == "claim"


def test_the_heir_of_an_ordered_switchover_takes_what_was_released_to_it() -> None:
    offered = PAUSED.but(holder=None, released_by="db1", offered_to="db2")
    late = LeaseSeen(offered, NOW - 100, NOW)

    assert rule(missing.but(lease=LeaseSeen(offered, NOW - 0.1, NOW))) == "claim"
    assert rule(missing.but(lease=late)) == "claim"
    assert rule(missing.but(lease=replace(late, item=offered.but(offered_to="db3")))) == "paused"


def test_a_person_may_order_a_node_to_take_over_and_is_told_of_the_pause_before() -> None:
    assert refusal(missing) == ""
    assert SINCE in waits_for(missing)
    assert waits_for(resumed(missing)) == ""
    assert rule(missing.but(accepted_loss=7)) == "claim-with-loss"


# No way down by itself


@pytest.mark.parametrize(
    ("why", "seen", "otherwise"),
    [
        ("stuck", primary.but(health=STUCK), "stuck"),
        ("hung storage", primary.but(health=HUNG), "leave-hung-storage"),
        ("full disk", primary.but(health=FULL), "disk-full"),
    ],
)
def test_a_primary_that_fares_badly_goes_on(why: str, seen: Snapshot, otherwise: str) -> None:
    paused = seen.but(mine=holding.mine, lease=holding.lease, heard=heir())

    assert rule(resumed(paused)) == otherwise, why
    assert rule(paused) == "serve", why


def test_from_the_sending_of_the_pause_on_nothing_is_handed_over() -> None:
    """Its fate is not known yet, and whatever is released after it carries it on."""
    down = serving.but(server=STOPPED)

    assert decide(down).actions == (a.RecoverPrimary(),)
    assert decide(down.but(pause_sent=True)).actions == (a.RecoverPrimary(in_place=True),)


def test_postgres_that_died_starts_again_where_it_was_however_often_that_failed() -> None:
    down = holding.but(server=STOPPED)

    assert rule(resumed(down)) == "recover"
    assert decide(down).rule == "recover-in-place"
    assert rule(resumed(down.but(failed_starts=3))) == "give-up"
    assert rule(down.but(failed_starts=3)) == "recover-in-place"


def test_a_data_directory_that_is_gone_is_waited_for() -> None:
    empty = holding.but(server=ABSENT)

    assert rule(resumed(empty)) == "lost-data"
    awaited = decide(empty)
    assert (awaited.rule, awaited.actions) == ("data-awaited", ())
    assert "failoverctl resume" in awaited.because


def test_a_switchover_that_a_person_orders_goes() -> None:
    ordered = holding.but(order=a.SwitchoverOrder(1, "db1"))

    assert decide(ordered).actions == (a.SwitchOver(a.SwitchoverOrder(1, "db1")),)


# What goes on, and what keeps its whole strength


def test_who_follows_a_primary_goes_on_following_it() -> None:
    paused = following.but(lease=replace(JUST_SEEN, item=PAUSED))
    diverged = Server(STOPPED.state, "s1", 3, 500)

    for server in (STANDBY, STOPPED, ABSENT, diverged):
        assert rule(paused.but(server=server)) == rule(resumed(paused.but(server=server)))


def test_a_holder_whose_lease_ends_is_fenced() -> None:
    assert holding.mine is not None
    assert rule(holding) == "serve"
    assert rule(holding.but(now=holding.mine.valid_until)) == "fence"
    assert rule(missing.but(server=PRIMARY)) == "fence"


def test_every_node_tells_since_when_it_is_paused() -> None:
    for seen in (missing, holding):
        [problem] = [p for p in problems(seen, "c") if isinstance(p, FailoverPaused)]
        assert SINCE in problem.value
        assert "failoverctl resume" in problem.hint
        assert not [p for p in problems(resumed(seen), "c") if isinstance(p, FailoverPaused)]


# Resuming where nobody holds the lease


def test_any_node_may_resume_once_the_lease_has_ended_and_not_before() -> None:
    promised = Given(Promise("c", 7, Holder("db1", "i-1", "n1"), 0, 6.0), NOW + 1)

    assert why_not_resume_here(missing) == ""
    assert "db1" in why_not_resume_here(missing.but(lease=replace(JUST_SEEN, item=PAUSED)))
    assert "promises of db2" in why_not_resume_here(missing.but(promised=promised))
    assert why_not_resume_here(missing.but(lease=Unknown("no answer"))) == "no answer"
    assert why_not_resume_here(missing.but(lease=None))
