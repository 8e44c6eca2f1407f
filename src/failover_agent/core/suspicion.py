"""When a lease ends: for the node that holds it, and for the nodes that watch it.

Invariant (L3, L4): the holder's right ends before any challenger's can begin. The holder
counts from the first *sending* of the token that landed and takes the margin off; a
challenger counts from the *receipt* of the first answer that showed that token and adds
the clock-rate error. Sending comes before receipt, so nobody compares clocks.
"""

from __future__ import annotations

from failover_agent.core.model import LeaseSeen
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


def is_suspected(seen: LeaseSeen, suspect_after_s: float) -> bool:
    """Whether successful reads have shown the same token for longer than a healthy holder needs."""
    return seen.item.holder is not None and seen.read_at - seen.token_seen_at >= suspect_after_s


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
