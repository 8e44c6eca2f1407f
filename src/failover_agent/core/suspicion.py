"""When a lease ends: for the node that holds it, and for the nodes that watch it.

Invariant (L3, L4): the holder's right ends before any challenger's can begin. The holder
counts from the first *sending* of the token that landed and takes the margin off; a
challenger counts from the *receipt* of the first answer that showed that token and adds
the clock-rate error. Sending comes before receipt, so nobody compares clocks.
"""

from __future__ import annotations

from failover_agent.core.model import LeaseItem, LeaseSeen
from failover_agent.core.timings import CLOCK_RATE_ERROR


def valid_until(first_sent: float, ttl_s: float, margin_s: float) -> float:
    """Until when (exclusive) the holder may act on a renewal that it first sent at `first_sent`."""
    return first_sent + ttl_s - margin_s


def expires_at(seen: LeaseSeen) -> float:
    """From when on a challenger may take the token it watches for missed."""
    return seen.token_seen_at + seen.item.ttl_s * (1 + CLOCK_RATE_ERROR)


def is_expired(seen: LeaseSeen, now: float) -> bool:
    """Whether the watched token was missed: time is up *and* a later successful read still showed it.

    Without the second half, a store that was silent meanwhile would look like a dead holder (L4).
    """
    end = expires_at(seen)
    return now >= end and seen.read_at >= end


def suspects_after_s(item: LeaseItem, own_s: float) -> float:
    """For how long a node whose own timing is `own_s` must miss the holder of `item` to suspect it.

    The holder keeps its gate open by what it wrote, and binds itself first where it writes less (F6). So
    nobody suspects it sooner, whose own timing is the shorter one while a cluster is given another profile.

    → patient to balanced, db2 and db3 restarted already: db1's gate was open for 5 s after its last beat,
    they missed it after 2.5 s, and db2 served beside it.
    """
    return max(own_s, item.suspect_after_s)


def is_suspected(seen: LeaseSeen, own_s: float) -> bool:
    """Whether successful reads have shown the same token for longer than a healthy holder needs."""
    silent_s = seen.read_at - seen.token_seen_at
    return seen.item.holder is not None and silent_s >= suspects_after_s(seen.item, own_s)


def is_free(seen: LeaseSeen, me: str, now: float) -> bool:
    """Whether `me` may claim as far as time and offers go."""
    if seen.item.holder is None and seen.item.offered_to in ("", me):
        return True
    return is_expired(seen, now)


def free_since(seen: LeaseSeen, me: str) -> float:
    """When the lease became free for `me`, or will if its token stays."""
    if seen.item.holder is None and seen.item.offered_to in ("", me):
        return seen.token_seen_at
    return expires_at(seen)
