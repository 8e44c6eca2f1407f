"""Counts how close each renewal came to the end of the lease: a warning before a needless failover."""

from __future__ import annotations

from failover_agent.core.health import Renewals

BOUNDS = (0.25, 0.5, 0.75, 0.9, 1.0)  # shares of the right that were used up; the last holds all
NEAR_MISS = 0.75


def add(so_far: Renewals, used: float) -> Renewals:
    """One more renewal, which landed when the share `used` of the right was over."""
    before = so_far.buckets or (0,) * len(BOUNDS)
    return Renewals(
        count=so_far.count + 1,
        near_misses=so_far.near_misses + (used > NEAR_MISS),
        used_sum=so_far.used_sum + used,
        used_most=max(so_far.used_most, used),
        used_last=used,
        buckets=tuple(n + (used <= bound) for n, bound in zip(before, BOUNDS, strict=True)),
    )


def share_used(landed: float, was_valid_until: float, right_s: float) -> float:
    """Of a right of `right_s` seconds that would have ended at `was_valid_until`; between 0 and 1."""
    return min(1.0, max(0.0, 1 - (was_valid_until - landed) / right_s))
