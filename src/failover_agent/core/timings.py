"""The relations between the timings, and the profiles that keep them (L5).

A configuration that breaks a relation could let two nodes write, or fail over for nothing;
it is refused, and the refusal shows the sum.
"""

from __future__ import annotations

from dataclasses import dataclass

from failover_agent.core.model import Timings
from failover_agent.errors import TimingsImpossible

CLOCK_RATE_ERROR = 0.001  # two clocks drift apart by at most this share; NTP slews by 0.05 %
GATE_LATENCY_S = 0.1  # from the decision to renew the gate to the kernel having taken it
BLIP_S = 0.25  # a network silence this short never makes anybody suspect
ROUNDING_S = 1e-9  # of the sums below, which are floats

# ttl, beat and suspect_after are promises; poll_s is the price: each poll of a standby reads the store and
# looks at its PostgreSQL. L5 would allow up to 0.5 and 0.35 s; less shows the last beat sooner.
PROFILES: dict[str, Timings] = {
    "fast": Timings(
        ttl_s=3, beat_s=0.5, suspect_after_s=1.5, poll_s=0.15, request_timeout_s=0.4, margin_s=0.6
    ),
    "balanced": Timings(
        ttl_s=6, beat_s=1, suspect_after_s=2.5, poll_s=0.25, request_timeout_s=0.75, margin_s=1
    ),
    "patient": Timings(ttl_s=20, beat_s=3, suspect_after_s=8, poll_s=1.5, request_timeout_s=2.5, margin_s=3),
}


@dataclass(frozen=True, slots=True)
class Relation:
    """One line of L5: `name` must be at least `least_s`, which is the sum that `because` spells out."""

    name: str
    value_s: float
    least_s: float
    because: str

    @property
    def holds(self) -> bool:
        return self.value_s >= self.least_s - ROUNDING_S

    def __str__(self) -> str:
        word = "is at least" if self.holds else "is below"
        return f"{self.name} {self.value_s:g} {word} {self.least_s:g} = {self.because}"


def relations(timings: Timings) -> tuple[Relation, ...]:
    """The three relations of L5, with their sums."""
    t = timings
    drift = t.ttl_s * CLOCK_RATE_ERROR
    margin = t.request_timeout_s + drift + GATE_LATENCY_S
    renewal = t.beat_s + 2 * t.request_timeout_s + t.margin_s
    silence = t.beat_s + t.poll_s + t.request_timeout_s + BLIP_S
    return (
        Relation(
            "margin_s",
            t.margin_s,
            margin,
            f"request_timeout_s {t.request_timeout_s:g} + clock drift over the ttl {drift:g}"
            f" + gate latency {GATE_LATENCY_S:g}",
        ),
        Relation(
            "ttl_s",
            t.ttl_s,
            renewal,
            f"beat_s {t.beat_s:g} + 2 x request_timeout_s {t.request_timeout_s:g} + margin_s {t.margin_s:g}",
        ),
        Relation(
            "suspect_after_s",
            t.suspect_after_s,
            silence,
            f"beat_s {t.beat_s:g} + poll_s {t.poll_s:g} + request_timeout_s {t.request_timeout_s:g}"
            f" + tolerated blip {BLIP_S:g}",
        ),
    )


def complaints(timings: Timings) -> list[str]:
    """Every relation of L5 that `timings` breaks, with the sum; empty when all hold."""
    found = [f"{name} is {value:g} s, must be above 0" for name, value in _values(timings) if value <= 0]
    return found + [str(relation) for relation in relations(timings) if not relation.holds]


def impossible(timings: Timings, where: str) -> TimingsImpossible | None:
    """The error that names the first broken relation by its fields and all of them in its message."""
    broken = complaints(timings)
    if not broken:
        return None
    first = next((r for r in relations(timings) if not r.holds), None)
    return TimingsImpossible(
        f"{where}: {'; '.join(broken)}",
        object=f"{first.name} of {where}" if first else where,
        value=f"{first.value_s:g} s" if first else broken[0],
        expected=f"at least {first.least_s:g} s = {first.because}" if first else "above 0",
        hint="Take a whole profile (primacy_profile), or make the sum fit in failover_agent_timings.",
    )


def _values(t: Timings) -> tuple[tuple[str, float], ...]:
    return (
        ("ttl_s", t.ttl_s),
        ("beat_s", t.beat_s),
        ("suspect_after_s", t.suspect_after_s),
        ("poll_s", t.poll_s),
        ("request_timeout_s", t.request_timeout_s),
        ("margin_s", t.margin_s),
    )
