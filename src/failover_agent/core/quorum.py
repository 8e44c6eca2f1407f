"""Who must hold a commit before it is acknowledged, and in which order that may change (PROTOCOL S1, S3, S4).

Two places speak of it. The lease item says (S, k): *any |S| - k + 1 members of S together hold every
acknowledged commit*, and a claim needs that many seals. PostgreSQL says `ANY q (T)`: a commit is
acknowledged when q members of T have flushed it. They cannot change in one instant, so between any two
steps this must hold:

    Invariant: k <= q - |T - S|, or k = 0.

Why: of the q members that let a commit go, at most |T - S| lie outside S, so at least k lie in S; then at
most |S| - k members of S lack the commit, and any |S| - k + 1 include one that has it. With k = 0 the item
promises nothing, and nobody but the last holder may claim (S2), who has everything.

Commits acknowledged before a change are covered in one of two ways: the item grew laxer, S kept all its
members and k did not rise (what k members of S held is still held by k); or the item grew stricter, and k
members of the new S have flushed a *barrier*, an LSN taken after PostgreSQL was seen to obey the new rule.

The plan has no memory: from what the item and PostgreSQL show, one next step. So a coordinator that dies
between any two steps is continued by its next life, and no interrupted prefix breaks the invariant
(tests/unit/core/test_quorum_plan.py replays them all; tests/model adds crashes and late writes).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from failover_agent.core.model import SyncSet, Unknown


@dataclass(frozen=True, slots=True)
class Waits:
    """What PostgreSQL waits for at a commit: any `k` of `members` (sorted); with none, for nobody."""

    members: tuple[str, ...] = ()
    k: int = 0


NOBODY = Waits()


def waits(members: Iterable[str], k: int) -> Waits:
    """In the one form that compares equal; raises ValueError on what PostgreSQL could never fulfil."""
    names = tuple(sorted(set(members)))
    if not 0 <= k <= len(names) or (k == 0 and names):
        raise ValueError(f"any {k} of {len(names)} members ({', '.join(names)}) cannot be waited for")
    return Waits(names, k)


def of_item(sync: SyncSet) -> Waits:
    """What PostgreSQL has to wait for where it agrees with the item."""
    return waits(sync.members, sync.k)


def seals_needed(sync: SyncSet) -> int:
    """How many members of S must be sealed for a claim (S1). Asked only where k > 0."""
    if sync.k < 1:
        raise ValueError("an item that promises nothing cannot be claimed by seals")
    return len(sync.members) - sync.k + 1


def acknowledgers_inside(wait: Waits, members: Iterable[str]) -> int:
    """How many of those that let a commit go lie in `members`, at the least."""
    return wait.k - len(set(wait.members) - set(members))


def permits(sync: SyncSet, wait: Waits) -> bool:
    """Whether PostgreSQL may wait for `wait` while the item says `sync`: the invariant."""
    return sync.k == 0 or sync.k <= acknowledgers_inside(wait, sync.members)


def complaint(sync: SyncSet, wait: Waits) -> str:
    """Empty while the invariant holds, else the sentence that says how it is broken."""
    if permits(sync, wait):
        return ""
    inside = max(0, acknowledgers_inside(wait, sync.members))
    return (
        f"PostgreSQL waits for {show(wait)}, which leaves {inside} acknowledgement(s) for sure inside"
        f" {', '.join(sync.members)}; version {sync.version} of the lease counts on {sync.k}"
    )


def at_start(written: Waits | Unknown, counted_on: Iterable[SyncSet]) -> Waits | None:
    """Whom a primary waits for from its first commit on, started in place where agent.conf says `written`.

    `counted_on`: what the lease item says, or may say where a write of it is unsettled. What is written stays
    where all of it permits that; else the item's own word. None: they contradict each other.
    """
    versions = tuple(counted_on)
    candidates = [*([written] if isinstance(written, Waits) else []), *map(of_item, versions), NOBODY]
    return next((w for w in candidates if all(permits(sync, w) for sync in versions)), None)


def show(wait: Waits) -> str:
    return f"any {wait.k} of {', '.join(wait.members)}" if wait.k else "nobody"


def laxer(sync: SyncSet, now: Waits, wanted: Waits) -> SyncSet:
    """The item that lets PostgreSQL go from `now` to `wanted`, and that no earlier commit contradicts.

    It keeps every member of S and does not raise k: what was held by k members of S still is.
    """
    k = min(sync.k, now.k, wanted.k)
    if k == 0:
        return SyncSet(version=sync.version + 1)
    members = {*sync.members, *now.members, *wanted.members}
    return SyncSet(tuple(sorted(members)), k, sync.version + 1)


@dataclass(frozen=True, slots=True)
class SyncSeen:
    """What a look at the primary showed, by a connection made for it."""

    shown: Waits
    written: Waits  # in the agent's own file
    flushed: Mapping[str, int]  # of each standby that streams
    proved: bool = True  # this very server process was seen to let a commit wait
    waiting: int = 0  # sessions whose commit waits at this moment
    longest_wait_s: float = 0.0  # since the statement of one of them began


# The plan


@dataclass(frozen=True, slots=True)
class Barrier:
    """An LSN from after the moment since which every acknowledgement obeys `wait`."""

    wait: Waits
    lsn: int


@dataclass(frozen=True, slots=True)
class SyncStanding:
    """Everything the next step may look at."""

    sync: SyncSet  # of the lease item as it last landed
    unsettled: bool  # a write of the item was sent and its fate is not known
    shown: Waits | Unknown  # by a fresh connection
    written: Waits | Unknown  # in the agent's own file: what the next reload or start brings
    barrier: Barrier | None
    flushed: Mapping[str, int]  # of each standby that streams from this primary
    wanted: Waits
    sealed: tuple[str, ...] = ()  # members that say they are sealed for this very version
    proved: bool = True  # see SyncSeen


@dataclass(frozen=True, slots=True)
class Settle:
    """Send the unsettled write again, unchanged; nothing else moves before (S4)."""


@dataclass(frozen=True, slots=True)
class LookAgain:
    why: str


@dataclass(frozen=True, slots=True)
class SetPostgres:
    """Make PostgreSQL wait for this, see it by a fresh connection, and take a barrier."""

    wait: Waits


@dataclass(frozen=True, slots=True)
class WriteItem:
    """Write the item under its version and token, with this sync set."""

    sync: SyncSet


@dataclass(frozen=True, slots=True)
class AwaitBarrier:
    """The new quorum has not flushed the barrier yet."""

    lsn: int
    behind: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class InPlace:
    """The item and PostgreSQL both say what is wanted."""


Step = Settle | LookAgain | SetPostgres | WriteItem | AwaitBarrier | InPlace


def next_step(at: SyncStanding) -> Step:
    """The one next step towards `wanted`; the invariant holds whatever happens before the one after it."""
    if at.unsettled:
        return Settle()
    if isinstance(at.shown, Unknown):
        return LookAgain(at.shown.why)
    if isinstance(at.written, Unknown):
        return LookAgain(at.written.why)
    if at.written != at.shown:
        # Begun and not seen to be done: it may come true at any moment, so it is finished first.
        return SetPostgres(at.written if permits(at.sync, at.written) else at.shown)
    if not permits(at.sync, at.shown):
        return SetPostgres(of_item(at.sync))  # somebody else's doing: back to what the item counts on
    if at.shown.k > 0 and not at.proved:
        # → restarted in place: it showed the list at once, its checkpointer had not read it, no commit waited
        return SetPostgres(at.shown)
    if at.shown != at.wanted:
        if permits(at.sync, at.wanted):
            return SetPostgres(at.wanted)  # stricter, as far as the item goes: PostgreSQL first
        return WriteItem(laxer(at.sync, at.shown, at.wanted))  # laxer: the store first
    if of_item(at.sync) != at.wanted:
        return _tighten(at, at.shown)
    return _unseal(at) if at.sealed else InPlace()


def _unseal(at: SyncStanding) -> Step:
    """Members are sealed and nobody claimed: a new version, and nothing else, ends a seal (F4)."""
    return WriteItem(SyncSet(at.sync.members, at.sync.k, at.sync.version + 1))


def _tighten(at: SyncStanding, shown: Waits) -> Step:
    """PostgreSQL obeys already: the item follows when the new quorum has flushed what came before."""
    if at.barrier is None or at.barrier.wait != shown:
        return SetPostgres(shown)
    behind = behind_barrier(at.barrier, at.flushed)
    if len(shown.members) - len(behind) < shown.k:
        # Who is sealed takes no WAL until a later version stands. → both standbys sealed while one was on its
        # way out of S: the barrier waited for them, they for a version, and every commit hung for good.
        return _unseal(at) if at.sealed else AwaitBarrier(at.barrier.lsn, behind)
    return WriteItem(SyncSet(shown.members, shown.k, at.sync.version + 1))


def behind_barrier(barrier: Barrier, flushed: Mapping[str, int]) -> tuple[str, ...]:
    return tuple(name for name in barrier.wait.members if flushed.get(name, 0) < barrier.lsn)


def is_clear_of(name: str, at: SyncStanding) -> bool:
    """Whether nothing counts on `name` any more, so that its data directory may be touched (S5)."""
    if at.unsettled or isinstance(at.shown, Unknown) or isinstance(at.written, Unknown):
        return False
    return name not in {*at.sync.members, *at.shown.members, *at.written.members}
