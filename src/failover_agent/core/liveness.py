"""Alive means progress (N4): what the probes' silence means, of PostgreSQL and of its volumes.

The intuition that fails first is "slow is dead": a look that takes seconds on a loaded host says nothing.
So only silence of *both* kinds counts for PostgreSQL, clients' commits and fresh sessions, and however
late one of them shows itself, it counts. For a volume a small synced write that does not come back
counts, unless WAL goes on reaching that very volume.

Invariants: a silence grows only while somebody was asked (a probe that could not be started says
nothing), and only by the time in which the probes themselves ran: who stood still, or died, has not
watched meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass

from failover_agent.core.health import Health, Limits, Renewals
from failover_agent.core.model import Server, ServerState, Timings, Unknown

PROBE_EVERY_S = 2.0  # a fresh session is tried
FSYNC_EVERY_S = 1.0  # a small write is synced
STEP_S = 1.0  # most that two rounds of the probes may be apart and still count as watching all the while
PROBES_SILENT_S = 10.0
ALARM_AT = 0.5  # of a limit: people hear of it before anything is done
IDLE_BYTES = 64 << 10  # received and not replayed yet: what the background writes at any moment
FULL_BYTES = 32 << 20  # two WAL segments: with less PostgreSQL is about to stop by itself
ROOM_BYTES = 4 * FULL_BYTES  # on top of the ballast: worth handing over for

LIMITS = {
    "fast": Limits(8, 6),
    "balanced": Limits(10, 8),
    "patient": Limits(30, 30),
}


@dataclass(frozen=True, slots=True)
class Volume:
    """The probe of one volume, so far."""

    where: str  # data, WAL
    has_wal: bool
    fsyncs: int = 0  # that came back
    waits: bool = False  # one is out


@dataclass(frozen=True, slots=True)
class Readings:
    """What the probes have shown so far; counters only grow while the same probes run."""

    at: float | None = None  # when their last round began; None: nothing is probed here
    watched_s: float = 0.0  # for how long they have run, by `watched`
    sessions: int = 0  # fresh sessions that were answered
    asking: bool = False  # one is being tried, or the last was refused
    unanswered: int = 0  # tried and neither answered nor refused: they may have caused a commit each
    commits: int | None = None  # of everybody, newest reading
    volumes: tuple[Volume, ...] = ()
    free_bytes: int = -1  # on the data volume, for others than root; -1: not known
    ballast: bool = False
    full: bool = False


@dataclass(frozen=True, slots=True)
class Pulse:
    """Silences as they have grown up to `at`, on the decision round's clock."""

    at: float
    readings: Readings
    commits: int | None = None  # at the last progress
    flushed: int = 0
    no_session_s: float = 0.0
    no_commit_s: float = 0.0
    no_flush_s: float = 0.0
    fsync_waits_s: tuple[float, ...] = ()


def beat(
    before: Pulse | None, now_read: Readings, server: Server | Unknown, was_primary: bool, now: float
) -> Pulse:
    """The pulse one round later. `was_primary`: the last look that was answered found a primary."""
    if before is None:
        waits = (0.0,) * len(now_read.volumes)
        return Pulse(now, now_read, now_read.commits, _flushed(server), fsync_waits_s=waits)
    dt = max(0.0, now_read.watched_s - before.readings.watched_s)
    waits = _waits(before, now_read, dt)
    is_primary = server.state is ServerState.PRIMARY if isinstance(server, Server) else was_primary
    if not is_primary:
        return Pulse(now, now_read, now_read.commits, _flushed(server), fsync_waits_s=waits)
    moved = _clients_commit(before, now_read)
    answered = now_read.sessions != before.readings.sessions
    flushed = _flushed(server) or before.flushed
    return Pulse(
        at=now,
        readings=now_read,
        commits=now_read.commits if moved or answered or before.commits is None else before.commits,
        flushed=flushed,
        no_session_s=0.0 if answered else before.no_session_s + (dt if now_read.asking else 0.0),
        no_commit_s=0.0 if moved else before.no_commit_s + dt,
        no_flush_s=0.0 if flushed != before.flushed else before.no_flush_s + dt,
        fsync_waits_s=waits,
    )


def watched(so_far_s: float, last: float, now: float) -> float:
    """For how long probes have run whose last two rounds began at `last` and `now`."""
    return so_far_s + min(max(0.0, now - last), STEP_S)


def _flushed(server: Server | Unknown) -> int:
    return server.received_lsn if isinstance(server, Server) and server.state is ServerState.PRIMARY else 0


def _waits(before: Pulse, now_read: Readings, dt: float) -> tuple[float, ...]:
    old = {v.where: (v.fsyncs, s) for v, s in zip(before.readings.volumes, before.fsync_waits_s, strict=True)}
    return tuple(
        old[v.where][1] + dt if v.waits and v.where in old and old[v.where][0] == v.fsyncs else 0.0
        for v in now_read.volumes
    )


