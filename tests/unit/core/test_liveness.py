"""What silence means: only of both kinds, only while somebody asked, and never by load alone (N4)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from failover_agent.core.health import Limits, Renewals
from failover_agent.core.liveness import (
    FULL_BYTES,
    LIMITS,
    ROOM_BYTES,
    STEP_S,
    Pulse,
    Readings,
    Volume,
    alarms,
    beat,
    complaints,
    free_ballast,
    has_room,
    is_full,
    is_stuck,
    judge,
    make_ballast,
    stuck_s,
    watched,
)
from failover_agent.core.model import Server, ServerState, Unknown
from failover_agent.core.near_miss import BOUNDS, add, share_used
from failover_agent.core.timings import PROFILES

PRIMARY = Server(ServerState.PRIMARY, received_lsn=1000)
STANDBY = Server(ServerState.STANDBY, received_lsn=1000)
SILENT = Unknown("no answer")
L = Limits(stuck_after_s=10, storage_hung_after_s=10, ballast_bytes=4 * FULL_BYTES)
ASKING = Readings(sessions=7, asking=True, unanswered=2, commits=100)

Read = Callable[[int], Readings]


def after(
    read: Read, seconds: int = 20, server: Callable[[int], Server | Unknown] = lambda _: PRIMARY
) -> Pulse:
    """The pulse after looking once per second at what `read` shows in that second."""
    pulse = beat(None, replace(read(0), at=0.0), server(0), True, 0.0)
    for second in range(1, seconds + 1):
        shown = replace(read(second), at=float(second), watched_s=float(second))
        pulse = beat(pulse, shown, server(second), True, float(second))
    return pulse


def stuck(pulse: Pulse) -> bool:
    return is_stuck(judge(pulse, L, Renewals()), L)


def test_silence_of_both_kinds_for_the_limit_is_stuck_and_an_instant_less_is_not() -> None:
    assert stuck(after(lambda _: ASKING, 10))
    assert not stuck(after(lambda _: ASKING, 9))


def test_commits_that_go_on_are_life_whatever_the_sessions_do() -> None:
    """Also 200 clients on two cores, where no fresh session gets in for half a minute."""
    assert not stuck(after(lambda t: replace(ASKING, commits=100 + 3 * t), 60))


def test_a_fresh_session_is_life_however_late_it_comes_in() -> None:
    assert not stuck(after(lambda t: replace(ASKING, sessions=7 + t // 9), 60))
    assert stuck(after(lambda t: replace(ASKING, sessions=7 + t // 11), 10))


def test_what_our_own_probes_may_have_committed_is_no_life() -> None:
    own = after(lambda t: replace(ASKING, commits=100 + (2 if t > 5 else 0)), 10)
    clients = after(lambda t: replace(ASKING, commits=100 + (3 if t > 5 else 0)), 10)

    assert stuck(own)
    assert not stuck(clients)


def test_slow_commits_add_up_to_life() -> None:
    assert not stuck(after(lambda t: replace(ASKING, commits=100 + t // 2), 60))


def test_statistics_that_were_reset_are_a_sign_of_life() -> None:
    assert not stuck(after(lambda t: replace(ASKING, commits=100 if t < 5 else 0), 10))


def test_a_counter_that_cannot_be_read_is_no_sign_of_life_and_no_sign_of_death() -> None:
    unread = replace(ASKING, commits=None)

    assert stuck(after(lambda _: unread, 10))
    assert not stuck(after(lambda t: replace(unread, sessions=7 + t), 60))


def test_silence_grows_only_while_somebody_asked() -> None:
    """A host that has no process left for a probe says nothing about PostgreSQL."""
    assert not stuck(after(lambda _: replace(ASKING, asking=False), 60))


def test_a_process_that_stood_still_has_not_watched() -> None:
    assert watched(3.0, last=10.0, now=10.0 + STEP_S) == 3.0 + STEP_S
    assert watched(3.0, last=10.0, now=510.0) == 3.0 + STEP_S
    assert watched(3.0, last=10.0, now=9.0) == 3.0


def test_a_decision_round_that_took_long_saw_all_that_the_probes_saw() -> None:
    begun = beat(None, replace(ASKING, at=0.0), PRIMARY, True, 0.0)
    late = beat(begun, replace(ASKING, at=11.0, watched_s=11.0), PRIMARY, True, 11.0)

    assert stuck(late)


def test_probes_that_died_are_told_of_and_not_believed() -> None:
    pulse = beat(None, replace(ASKING, at=0.0), PRIMARY, True, 0.0)
    for second in range(1, 61):
        ran = min(5.0, second)
        pulse = beat(pulse, replace(ASKING, at=ran, watched_s=ran), PRIMARY, True, float(second))
    health = judge(pulse, L, Renewals())

    assert stuck_s(health) == 5
    assert "probes-silent" in alarms(health, L)
    unprobed = beat(beat(None, Readings(), PRIMARY, True, 0.0), Readings(), PRIMARY, True, 99.0)
    assert alarms(judge(unprobed, L, Renewals()), L) == {}


def test_a_standby_is_never_stuck_and_begins_anew_when_it_becomes_primary() -> None:
    turns = after(lambda _: ASKING, 20, lambda t: STANDBY if t < 15 else PRIMARY)

    assert not stuck(after(lambda _: ASKING, 60, lambda _: STANDBY))
    assert stuck_s(judge(turns, L, Renewals())) == 6


def test_a_silent_primary_is_watched_on() -> None:
    assert stuck(after(lambda _: ASKING, 10, lambda t: PRIMARY if t < 2 else SILENT))


def volume(waits: bool, fsyncs: int = 3, has_wal: bool = True) -> Readings:
    return Readings(volumes=(Volume("data", has_wal, fsyncs, waits),))


def hung(pulse: Pulse) -> bool:
    return judge(pulse, L, Renewals()).hung


def test_a_write_that_does_not_come_back_is_a_hung_volume() -> None:
    assert hung(after(lambda _: volume(waits=True), 10))
    assert not hung(after(lambda _: volume(waits=True), 9))
    assert not hung(after(lambda _: volume(waits=False), 60))
    assert not hung(after(lambda t: volume(waits=True, fsyncs=t // 9), 60)), "slow, and it comes back"
    assert hung(after(lambda _: volume(waits=True), 10, lambda _: STANDBY)), "a standby's, too"


def test_wal_that_reaches_the_volume_proves_that_it_works() -> None:
    def moves(second: int) -> Server:
        return replace(PRIMARY, received_lsn=1000 + second)

    assert not hung(after(lambda _: volume(waits=True), 60, moves))
    assert hung(after(lambda _: volume(waits=True, has_wal=False), 60, moves)), "the WAL lies elsewhere"
    assert hung(after(lambda _: volume(waits=True), 20, lambda t: moves(min(t, 10))))
    assert not hung(after(lambda _: volume(waits=True), 19, lambda t: moves(min(t, 10))))


def test_one_hung_volume_of_two_is_named() -> None:
    def read(_: int) -> Readings:
        return Readings(volumes=(Volume("data", False, 1, False), Volume("WAL", True, 1, True)))

    health = judge(after(read, 10), L, Renewals())

    assert (health.hung, health.fsync_where, health.fsync_waits_s) == (True, "WAL", 10)


def test_people_hear_of_it_at_half_the_limit() -> None:
    def names(read: Read, seconds: int) -> set[str]:
        return set(alarms(judge(after(read, seconds), L, Renewals()), L))

    assert names(lambda _: ASKING, 4) == set()
    assert names(lambda _: ASKING, 5) == {"no-progress"}
    assert names(lambda t: replace(ASKING, commits=100 + 9 * t), 5) == {"no-new-sessions"}
    assert names(lambda _: volume(waits=True), 5) == {"storage-slow"}
    assert names(lambda _: volume(waits=True), 10) == {"storage-hung"}
    assert names(lambda _: Readings(full=True), 1) == {"disk-full"}


def test_a_volume_is_full_until_there_is_room_for_the_ballast_again() -> None:
    room = L.ballast_bytes + 2 * FULL_BYTES

    assert not is_full(False, FULL_BYTES, True, L)
    assert is_full(False, FULL_BYTES - 1, True, L)
    assert is_full(True, room - 1, False, L)
    assert not is_full(True, room, False, L)
    assert is_full(True, -1, True, L), "not measured changes nothing"
    assert not is_full(True, FULL_BYTES, True, L), "the ballast stands again"


def test_the_ballast_is_given_up_in_need_and_made_when_there_is_plenty() -> None:
    room = L.ballast_bytes + 2 * FULL_BYTES

    assert free_ballast(FULL_BYTES - 1, ballast_stands=True)
    assert not free_ballast(FULL_BYTES, ballast_stands=True)
    assert not free_ballast(-1, ballast_stands=True)
    assert make_ballast(room, ballast_stands=False, limits=L)
    assert not make_ballast(room - 1, ballast_stands=False, limits=L)
    assert not make_ballast(room, ballast_stands=True, limits=L)
    assert not make_ballast(room, ballast_stands=False, limits=replace(L, ballast_bytes=0))


def test_room_must_have_been_measured() -> None:
    def health(free: int, full: bool = False) -> bool:
        pulse = beat(None, Readings(free_bytes=free, full=full), STANDBY, False, 0.0)
        return has_room(judge(pulse, L, Renewals()), L)

    assert health(ROOM_BYTES + L.ballast_bytes)
    assert not health(ROOM_BYTES + L.ballast_bytes - 1)
    assert not health(-1)
    assert not health(1 << 40, full=True)


@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_every_profile_keeps_the_relations(profile: str) -> None:
    assert complaints(LIMITS[profile], PROFILES[profile]) == []


def test_a_limit_below_two_probes_is_named() -> None:
    [stuck_after] = complaints(replace(L, stuck_after_s=6.4), PROFILES["balanced"])
    [hung_after] = complaints(replace(L, storage_hung_after_s=4.4), PROFILES["balanced"])

    assert stuck_after.startswith("stuck_after_s 6.4 is below 6.5")
    assert hung_after.startswith("storage_hung_after_s 4.4 is below 4.5")


def test_renewals_are_counted_by_how_much_of_the_lease_was_used_up() -> None:
    calm = add(Renewals(), share_used(landed=1.0, was_valid_until=5.0, right_s=5.0))
    close = add(calm, share_used(landed=9.9, was_valid_until=10.0, right_s=5.0))

    assert calm.near_misses == 0
    assert (close.count, close.near_misses) == (2, 1)
    assert close.used_most == pytest.approx(0.98)
    assert close.buckets == tuple(sum(used <= bound for used in (0.2, 0.98)) for bound in BOUNDS)
    assert share_used(landed=11, was_valid_until=10, right_s=5) == 1
