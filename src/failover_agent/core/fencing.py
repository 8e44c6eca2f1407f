"""Who must be fenced before PostgreSQL here is promoted, and how long that is waited for. Pure.

Gate and seals keep the old holder from writing; a fence is a second hand that does not rely on anything
that runs on its machine. It is asked for only after a claim: a holder that gave the lease away had shut
its gate and stopped PostgreSQL before.

Invariant: who held the lease without giving it away stays named in the item (`unfenced`) until the cloud
shows it fenced, a person vouches for it, or the policy lets somebody be promoted without. So a claimant
that dies leaves the wish to its next life, or to whoever claims after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from failover_agent.core.model import Holder, LeaseItem

Method = Literal["none", "stop-instance", "isolate"]
WhenUnanswered = Literal["promote", "wait"]
Undo = Literal["person", "automatic"]


@dataclass(frozen=True, slots=True)
class Fencing:
    """The configuration's part of that name."""

    method: Method = "none"
    when_unanswered: WhenUnanswered = "promote"
    timeout_s: float = 60.0  # from the first asking; then the silence is a problem, or is passed over
    undo: Undo = "person"

    @property
    def on(self) -> bool:
        return self.method != "none"


OFF = Fencing()


@dataclass(frozen=True, slots=True)
class Fences:
    """What this life of the agent knows of the fences of one epoch. Keys are instance ids."""

    epoch: int = 0
    since: float = 0.0  # when the first of them was asked for
    closed: frozenset[str] = frozenset()
    refused: frozenset[str] = frozenset()  # the cloud said no, and asking again changes nothing
    why: tuple[tuple[str, str], ...] = ()  # what is known of each that is open

    def why_open(self, instance_id: str) -> str:
        return dict(self.why).get(instance_id, "not asked for yet")


NOTHING_KNOWN = Fences()


def unfenced_after_claim(old: LeaseItem, me: Holder) -> tuple[Holder, ...]:
    """Whom the item names once `me` has claimed what `old` shows.

    A cluster that names no system was never written to: `publish` comes before `serve`.
    """
    if not old.system_identifier:
        return ()
    lost = (*old.unfenced, *((old.holder,) if old.holder is not None else ()))
    by_machine = {holder.instance_id: holder for holder in lost if holder.instance_id != me.instance_id}
    return tuple(by_machine.values())


def still_open(item: LeaseItem, fences: Fences) -> tuple[Holder, ...]:
    """Who is named and not known to be fenced."""
    known = fences.closed if fences.epoch == item.epoch else frozenset()
    return tuple(holder for holder in item.unfenced if holder.instance_id not in known)


def waited_for(fencing: Fencing, item: LeaseItem, fences: Fences, now: float) -> tuple[Holder, ...]:
    """Who has to be fenced before this item's holder may be promoted; nobody: it may."""
    if not fencing.on:
        return ()
    still = still_open(item, fences)
    if fencing.when_unanswered == "wait" or fences.epoch != item.epoch:
        return still
    if now >= fences.since + fencing.timeout_s:
        return ()
    return tuple(holder for holder in still if holder.instance_id not in fences.refused)
