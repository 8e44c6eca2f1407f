"""N4 as promises of the rule table: stuck, hung storage, full disk; each pair differs in what decides."""

from __future__ import annotations

from dataclasses import replace

from tests.unit.core.test_rules import (
    DB1,
    DB1_SERVES,
    EXPIRED,
    NOW,
    PRIMARY,
    SILENT,
    STANDBY,
    STOPPED,
    following,
    report,
    serving,
)

from failover_agent.core import snapshot as a
from failover_agent.core.health import Health, Limits
from failover_agent.core.liveness import IDLE_BYTES, ROOM_BYTES
from failover_agent.core.model import Heard, Server, ServerState
from failover_agent.core.rules import decide
from failover_agent.core.snapshot import Mine

LIMITS = Limits(stuck_after_s=10, storage_hung_after_s=10, ballast_bytes=1 << 28)
HEIR = Server(ServerState.STANDBY, "s1", 1, 500, 500, streaming=True, upstream="db2", standby_signal=True)
ROOMY = Health(free_bytes=ROOM_BYTES + LIMITS.ballast_bytes)
STUCK = Health(no_session_s=10, no_commit_s=10)
HUNG = Health(hung=True, fsync_where="data", fsync_waits_s=10)
FULL = Health(full=True, free_bytes=0)


def heir(server: Server = HEIR, health: Health = ROOMY) -> tuple[Heard, ...]:
    heard = report(DB1, server)
    return (replace(heard, report=replace(heard.report, health=health)),)


HEIR_STANDS_BY = heir()
primary = serving.but(limits=LIMITS, heard=HEIR_STANDS_BY)


def test_a_primary_that_neither_commits_nor_takes_sessions_leaves() -> None:
    assert decide(primary.but(health=STUCK)).actions == (a.RecoverPrimary(),)
    assert decide(primary.but(health=STUCK)).rule == "stuck"


def test_one_sign_of_life_is_enough_to_stay() -> None:
    assert decide(primary.but(health=replace(STUCK, no_commit_s=9.9))).rule == "serve"
    assert decide(primary.but(health=replace(STUCK, no_session_s=9.9))).rule == "serve"


def test_a_primary_that_answers_nothing_at_all_leaves_when_it_was_one() -> None:
    frozen = primary.but(server=SILENT, server_before=PRIMARY)

    assert decide(frozen).rule == "hold-lease"
    assert decide(frozen.but(health=STUCK)).rule == "stuck"
    assert decide(frozen.but(health=STUCK, server_before=STANDBY)).rule == "hold-lease"


def test_a_stuck_primary_stays_while_no_standby_is_idle_and_answers() -> None:
    stuck = primary.but(health=STUCK)
    busy = replace(HEIR, received_lsn=10 * IDLE_BYTES, replayed_lsn=9 * IDLE_BYTES - 1)
    idle = replace(busy, replayed_lsn=9 * IDLE_BYTES)
    assert decide(stuck.but(heard=heir(busy))).rule == "serve"
    assert decide(stuck.but(heard=heir(idle))).rule == "stuck"
    assert decide(stuck.but(heard=())).rule == "serve"
    assert decide(stuck.but(heard=heir(replace(HEIR, upstream="db3")))).rule == "serve"
    assert decide(stuck.but(heard=heir(health=HUNG))).rule == "serve"
    late = stuck.but(now=NOW + stuck.timings.suspect_after_s + 1, mine=Mine(stuck.mine.item, NOW + 99, True))  # type: ignore[union-attr]
    assert decide(late).rule == "serve", "what it said is too old"


def test_only_who_was_primary_in_this_epoch_can_be_stuck() -> None:
    assert primary.mine is not None
    new = primary.but(health=STUCK, mine=replace(primary.mine, was_primary=False))

    assert decide(new).rule == "serve"


def test_a_primary_whose_storage_hangs_leaves_even_over_a_job() -> None:
    hung = primary.but(health=HUNG)

    assert decide(hung).actions == (a.LeaveHungStorage(),)
    assert decide(hung.but(job="start")).rule == "leave-hung-storage"
    assert decide(hung.but(server=STOPPED)).rule == "leave-hung-storage"
    assert decide(hung.but(server=STANDBY)).rule == "leave-hung-storage", "it cannot promote either"


def test_where_nobody_could_go_on_a_hung_primary_waits_with_its_lease() -> None:
    assert decide(primary.but(health=HUNG, heard=())).rule == "serve"
    assert decide(primary.but(health=HUNG, heard=heir(health=HUNG))).rule == "serve"


def test_a_node_whose_storage_hangs_touches_nothing_and_claims_nothing() -> None:
    free = following.but(lease=EXPIRED, heard=(), now=NOW + 1)
    stopped = following.but(server=STOPPED, heard=DB1_SERVES)

    assert decide(free).rule == "claim"
    assert decide(free.but(health=HUNG)).rule == "storage-hung"
    assert decide(stopped).rule == "return"
    assert decide(stopped.but(health=HUNG)).rule == "storage-hung"


def test_a_primary_without_a_lease_is_fenced_on_a_hung_disk_too() -> None:
    assert decide(primary.but(health=HUNG, mine=None)).rule == "fence"


def test_a_full_primary_leaves_only_to_a_standby_that_has_room() -> None:
    full = primary.but(health=FULL)
    tight = replace(ROOMY, free_bytes=ROOMY.free_bytes - 1)

    assert decide(full).actions == (a.LeaveFullDisk(),)
    assert decide(full.but(heard=heir(health=tight))).rule == "serve"
    assert decide(full.but(heard=heir(health=replace(ROOMY, full=True)))).rule == "serve"
    assert decide(full.but(heard=heir(replace(HEIR, streaming=False)))).rule == "serve"
    assert decide(full.but(heard=heir(health=Health()))).rule == "serve", "an older agent measures nothing"
    assert decide(full.but(resting=True)).rule == "serve", "it was tried a moment ago"


def test_a_candidate_whose_storage_hangs_is_named_with_its_reason() -> None:
    others = following.but(others=(DB1,), lease=EXPIRED, health=HUNG, heard=heir())

    assert decide(others).rule == "storage-hung"
    other_hangs = following.but(lease=EXPIRED, now=NOW + 1, heard=heir(health=HUNG))
    assert decide(other_hangs.but(server=replace(STANDBY, received_lsn=400))).rule == "claim"


def test_among_equals_the_one_with_room_claims() -> None:
    both_free = following.but(lease=EXPIRED, now=NOW + 1)

    assert decide(both_free.but(heard=heir())).rule == "not-me", "the name decides last"
    assert decide(both_free.but(heard=heir(health=replace(ROOMY, full=True)))).rule == "claim"
