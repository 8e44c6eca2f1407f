"""What must be true of every history. Pure functions from a history to anomalies; none means safe.

An unusable history raises: a run in which nothing was written proves nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

from tests.sim.history import History, LeaseWrite

# The promise counts by clocks that may run fast or slow by this share (core.timings.CLOCK_RATE_ERROR).
RATE = 0.0005
EPSILON_S = 1e-6


@dataclass(frozen=True, slots=True)
class Anomaly:
    check: str
    what: str  # names the events that prove it


class UnusableHistory(Exception):
    """It does not hold what a judgement needs."""


def no_two_writers(h: History) -> list[str]:
    """Windows of two nodes in which clients could be acknowledged never share an instant."""
    in_order = sorted(h.windows, key=lambda x: (x.begin, x.node))
    found = []
    for i, a in enumerate(in_order):
        for b in itertools.islice(in_order, i + 1, None):
            if b.begin >= a.end:
                break
            if a.node != b.node:
                found.append(f"{a} and {b}")
    return found


def acknowledgements_of_one_line_never_mix(h: History) -> list[str]:
    """After a later epoch's line was acknowledged on another node, nothing of an older line is (G7)."""
    found = []
    newest: tuple[int, str] = (0, "")
    for ack in sorted(h.acks, key=lambda a: a.at):
        if ack.line < newest[0] and ack.node != newest[1]:
            found.append(f"{ack} after line {newest[0]} of {newest[1]}")
        newest = max(newest, (ack.line, ack.node))
    return found


def no_acknowledgement_after_the_lease(h: History) -> list[str]:
    """Every answer leaves before first sending + ttl of the latest token of its node that had landed (L3)."""
    found = []
    writes = iter(sorted(h.writes, key=lambda x: x.at))
    nxt = next(writes, None)
    until: dict[str, float] = {}
    for ack in sorted(h.acks, key=lambda a: a.at):
        while nxt is not None and nxt.at <= ack.at:
            if nxt.item.holder is not None and nxt.by:
                until[nxt.by] = nxt.first_sent + nxt.item.ttl_s * (1 + RATE)
            elif nxt.by:
                until[nxt.by] = 0.0  # given away
            nxt = next(writes, None)
        end = until.get(ack.node)
        if end is None or ack.at > end:
            found.append(f"{ack}, the lease of {ack.node} had ended at {end}")
    return found


def epochs_only_grow(h: History) -> list[str]:
    found = []
    for before, after in itertools.pairwise(h.writes):
        if after.item.epoch < before.item.epoch:
            found.append(f"{after} after {before}")
    return found


def one_holder_per_epoch(h: History) -> list[str]:
    found = []
    holder: dict[int, LeaseWrite] = {}
    for write in h.writes:
        if write.item.holder is None:
            continue
        first = holder.setdefault(write.item.epoch, write)
        assert first.item.holder is not None
        if first.item.holder.name != write.item.holder.name:
            found.append(f"{write} and {first}")
    return found


def no_claim_before_its_time(h: History) -> list[str]:
    """A lease that was not given away is claimed only when its last token has been there for a ttl (L4)."""
    found = []
    for before, after in itertools.pairwise(h.writes):
        if after.item.epoch == before.item.epoch or before.item.holder is None:
            continue
        if after.first_sent < before.at + before.item.ttl_s * (1 - RATE) - EPSILON_S:
            found.append(f"{after} sent at {after.first_sent:.3f} against {before}")
    return found


def no_claim_against_an_offer(h: History) -> list[str]:
    """For one ttl only the node that was named may claim what was offered."""
    found = []
    for before, after in itertools.pairwise(h.writes):
        offered = before.item.offered_to
        if after.item.epoch == before.item.epoch or before.item.holder is not None or not offered:
            continue
        early = after.first_sent < before.at + before.item.ttl_s * (1 - RATE) - EPSILON_S
        if after.by != offered and early:
            found.append(f"{after} against the offer {before}")
    return found


def no_stale_claim(h: History) -> list[str]:
    """Nobody claims beyond the lag that is allowed, or where a better node could be heard (S9)."""
    found = []
    for claim in h.claims:
        if claim.lag > h.lag_limit_bytes:
            found.append(f"{claim}: {h.lag_limit_bytes} bytes are allowed")
        elif claim.better and not claim.offered:
            found.append(f"{claim}: a better node could be heard")
    return found


def readers_end_before_a_promotion(h: History) -> list[str]:
    """No session of a reader and no open gate lives into a promotion (G6)."""
    return [f"{p}" for p in h.promotions if p.sessions or p.gate_open]


def a_handover_loses_nothing(h: History) -> list[str]:
    """Who was given the lease by name has every write that was acknowledged, in every mode (N3)."""
    return [f"{p}" for p in h.promotions if p.handed_over and p.missing]


def nothing_acknowledged_is_lost(h: History) -> list[str]:
    """With synchronous standbys every promoted node, and every node that is whole, has all of it (S1)."""
    if h.mode == "async":
        return []
    lost = [f"{p}" for p in h.promotions if p.missing]
    return lost + [f"{n} at the end of {e.phase}" for e in h.ends for n in e.nodes if e.whole and n.missing]


def copies_are_copies(h: History) -> list[str]:
    """A standby that streams has the bytes of its primary, not others of equal length (N2)."""
    return [
        f"{n} at the end of {e.phase}"
        for e in h.ends
        for n in e.nodes
        if n.streaming and not n.same_as_primary
    ]


def no_forbidden_order(h: History) -> list[str]:
    return [f"{m}" for m in h.mistakes]


def no_agent_dies(h: History) -> list[str]:
    return [f"{d}" for d in h.deaths]


def healed_becomes_whole(h: History) -> list[str]:
    """Once faults stop: one primary, every route at it, every other node streams, within the bound."""
    return [f"not whole after {e.waited_s:g} s: {e}" for e in h.ends if e.phase == "liveness" and not e.whole]


def calm_changes_nothing(h: History) -> list[str]:
    """Blips shorter than promised never change the primary."""
    found = []
    for phase in h.phases:
        if phase.name == "calm":
            found += [
                f"{x} while only blips happened"
                for before, x in itertools.pairwise(h.writes)
                if phase.begin <= x.at <= phase.end and x.item.epoch != before.item.epoch
            ]
            found += [f"{p}" for p in h.promotions if phase.begin <= p.at <= phase.end]
    return found


CHECKS: tuple[Callable[[History], list[str]], ...] = (
    no_two_writers,
    acknowledgements_of_one_line_never_mix,
    no_acknowledgement_after_the_lease,
    epochs_only_grow,
    one_holder_per_epoch,
    no_claim_before_its_time,
    no_claim_against_an_offer,
    no_stale_claim,
    readers_end_before_a_promotion,
    a_handover_loses_nothing,
    nothing_acknowledged_is_lost,
    copies_are_copies,
    no_forbidden_order,
    no_agent_dies,
    healed_becomes_whole,
    calm_changes_nothing,
)


def judge(h: History) -> list[Anomaly]:
    """Every anomaly, the most dangerous first. Raises UnusableHistory."""
    found = [Anomaly(check.__name__, what) for check in CHECKS for what in check(h)]
    if not found and (not h.acks or not h.writes or {p.name for p in h.phases} < {"safety", "liveness"}):
        raise UnusableHistory(f"seed {h.seed}: {len(h.acks)} acknowledgements, {len(h.writes)} lease writes")
    return found
