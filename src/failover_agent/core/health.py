"""How well a node is, as it tells the others: what its probes show, and how its renewals go. Values only."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """From when on a silence counts. `core.liveness` holds the relations to the timings (L5)."""

    stuck_after_s: float = 10.0
    storage_hung_after_s: float = 8.0
    ballast_bytes: int = 0  # a file that is given up when the volume is full; 0: none is kept


@dataclass(frozen=True, slots=True)
class Renewals:
    """How close the renewals of the lease came to its end, since this agent began.

    The share is of the time the right lasts (ttl - margin), used up when the renewal landed: a calm
    cluster stays near beat / (ttl - margin).
    """

    count: int = 0
    near_misses: int = 0  # landed with less than a quarter of the right left
    used_sum: float = 0.0
    used_most: float = 0.0
    used_last: float = 0.0
    buckets: tuple[int, ...] = ()  # cumulative, by `near_miss.BOUNDS`


@dataclass(frozen=True, slots=True)
class Health:
    """Seconds are durations, counted only while this agent itself ran."""

    unwatched_s: float = 0.0  # since the probes last ran
    no_session_s: float = 0.0  # primary: no fresh session was answered
    no_commit_s: float = 0.0  # primary: no commit of a client was seen
    no_flush_s: float = 0.0  # primary: its WAL position on disk did not move
    fsync_waits_s: float = 0.0  # a small write to the volume has not come back
    fsync_where: str = ""  # which one: data, WAL
    hung: bool = False  # that write takes so long that the storage counts as hung
    full: bool = False  # no room; stays so until the ballast stands again
    free_bytes: int = -1  # -1: not measured
    ballast: bool = False  # the ballast stands
    renewals: Renewals = Renewals()
    alarms: tuple[str, ...] = ()  # names, see `liveness.alarms`


WELL = Health()
BALANCED = Limits()
