"""The relations between the timings, and the profiles that keep them (L5).

A configuration that breaks a relation could let two nodes write, or fail over for nothing;
it is refused, and the refusal shows the sum.
"""

from __future__ import annotations

from failover_agent.core.model import Timings

CLOCK_RATE_ERROR = 0.001  # two clocks drift apart by at most this share; NTP slews by 0.05 %
GATE_LATENCY_S = 0.1  # from the decision to renew the gate to the kernel having taken it
BLIP_S = 0.25  # a network silence this short never makes anybody suspect
ROUNDING_S = 1e-9  # of the sums below, which are floats

PROFILES: dict[str, Timings] = {
    "fast": Timings(
        ttl_s=3, beat_s=0.5, suspect_after_s=1.5, poll_s=0.25, request_timeout_s=0.4, margin_s=0.6
    ),
    "balanced": Timings(
        ttl_s=6, beat_s=1, suspect_after_s=2.5, poll_s=0.5, request_timeout_s=0.75, margin_s=1
    ),
    "patient": Timings(ttl_s=20, beat_s=3, suspect_after_s=8, poll_s=1.5, request_timeout_s=2.5, margin_s=3),
}


def complaints(timings: Timings) -> list[str]:
    """Every relation of L5 that `timings` breaks, with the sum; empty when all hold."""
    t = timings
    found = [f"{name} is {value:g} s, must be above 0" for name, value in _values(t) if value <= 0]

    drift = t.ttl_s * CLOCK_RATE_ERROR
    margin = t.request_timeout_s + drift + GATE_LATENCY_S
    if t.margin_s < margin - ROUNDING_S:
        found.append(
            f"margin_s {t.margin_s:g} is below {margin:g} = request_timeout_s {t.request_timeout_s:g}"
            f" + clock drift over the ttl {drift:g} + gate latency {GATE_LATENCY_S:g}"
        )

    renewal = t.beat_s + 2 * t.request_timeout_s + t.margin_s
    if renewal > t.ttl_s + ROUNDING_S:
        found.append(
            f"ttl_s {t.ttl_s:g} is below {renewal:g} = beat_s {t.beat_s:g}"
            f" + 2 x request_timeout_s {t.request_timeout_s:g} + margin_s {t.margin_s:g}"
        )

    silence = t.beat_s + t.poll_s + t.request_timeout_s + BLIP_S
    if t.suspect_after_s < silence - ROUNDING_S:
        found.append(
            f"suspect_after_s {t.suspect_after_s:g} is below {silence:g} = beat_s {t.beat_s:g}"
            f" + poll_s {t.poll_s:g} + request_timeout_s {t.request_timeout_s:g} + tolerated blip {BLIP_S:g}"
        )
    return found


def _values(t: Timings) -> tuple[tuple[str, float], ...]:
    return (
        ("ttl_s", t.ttl_s),
        ("beat_s", t.beat_s),
        ("suspect_after_s", t.suspect_after_s),
        ("poll_s", t.poll_s),
        ("request_timeout_s", t.request_timeout_s),
        ("margin_s", t.margin_s),
    )
