"""Whether a node's own promotion is part of the cluster's history (PROTOCOL N2).

Two stalled promotions make two timelines of one number with equal history files; PostgreSQL and
pg_rewind take them for the same. So every promotion is recorded in the store under its epoch, with
a digest of the first record it wrote, and a node whose own promotion is not in that line is cloned.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from failover_agent.core.model import Unknown


@dataclass(frozen=True, slots=True)
class Beginning:
    """How a timeline began: where its parent ended, and a digest of the first record on it."""

    timeline: int
    fork: int
    digest: str


@dataclass(frozen=True, slots=True)
class Promotion:
    epoch: int
    node: str
    began: Beginning


@dataclass(frozen=True, slots=True)
class OwnPromotion:
    """What this node noted before it promoted, and after: `began` is None until it was seen to be done."""

    epoch: int
    from_timeline: int
    began: Beginning | None = None


class Standing(Enum):
    IN_LINE = "in line"
    ABANDONED = "abandoned"  # others went on without it
    UNJUDGED = "unjudged"  # the history that decides cannot be read, or is not written yet


def standing(
    own: OwnPromotion | None,
    me: str,
    timeline: int,
    lease_epoch: int,
    last_holder: str,
    history: Mapping[int, Promotion] | Unknown,
) -> Standing:
    """`timeline` is the node's own now, 0 when unknown; `lease_epoch` and `last_holder` the cluster's."""
    if own is None or own.epoch >= lease_epoch:
        return Standing.IN_LINE  # nobody came after it
    if 0 < timeline <= own.from_timeline:
        return Standing.IN_LINE  # it was meant and did not come to pass
    if isinstance(history, Unknown):
        return Standing.UNJUDGED
    if last_holder == me and all(epoch <= own.epoch for epoch in history):
        # The later claim is its own, made as one in line, and nobody was promoted since.
        # → killed in two epochs in a row, each before it had recorded, the only one who might claim did not.
        return Standing.IN_LINE
    if own.began is None or history.get(own.epoch) != Promotion(own.epoch, me, own.began):
        return Standing.ABANDONED
    later = [p for p in history.values() if p.epoch > own.epoch]
    if any(p.began.timeline <= own.began.timeline for p in later):
        return Standing.ABANDONED  # a successor began where ours did, without ours
    return Standing.IN_LINE if lease_epoch in history else Standing.UNJUDGED


def to_note(promotion: Promotion) -> dict[str, str]:
    began = promotion.began
    return {
        "node": promotion.node,
        "timeline": str(began.timeline),
        "fork": str(began.fork),
        "digest": began.digest,
    }


def from_note(epoch: int, note: Mapping[str, str]) -> Promotion:
    """Raises KeyError or ValueError on anything but what `to_note` gave."""
    began = Beginning(int(note["timeline"]), int(note["fork"]), note["digest"])
    return Promotion(epoch, note["node"], began)
