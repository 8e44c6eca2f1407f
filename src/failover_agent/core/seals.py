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

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from failover_agent.core.lsn import show
from failover_agent.core.model import LeaseItem, LeaseSeen, NodeReport, Timings
from failover_agent.core.promises import anybody_may_claim
from failover_agent.core.quorum import seals_needed
from failover_agent.core.suspicion import is_expired, suspects_after_s


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


@dataclass(frozen=True, slots=True)
class Gathered:
    """What members of S answered to a node that wants to claim one item; empty where nobody was asked."""

    seals: tuple[Sealed, ...] = ()
    enough_since: float = math.inf  # when as many as a claim needs had come
    why_not: tuple[tuple[str, str], ...] = ()  # of who was asked and is not sealed: name, reason


NOTHING_GATHERED = Gathered()


def ends(seal: Seal, item: LeaseItem) -> bool:
    """Whether a consistent read of `item` ends the seal: by a later version or epoch, never by time (F4).

    Where the epoch is later, the seal's end is no leave to stream from the old holder again, only from the
    new one: a member that did would acknowledge for the deposed (tests/model: "unsealed to the old one").
    """
    return (item.epoch, item.sync.version) > (seal.epoch, seal.version)


def why_not_seal(
    seen: LeaseSeen, now: float, holder_heard_at: float | None, own_s: float, asked: Seal
) -> str:
    """A vote without effect (F1): why this member would not seal, empty when it would.

    `holder_heard_at` is when the holder itself last answered or asked us; `seen` shows its beats; `own_s` is
    this member's own suspect_after.
    """
    item = seen.item
    if (item.cluster, item.epoch, item.sync.version) != (asked.cluster, asked.epoch, asked.version):
        return (
            f"the lease is at epoch {item.epoch} version {item.sync.version},"
            f" asked was epoch {asked.epoch} version {asked.version}"
        )
    if not item.last_holder or item.last_holder != asked.against:
        return f"the lease is {_whose(item)}, asked was a seal against {asked.against or 'nobody'}"
    if is_expired(seen, now):
        return ""  # also where its agent still answers: it lost the store, and would block everybody for ever
    if item.holder is None:
        return f"the lease is offered to {item.offered_to}" if item.offered_to else ""
    return _why_not_missed(seen, now, holder_heard_at, suspects_after_s(item, own_s))


def _whose(item: LeaseItem) -> str:
    if item.holder is not None:
        return f"held by {item.holder.name}"
    return f"released by {item.released_by or 'nobody'}"


def _why_not_missed(
    seen: LeaseSeen, now: float, holder_heard_at: float | None, suspect_after_s: float
) -> str:
    name = seen.item.last_holder
    if holder_heard_at is not None and now - holder_heard_at < suspect_after_s:
        return f"{name} answered {now - holder_heard_at:.1f} s ago"
    if seen.read_at - seen.token_seen_at < suspect_after_s:
        return f"{name} renewed its lease {seen.read_at - seen.token_seen_at:.1f} s before the last read"
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


def claimants(item: LeaseItem, answers: Iterable[Sealed]) -> tuple[Sealed, ...]:
    """The sealed members that may claim, most advanced first; asked only where k > 0.

    Each is the most advanced of |S| - k + 1 sealed ones, itself included, so it has every acknowledged commit
    whatever the others have besides (S1). Where more are sealed than needed, more than one may be that.
    """
    seals = counted(item, answers).values()
    needed = seals_needed(item.sync)
    fit = [a for a in seals if sum(b.position <= a.position for b in seals) >= needed]
    return tuple(sorted(sorted(fit, key=lambda a: a.name), key=lambda a: a.position, reverse=True))


def why_not_claim(item: LeaseItem, me: str, answers: Iterable[Sealed]) -> str:
    """Why `me` may not claim `item` as far as acknowledged commits go; empty when it may.

    `may_claim` empty: the async mode, in which lag_limit_bytes decides (S9). Named in it without being in S:
    the last holder, which has everything it acknowledged. Everybody else needs seals (S1).
    """
    if anybody_may_claim(item):
        return ""
    if me not in item.may_claim:
        return f"only {', '.join(item.may_claim) or 'nobody'} may claim"
    if me not in item.sync.members:
        return ""
    seals = counted(item, answers)
    if len(seals) < seals_needed(item.sync):
        return _too_few(item, seals)
    if me not in seals:
        return "it is not sealed itself"
    if me in (a.name for a in claimants(item, seals.values())):
        return ""
    best, mine = max(seals.values(), key=lambda a: a.position), seals[me]
    return f"{best.name} has received {show(best.lsn)}, it has {show(mine.lsn)}"


def _too_few(item: LeaseItem, seals: dict[str, Sealed]) -> str:
    away = [name for name in item.sync.members if name not in seals]
    return (
        f"{len(seals)} of {seals_needed(item.sync)} seals of version {item.sync.version} are there;"
        f" waiting for {', '.join(away)}"
    )


def is_patient_enough(report: NodeReport, suspect_after_s: float) -> bool:
    """Whether who reports waits for as long as a holder counts on that goes by `suspect_after_s` (F6).

    Else its own timing is the shorter one, and it has not read yet what that holder wrote. An older agent
    does not say, and goes by its own alone.
    """
    return report.suspects_after_s == 0 or report.suspects_after_s >= suspect_after_s


def counts_as_heard(report: NodeReport, epoch: int) -> bool:
    """Whether who reports does not seal soon: it noted who holds the lease and was not sealed then (F6)."""
    return report.noted == epoch > 0 and report.sealed == (0, 0)


def unchallenged_until(
    item: LeaseItem,
    valid_until: float,
    beat_sent: float,
    answered: Mapping[str, float],
    timings: Timings,
    promised: Mapping[str, float] = MappingProxyType({}),
) -> float:
    """Until when (exclusive) nobody can have claimed `item` from its holder, by the fast path either (F6).

    A member that promised neither to seal nor to claim (P1) counts like one that heard us as late as reaches
    as far: `promised` says until when, the margin taken off. Only promises that came while nobody could have
    claimed yet may be in it: k members that are not sealed then, and seal nothing from then on, leave
    |S| - k, one seal too few for the whole time, whoever of them restarts meanwhile (P1).

    Members go by what the item says, where that is more than their own: this node by what is less (an older
    agent's item says nothing, and they go by their own alone).
    """
    if item.mode == "async" or not item.sync.members:
        return valid_until
    suspect_after_s = min(timings.suspect_after_s, item.suspect_after_s or math.inf)
    reach_s, long_ago = suspect_after_s - timings.margin_s, -math.inf
    heard = [max(answered.get(m, long_ago), promised.get(m, long_ago) - reach_s) for m in item.sync.members]
    return gate_until(valid_until, beat_sent, heard, item.sync.k, suspect_after_s, timings.margin_s)


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
