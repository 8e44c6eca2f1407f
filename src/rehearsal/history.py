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
    """A time in which one client got no answer."""

    began: float  # the last ack before it was received
    ended: float  # the first ack after it was received

    @property
    def seconds(self) -> float:
        return self.ended - self.began


def gaps(acks: Iterable[Ack], via: str, since: float, until: float, over_s: float = 0.0) -> list[Gap]:
    """Every gap of client `via` that touches [since, until] and is longer than `over_s`."""
    times = sorted(ack.received for ack in acks if ack.via == via)
    found = [Gap(a, b) for a, b in pairwise(times) if b >= since and a <= until]
    return [gap for gap in found if gap.seconds > over_s]


def longest_gap(acks: Iterable[Ack], via: str, since: float, until: float) -> Gap | None:
    """The longest gap of client `via` that touches [since, until]; None without two acks around it."""
    return max(gaps(acks, via, since, until), key=lambda gap: gap.seconds, default=None)


def unexplained_s(gap: Gap, excuses: Iterable[Gap]) -> float:
    """How much of `gap` lies outside of all `excuses`, which may overlap each other."""
    left_s, reached = gap.seconds, gap.began
    for excuse in sorted(excuses, key=lambda excuse: excuse.began):
        began, ended = max(excuse.began, reached), min(excuse.ended, gap.ended)
        if ended > began:
            left_s -= ended - began
            reached = ended
    return left_s


def lost(acks: Iterable[Ack], present: set[int]) -> list[Ack]:
    """Acknowledged writes that the final primary does not have."""
    return [ack for ack in acks if ack.id not in present]


def double(acks: Sequence[Ack], since: float = 0.0) -> list[Ack]:
    """Acks, received from `since` on, that an old timeline gave after a newer one had begun to acknowledge.

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

    return [ack for ack in acks if ack.received >= since and overtaken(ack)]


def acked_after(acks: Iterable[Ack], node: str, timeline: int, moment: float) -> list[Ack]:
    """What `node` still confirmed on `timeline` after `moment`, e.g. after its lease had ended."""
    return [a for a in acks if a.node == node and a.timeline == timeline and a.received > moment]
