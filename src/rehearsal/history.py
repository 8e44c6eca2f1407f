"""What clients were told, and what may be concluded from it. Pure: lists in, findings out.

An *ack* is one write that a server confirmed. All times are seconds since 1970 on one clock
(the lab's hosts share the kernel's).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Ack:
    via: str  # which client: "writer" goes through the virtual address, others straight to a node
    id: int
    sent: float
    received: float
    node: str  # the node that answered, by its own word
    timeline: int


@dataclass(frozen=True, slots=True)
class Gap:
    """The longest time in which one client got no answer."""

    began: float  # the last ack before it was received
    ended: float  # the first ack after it was received

    @property
    def seconds(self) -> float:
        return self.ended - self.began


def longest_gap(acks: Iterable[Ack], via: str, since: float, until: float) -> Gap | None:
    """The longest gap of client `via` that touches [since, until]; None without two acks around it."""
    times = sorted(ack.received for ack in acks if ack.via == via)
    gaps = [Gap(a, b) for a, b in pairwise(times) if b >= since and a <= until]
    return max(gaps, key=lambda gap: gap.seconds, default=None)


def lost(acks: Iterable[Ack], present: set[int]) -> list[Ack]:
    """Acknowledged writes that the final primary does not have."""
    return [ack for ack in acks if ack.id not in present]


def double(acks: Sequence[Ack]) -> list[Ack]:
    """Acks given by an old timeline after a newer one had begun to acknowledge.

    A write counts when it was *sent* after the first ack of any newer timeline, or of another
    node on the same timeline, had been *received*: then two nodes were primary at once, however
    the clients were scheduled.
    """
    first_seen: dict[tuple[int, str], float] = {}
    for ack in sorted(acks, key=lambda ack: ack.received):
        first_seen.setdefault((ack.timeline, ack.node), ack.received)

    def overtaken(ack: Ack) -> bool:
        return any(
            ack.sent > began
            for (timeline, node), began in first_seen.items()
            if timeline > ack.timeline or (timeline == ack.timeline and node != ack.node)
        )

    return [ack for ack in acks if overtaken(ack)]


def acked_after(acks: Iterable[Ack], node: str, timeline: int, moment: float) -> list[Ack]:
    """What `node` still confirmed on `timeline` after `moment`, e.g. after its lease had ended."""
    return [a for a in acks if a.node == node and a.timeline == timeline and a.received > moment]
