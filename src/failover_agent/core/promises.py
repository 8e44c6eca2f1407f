"""Promises not to claim, by which a holder outlives a store that is away (PROTOCOL P1 to P3).

Invariant: while a promise binds a node, that node sends no claim, seals nothing, votes for nothing, and acts
on no claim. It counts from the receipt of the question and lasts one ttl; the holder counts the same ttl from
the sending of the oldest question it counts, and takes the margin off. Sending comes before receipt, so with
promises of everybody who may claim, the holder's right ends before any of theirs begins (as in `suspicion`).

A new life of a member's agent has forgotten what it promised. It needs no memory of it: a claim by expiry has
to watch one token for a whole ttl of its own first, and votes and seals wait as long after any start. That a
promise was given is no proof, as a heartbeat is, that nobody has claimed yet: F6 does not count it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from failover_agent.core.model import Holder, LeaseItem, TooNew, Unknown
from failover_agent.core.timings import CLOCK_RATE_ERROR
from failover_agent.errors import LeaseMoved, StoreSchemaWrong, StoreTableMissing, StoreUnreachable


@dataclass(frozen=True, slots=True)
class Promise:
    """What a holder asks of everybody who may claim, and what they are then bound by."""

    cluster: str
    epoch: int
    holder: Holder
    version: int  # of the sync set that the holder knows to stand
    ttl_s: float
    early: bool = False  # members may claim by seals, before a ttl of the holder is over (F1)


@dataclass(frozen=True, slots=True)
class Given:
    promise: Promise
    until: float  # exclusive


@dataclass(frozen=True, slots=True)
class MemberStanding:
    """What a member knows of itself and of the lease when it is asked."""

    cluster: str
    holds: bool  # the lease, or had it confirmed and has not dropped it
    claiming: bool  # a claim was sent and its fate is not known
    sealed: tuple[int, int]  # epoch and version; zeros: not
    epoch: int  # the highest it has seen
    item: LeaseItem | None  # as it last read it
    fresh: bool = False  # its agent started less than one ttl ago


# The member's side


def why_not_promise(asked: Promise, me: MemberStanding, given: Given | None) -> str:
    """Why this member does not promise; empty when it does."""
    if asked.cluster != me.cluster:
        return f"it belongs to cluster {me.cluster}"
    if me.holds:
        return "it holds the lease itself"
    if me.claiming:
        return "a claim of its own is under way"
    if me.sealed >= (asked.epoch, asked.version):
        return f"it is sealed for epoch {me.sealed[0]} version {me.sealed[1]}"
    if me.epoch > asked.epoch:
        return f"the lease is at epoch {me.epoch}"
    if asked.early and me.fresh and me.epoch != asked.epoch:
        # → it claimed by seals while the holder's own right went on, acted, and lost power and memory
        return "its agent started less than one ttl ago and has not read the lease since"
    if given is not None and given.promise.epoch > asked.epoch:
        return f"it was asked for epoch {given.promise.epoch} already"
    return _why_not_this_holder(asked, me.item)


def _why_not_this_holder(asked: Promise, item: LeaseItem | None) -> str:
    """What is known of the holder of that very epoch; nothing known is no reason: the store is away."""
    if item is None or item.epoch != asked.epoch:
        return ""
    if item.holder is None:
        return f"epoch {item.epoch} was given away"
    if (item.holder.name, item.holder.instance_id) != (asked.holder.name, asked.holder.instance_id):
        return f"epoch {item.epoch} is held by {item.holder.name} of {item.holder.instance_id}"
    return ""


def give(asked: Promise, received_at: float, before: Given | None) -> Given:
    """Counted from the receipt (P1), and never shorter than what was given before."""
    until = received_at + asked.ttl_s * (1 + CLOCK_RATE_ERROR)
    return Given(asked, max(until, before.until) if before is not None else until)


def binds(given: Given | None, now: float) -> bool:
    return given is not None and now < given.until


def is_over(given: Given, item: LeaseItem) -> bool:
    """Whether a consistent read ends it early: a later epoch, or this one given away by its holder (P1)."""
    released = item.epoch == given.promise.epoch and item.holder is None
    return item.epoch > given.promise.epoch or released


def is_fresh_start(began: float, now: float, ttl_s: float, item: LeaseItem | None) -> bool:
    """Whether this life may have forgotten a promise; the item's ttl counts where it is the longer one."""
    longest = max(ttl_s, item.ttl_s) if item is not None else ttl_s
    return now < began + longest * (1 + CLOCK_RATE_ERROR)


# The holder's side


def anybody_may_claim(item: LeaseItem) -> bool:
    """Whether the item leaves it open who may claim.

    In mode async one name alone locks nobody out: an older agent's claim leaves it like this (P2). In the
    others no name means nobody.
    """
    return item.mode == "async" and len(item.may_claim) < 2


def to_ask(standing: LeaseItem, under_way: LeaseItem, me: str) -> tuple[str, ...]:
    """Of whom the holder needs promises (P2); empty: no promises can carry it.

    Either item may stand in the store, so whoever may claim by either. With nobody to ask there is no
    failsafe: a holder whom nobody hears must not go on for ever.
    """
    if anybody_may_claim(standing) or anybody_may_claim(under_way):
        return ()
    return tuple(sorted({*standing.may_claim, *under_way.may_claim} - {me}))


def promised_until(asked_at: float, ttl_s: float, margin_s: float) -> float:
    """Until when (exclusive) the holder may count on a promise: from the sending of its question (P1)."""
    return asked_at + ttl_s - margin_s


def carried_until(promised: Mapping[str, float], names: Iterable[str]) -> float | None:
    """Until when (exclusive) promises carry the holder; None: somebody's is missing."""
    ends = [promised.get(name) for name in names]
    known = [end for end in ends if end is not None]
    return min(known) if known and len(known) == len(ends) else None


def ask_from(valid_until: float, beat_s: float, request_timeout_s: float) -> float:
    """When to begin to ask: a try of our own, one through peers, the questions and a beat still fit."""
    return valid_until - beat_s - 3 * request_timeout_s


_ANSWERS = (LeaseMoved, StoreTableMissing, StoreSchemaWrong)


def is_silence(outcome: Unknown) -> bool:
    """Whether the store was away. An item that we cannot read refused the condition all the same (P3), and
    a table that is gone is an alarm (L6).
    """
    return not isinstance(outcome, TooNew) and not isinstance(outcome.cause, _ANSWERS)


def is_no_answer(outcome: Unknown) -> bool:
    """Whether nothing came back at all: a right that is denied is denied over a network that works."""
    silent = outcome.cause is None or isinstance(outcome.cause, StoreUnreachable)
    return silent and not isinstance(outcome, TooNew)
