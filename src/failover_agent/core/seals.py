"""Sealing: how standbys make sure that the old primary acknowledges nothing more (PROTOCOL S1, F1 to F6).

A sealed member takes no WAL from the old primary any more and says what it holds. With |S| - k + 1 members
of S sealed for one version, at most k - 1 are left to the old primary, which needs k of them for every
acknowledgement (core.quorum): it acknowledges nothing more, and one of the sealed holds everything it ever
acknowledged. The most advanced of them holds what that one holds, so it may claim.

Invariant: seals are counted only for the epoch and version that the claim's condition names. A primary that
changes S writes another version, so either its write lands and these seals are worth nothing, or the claim
lands and its write is refused (F5).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from failover_agent.core.lsn import show
from failover_agent.core.model import LeaseItem, LeaseSeen, NodeReport
from failover_agent.core.quorum import seals_needed


@dataclass(frozen=True, slots=True)
class Seal:
    """What a member notes durably before it cuts the stream: until when it takes nothing (F2 to F4)."""

    cluster: str
    epoch: int
    version: int
    incarnation: str  # of the data directory that the answer speaks for (S5)
    against: str  # the holder that is cut off


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """How far a sealed member's WAL goes; a later timeline is further whatever its LSN."""

    timeline: int
    lsn: int  # the greater of received and replayed


@dataclass(frozen=True, slots=True)
class Sealed:
    """A member's answer once nothing can reach it from the old primary any more."""

    name: str
    seal: Seal
    timeline: int
    lsn: int

    @property
    def position(self) -> Position:
        return Position(self.timeline, self.lsn)


def ends(seal: Seal, item: LeaseItem) -> bool:
    """Whether a consistent read of `item` ends the seal: by a later version or epoch, never by time (F4).

    Where the epoch is later, the seal's end is no leave to stream from the old holder again, only from the
    new one: a member that did would acknowledge for the deposed (tests/model: "unsealed to the old one").
    """
    return (item.epoch, item.sync.version) > (seal.epoch, seal.version)


def why_not_seal(
    seen: LeaseSeen, now: float, holder_heard_at: float | None, suspect_after_s: float, asked: Seal
) -> str:
    """A vote without effect (F1): why this member would not seal, empty when it would.

    `holder_heard_at` is when the holder itself last answered us; its beats in the store are in `seen`.
    """
    item = seen.item
    holder = item.holder.name if item.holder else ""
    if (item.cluster, item.epoch, item.sync.version) != (asked.cluster, asked.epoch, asked.version):
        return (
            f"the lease is at epoch {item.epoch} version {item.sync.version},"
            f" asked was epoch {asked.epoch} version {asked.version}"
        )
    if not holder or holder != asked.against:
        return f"the lease is held by {holder or 'nobody'}, asked was a seal against {asked.against}"
    if holder_heard_at is not None and now - holder_heard_at < suspect_after_s:
        return f"{holder} answered {now - holder_heard_at:.1f} s ago"
    if seen.read_at - seen.token_seen_at < suspect_after_s:
        return f"{holder} renewed its lease {seen.read_at - seen.token_seen_at:.1f} s before the last read"
    return ""


def sealed_members(reports: Iterable[NodeReport], epoch: int, version: int) -> tuple[str, ...]:
    """Who says it is sealed for this very version: the holder then writes another one (F4)."""
    return tuple(sorted(r.name for r in reports if r.sealed == (epoch, version)))


def counted(item: LeaseItem, answers: Iterable[Sealed]) -> dict[str, Sealed]:
    """Of `answers`, those a claim of `item` may count: of S, this version, the incarnation in S."""
    known = dict(zip(item.sync.members, item.sync.incarnations, strict=False))
    return {
        a.name: a
        for a in answers
        if a.name in item.sync.members
        and (a.seal.cluster, a.seal.epoch, a.seal.version) == (item.cluster, item.epoch, item.sync.version)
        and a.seal.incarnation == known.get(a.name, a.seal.incarnation)
        and a.timeline >= item.timeline
    }


def why_not_claim(item: LeaseItem, me: str, answers: Iterable[Sealed]) -> str:
    """Why `me` may not claim `item` as far as acknowledged commits go; empty when it may.

    `may_claim` empty: the async mode, in which lag_limit_bytes decides (S9). Named in it without being in S:
    the last holder, which has everything it acknowledged. Everybody else needs seals (S1).
    """
    if not item.may_claim:
        return ""
    if me not in item.may_claim:
        return f"only {', '.join(item.may_claim)} may claim"
    if me not in item.sync.members:
        return ""
    seals = counted(item, answers)
    if len(seals) < seals_needed(item.sync):
        return _too_few(item, seals)
    if me not in seals:
        return "it is not sealed itself"
    best, mine = max(seals.values(), key=lambda a: a.position), seals[me]
    if mine.position < best.position:
        return f"{best.name} has received {show(best.lsn)}, it has {show(mine.lsn)}"
    return ""


def _too_few(item: LeaseItem, seals: dict[str, Sealed]) -> str:
    away = [name for name in item.sync.members if name not in seals]
    return (
        f"{len(seals)} of {seals_needed(item.sync)} seals of version {item.sync.version} are there;"
        f" waiting for {', '.join(away)}"
    )


def gate_until(
    valid_until: float,
    last_beat_sent: float,
    answered: Iterable[float],
    k: int,
    suspect_after_s: float,
    margin_s: float,
) -> float:
    """Until when (exclusive) the gate may be open while members may claim by the fast path (F6).

    The lease alone is not enough: members that suspect claim before its ttl is over, and sessions outside the
    promise (S8) would still get answers here. `answered`: of each member of S that heard us, when we *sent*
    what it heard. k that heard us leave |S| - k that did not, one seal too few.
    """
    heard = sorted(answered, reverse=True)
    by_members = heard[k - 1] if 0 < k <= len(heard) else last_beat_sent
    return min(valid_until, max(last_beat_sent, by_members) + suspect_after_s - margin_s)
