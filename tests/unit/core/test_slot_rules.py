"""A standby streams by its slot where there is one, and without where it would stop it; WAL that is gone."""

from __future__ import annotations

from dataclasses import replace

from tests.unit.core.test_rules import DB1, JUST_SEEN, NOW, PRIMARY, STANDBY, following, report

from failover_agent.core import snapshot as a
from failover_agent.core.model import Heard
from failover_agent.core.rules import decide
from failover_agent.core.slot_facts import SLOT_DOUBT_S, SLOT_TAKEN_S, WAL_GONE_S
from failover_agent.core.slots import Kept, Slot

MINE = Slot("primacy_db2", 450)


def keeps(*slots: Slot, oldest_wal: int) -> tuple[Heard, ...]:
    """db1 serves and tells this of its WAL."""
    told = report(DB1, PRIMARY, holds=True)
    return (replace(told, report=replace(told.report, kept=Kept(slots, oldest_wal))),)


DB1_KEEPS = keeps(MINE, oldest_wal=501)  # and not the byte that db2, at 500, needs next
BY_SLOT = replace(STANDBY, slot="primacy_db2", streaming=False)
away = following.but(server=replace(STANDBY, streaming=False), unstreamed_s=WAL_GONE_S, unmoved_s=WAL_GONE_S)


def test_a_standby_streams_by_its_slot_as_soon_as_the_primary_says_that_it_has_it() -> None:
    without = following.but(heard=keeps(oldest_wal=400))
    older_agent = following.but(heard=keeps(oldest_wal=0))
    there = following.but(heard=keeps(MINE, oldest_wal=400))
    lost = following.but(heard=keeps(replace(MINE, lost=True), oldest_wal=400))
    taken = following.but(heard=keeps(replace(MINE, active=True), oldest_wal=400))

    assert decide(there).rule == "use-slot"
    assert decide(there).actions == (a.Follow("db1", "primacy_db2"),)
    for other in (without, older_agent, lost, taken):
        assert decide(other).rule == "following"


def test_a_standby_that_streams_by_its_slot_is_left_alone_whatever_the_report_says() -> None:
    by_slot = following.but(server=replace(BY_SLOT, streaming=True))

    for heard in (keeps(MINE, oldest_wal=400), keeps(oldest_wal=400), keeps(oldest_wal=0)):
        assert decide(by_slot.but(heard=heard, unstreamed_s=0.0)).rule == "following"


def test_a_slot_never_stops_streaming_for_long() -> None:
    """Missing at the upstream or lost: on without it. Held by a walsender that has not noticed: soon."""
    stopped = following.but(server=BY_SLOT, heard=keeps(MINE, oldest_wal=400))

    assert decide(stopped.but(unstreamed_s=SLOT_DOUBT_S - 0.1)).rule == "connecting"
    assert decide(stopped.but(unstreamed_s=SLOT_DOUBT_S)).actions == (a.Follow("db1", ""),)
    taken = stopped.but(heard=keeps(replace(MINE, active=True), oldest_wal=400))
    assert decide(taken.but(unstreamed_s=SLOT_TAKEN_S - 0.1)).rule == "connecting"
    assert decide(taken.but(unstreamed_s=SLOT_TAKEN_S)).rule == "without-slot"


def test_a_new_primary_is_followed_without_a_slot_first() -> None:
    elsewhere = following.but(server=replace(STANDBY, upstream="db3", slot="primacy_db2"))

    assert decide(elsewhere.but(heard=keeps(MINE, oldest_wal=400))).actions == (a.Follow("db1", ""),)


def test_a_standby_whose_wal_is_gone_is_cloned_and_one_that_can_still_be_served_is_not() -> None:
    gone = away.but(heard=keeps(oldest_wal=501))
    last_byte = away.but(heard=keeps(oldest_wal=500))
    older_agent = away.but(heard=keeps(oldest_wal=0))

    assert decide(gone).rule == "clone-wal-gone"
    assert decide(gone).actions == (a.Clone("db1", over_existing=True),)
    assert decide(last_byte).rule == decide(older_agent).rule == "connecting"


def test_nobody_is_cloned_while_recovery_gets_wal_from_anywhere() -> None:
    gone = away.but(heard=keeps(oldest_wal=501))

    assert decide(gone.but(unmoved_s=WAL_GONE_S - 0.1)).rule == "connecting"
    assert decide(gone.but(server=STANDBY)).rule == "following"


def test_a_standby_that_does_not_know_its_own_position_is_not_cloned() -> None:
    unread = replace(STANDBY, streaming=False, received_lsn=0)

    assert decide(away.but(server=unread, heard=keeps(oldest_wal=501))).rule != "clone-wal-gone"


def test_nobody_is_cloned_from_a_primary_that_does_not_serve_by_the_lease() -> None:
    not_named = JUST_SEEN.item.but(holder=None)
    gone = away.but(heard=keeps(oldest_wal=501))

    assert decide(gone.but(lease=replace(JUST_SEEN, item=not_named))).rule != "clone-wal-gone"
    assert decide(gone.but(now=NOW + 100, heard=keeps(oldest_wal=501))).rule != "clone-wal-gone"