def _clients_commit(before: Pulse, now_read: Readings) -> bool:
    """More commits since the last progress than our own unanswered probes can have caused."""
    if now_read.commits is None or before.commits is None:
        return False
    since = now_read.commits - before.commits
    return since < 0 or since > now_read.unanswered  # below zero: the statistics were reset by somebody


def judge(pulse: Pulse, limits: Limits, renewals: Renewals) -> Health:
    """What the pulse means."""
    waits, volume = max(
        zip(pulse.fsync_waits_s, pulse.readings.volumes, strict=True),
        key=lambda pair: pair[0],
        default=(0.0, None),
    )
    last = pulse.readings.at
    return Health(
        unwatched_s=max(0.0, pulse.at - last) if last is not None else 0.0,
        no_session_s=pulse.no_session_s,
        no_commit_s=pulse.no_commit_s,
        no_flush_s=pulse.no_flush_s,
        fsync_waits_s=waits,
        fsync_where=volume.where if volume and waits else "",
        hung=any(
            _hangs(v, s, pulse, limits)
            for v, s in zip(pulse.readings.volumes, pulse.fsync_waits_s, strict=True)
        ),
        full=pulse.readings.full,
        free_bytes=pulse.readings.free_bytes,
        ballast=pulse.readings.ballast,
        renewals=renewals,
    )


def _hangs(volume: Volume, waits_s: float, pulse: Pulse, limits: Limits) -> bool:
    """WAL that goes on reaching the volume proves that it works, however slow; only a primary shows it."""
    if waits_s < limits.storage_hung_after_s:
        return False
    return not (volume.has_wal and pulse.flushed and pulse.no_flush_s < limits.storage_hung_after_s)


def stuck_s(health: Health) -> float:
    """For how long PostgreSQL has shown neither a client's commit nor a fresh session (N4)."""
    return min(health.no_session_s, health.no_commit_s)


def is_stuck(health: Health, limits: Limits) -> bool:
    return stuck_s(health) >= limits.stuck_after_s


ALARMS = ("probes-silent", "no-progress", "no-new-sessions", "storage-hung", "storage-slow", "disk-full")


def alarms(health: Health, limits: Limits) -> dict[str, str]:
    """Name, of ALARMS, and sentence of everything that people should know of."""
    found: dict[str, str] = {}
    if health.unwatched_s >= PROBES_SILENT_S:
        found["probes-silent"] = "the probes of this node do not run; what they last showed is not believed"
    if stuck_s(health) >= ALARM_AT * limits.stuck_after_s:
        found["no-progress"] = "PostgreSQL shows neither a commit of a client nor a fresh session"
    elif health.no_session_s >= ALARM_AT * limits.stuck_after_s:
        found["no-new-sessions"] = "PostgreSQL takes no new session; those that are open still commit"
    if health.hung:
        found["storage-hung"] = f"a small write to the {health.fsync_where} volume does not come back"
    elif health.fsync_waits_s >= ALARM_AT * limits.storage_hung_after_s:
        found["storage-slow"] = f"a small write to the {health.fsync_where} volume takes seconds"
    if health.full:
        found["disk-full"] = "the data volume has no room; the ballast is given up until there is room again"
    return found


def is_full(was_full: bool, free_bytes: int, ballast_stands: bool, limits: Limits) -> bool:
    """Full from the limit on, and until there is room for the ballast again and some to spare."""
    if free_bytes < 0:
        return was_full
    if free_bytes < FULL_BYTES:
        return True
    return was_full and not ballast_stands and not _room_for_ballast(free_bytes, limits)


def _room_for_ballast(free_bytes: int, limits: Limits) -> bool:
    return free_bytes >= limits.ballast_bytes + 2 * FULL_BYTES


def make_ballast(free_bytes: int, ballast_stands: bool, limits: Limits) -> bool:
    return limits.ballast_bytes > 0 and not ballast_stands and _room_for_ballast(free_bytes, limits)


def free_ballast(free_bytes: int, ballast_stands: bool) -> bool:
    return ballast_stands and 0 <= free_bytes < FULL_BYTES


def has_room(health: Health, limits: Limits) -> bool:
    """Whether a node's volume can take what this one's cannot. Not measured is no room."""
    return not health.full and not health.hung and health.free_bytes >= ROOM_BYTES + limits.ballast_bytes


def complaints(limits: Limits, timings: Timings) -> list[str]:
    """Every relation that `limits` breaks, with the sum; empty when all hold (L5)."""
    found = []
    for name, value, every in (
        ("stuck_after_s", limits.stuck_after_s, PROBE_EVERY_S),
        ("storage_hung_after_s", limits.storage_hung_after_s, FSYNC_EVERY_S),
    ):
        least = 2 * every + timings.suspect_after_s
        if value < least:
            found.append(
                f"{name} {value:g} is below {least:g} = 2 x {every:g} between two probes"
                f" + suspect_after_s {timings.suspect_after_s:g}"
            )
    return found
