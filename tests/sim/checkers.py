"""What must be true of every history. Pure functions from a history to anomalies; none means safe.

An unusable history raises: a run in which nothing was written proves nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

from failover_agent.core.promises import anybody_may_claim
from tests.sim.history import Ack, ClaimLanded, FenceSeen, History, LeaseWrite, Promotion
from tests.sim.pause_checks import (
    nobody_takes_over_while_paused,
    nothing_is_handed_over_while_paused,
    pauses_are_ordered,
)

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
    """Every answer leaves before first sending + ttl of the latest token of its node that had landed (L3), or
    before question + ttl of promises of everybody else who may claim by the item that stands (P1, P2).
    """
    found = []
    writes = iter(sorted(h.writes, key=lambda x: x.at))
    nxt = next(writes, None)
    until: dict[str, float] = {}
    stands: LeaseWrite | None = None
    for ack in sorted(h.acks, key=lambda a: a.at):
        while nxt is not None and nxt.at <= ack.at:
            if nxt.item.holder is not None and nxt.by:
                until[nxt.by] = nxt.first_sent + nxt.item.ttl_s * (1 + RATE)
            elif nxt.by:
                until[nxt.by] = 0.0  # given away
            stands = nxt
            nxt = next(writes, None)
        end = until.get(ack.node)
        if (end is None or ack.at > end) and not _is_carried(h, ack, stands):
            found.append(f"{ack}, the lease of {ack.node} had ended at {end}")
    return found


def _is_carried(h: History, ack: Ack, stands: LeaseWrite | None) -> bool:
    """Whoever may claim by the item that stands has promised; a write under way may name more to ask."""
    if stands is None or anybody_may_claim(stands.item):
        return False
    promised = {
        p.by for p in h.promises if p.to == ack.node and p.at <= ack.at <= p.asked_at + p.ttl_s * (1 + RATE)
    }
    return bool(promised) and set(stands.item.may_claim) - {ack.node} <= promised


def promises_are_kept(h: History) -> list[str]:
    """Whoever promised sends no claim against that epoch for a ttl, unless its holder gave it away (P1)."""
    found = []
    for claim in h.claims:
        before = [w for w in h.writes if w.at <= claim.at]
        given_away = bool(before) and before[-1].item.holder is None
        for p in h.promises:
            ends = p.at + p.ttl_s * (1 - RATE)
            broken = p.by == claim.by and p.epoch == claim.epoch - 1 and p.at < claim.at < ends
            if broken and not given_away:
                found.append(f"{claim} against {p}")
    return found + _acts_on_a_claim_while_bound(h)


def _acts_on_a_claim_while_bound(h: History) -> list[str]:
    """A claim of one's own that landed, or lands, around the promise is not acted on either (P1)."""
    taken = {c.item.epoch: c for c in h.landed if c.before.holder is not None}
    found = []
    for promotion in h.promotions:
        claim = taken.get(promotion.epoch)
        for p in h.promises if claim is not None and claim.by == promotion.node else ():
            bound = p.at < promotion.at < p.at + p.ttl_s * (1 - RATE)
            if bound and p.by == promotion.node and p.epoch == promotion.epoch - 1:
                found.append(f"{promotion} against {p}")
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
    """A lease that was not given away is claimed only when its last token has been there for a ttl (L4).

    By seals, which make sure that the old holder acknowledges nothing more (F2), once it was missed (F1): the
    claim names the token that was missed, and lands over no other (F5).
    """
    found = []
    for before, after in itertools.pairwise(h.writes):
        if after.item.epoch == before.item.epoch or before.item.holder is None:
            continue
        # Seals are judged by `no_claim_without_seals`, the old holder's gate by `no_two_writers` (F6).
        by_seals = after.by in before.item.sync.members
        stood_s = h.suspect_after_s if by_seals else before.item.ttl_s
        if after.first_sent < before.at + stood_s * (1 - RATE) - EPSILON_S:
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


def no_claim_without_seals(h: History) -> list[str]:
    """Where commits are promised: who claims may, and has |S| - k + 1 seals of exactly that version (S1, F4).

    Not needed by the last holder, nor by the heir whom it named; nor where the
    lease names no system yet: such a cluster was never written to, and is begun again by whoever is there.
    """
    found = []
    for claim in h.landed:
        item, sync = claim.before, claim.before.sync
        promised = item.mode != "async" and item.system_identifier
        if not promised or claim.accepted or _was_offered(claim):
            continue
        if claim.by not in item.may_claim:
            found.append(f"{claim}: only {', '.join(item.may_claim)} may")
        elif claim.by in sync.members:
            needed = len(sync.members) - sync.k + 1
            if claim.by not in claim.sealed or len(claim.sealed) < needed:
                found.append(f"{claim}: {needed} seals are needed, its own among them")
            elif claim.still_fed:
                found.append(f"{claim}: {', '.join(claim.still_fed)} sealed and takes WAL all the same")
    return found


def _was_offered(claim: ClaimLanded) -> bool:
    """However late: the heir had everything when it was named, and nobody served since, as the token says.

    It counts the offer's time from when it first read it, which may be long after.
    """
    item = claim.before
    return item.holder is None and item.offered_to == claim.by


def no_stale_claim(h: History) -> list[str]:
    """Nobody claims beyond the lag that is allowed, or where a better node could be heard (S9)."""
    found = []
    for claim in h.claims:
        if claim.seals_count:
            continue
        if claim.lag > h.lag_limit_bytes:
            found.append(f"{claim}: {h.lag_limit_bytes} bytes are allowed")
        elif claim.better and not claim.offered:
            found.append(f"{claim}: a better node could be heard")
    return found


def readers_end_before_a_promotion(h: History) -> list[str]:
    """No session of a reader and no open gate lives into a promotion (G6)."""
    return [f"{p}" for p in h.promotions if p.sessions or p.gate_open]


def fenced_before_a_promotion(h: History) -> list[str]:
    """Where the policy is to wait: whoever held the lease and did not give it away was seen down before."""
    if not h.waits_for_fences:
        return []
    still: set[str] = set()
    found = []
    before: LeaseWrite | None = None
    happened: list[LeaseWrite | FenceSeen | Promotion] = [*h.writes, *h.fences, *h.promotions]
    for event in sorted(happened, key=lambda x: x.at):
        if isinstance(event, FenceSeen):
            still -= {event.node} if event.down else set()
        elif isinstance(event, Promotion):
            found += [f"{event} while {', '.join(sorted(still))} was not fenced"] if still else []
        else:
            still |= _left_without_a_word(before, event)
            still.discard(event.by)
            before = event
    return found


def _left_without_a_word(before: LeaseWrite | None, after: LeaseWrite) -> set[str]:
    """Who held the lease that `after` claims. A cluster without a system was never written to."""
    if before is None or before.item.holder is None or not before.item.system_identifier:
        return set()
    return {before.item.holder.name} if after.item.epoch > before.item.epoch else set()


def a_handover_loses_nothing(h: History) -> list[str]:
    """Who was given the lease by name has every write that was acknowledged, in every mode (N3)."""
    return [f"{p}" for p in h.promotions if p.handed_over and p.missing]


def nothing_acknowledged_is_lost(h: History) -> list[str]:
    """Where commits are promised, every node that is promoted, and every primary at the end, has all (S1)."""
    claimed = {c.item.epoch: c for c in h.landed}
    found = []
    for p in h.promotions:
        claim = claimed.get(p.epoch)
        if p.missing and claim is not None and claim.before.mode != "async" and not claim.accepted:
            found.append(f"{p} over {claim.before}")
    for end in h.ends:
        promised = _promised_at(h, end.at)
        for node in end.nodes:
            if lost := promised.intersection(node.missing):
                found.append(f"{sorted(lost)} at the end of {end.phase}: {node}")
    return found


def _promised_at(h: History, at: float) -> set[int]:
    """The writes that were acknowledged since every item promised them: nobody is held to mode async (S9)."""
    since = 0.0
    for write in h.writes:
        if write.at > at:
            break
        if write.item.mode == "async":
            since = float("inf")
        elif since == float("inf"):
            since = write.at
    return {ack.number for ack in h.acks if since <= ack.at <= at}


def modes_are_ordered(h: History) -> list[str]:
    """The mode of the lease changes by a person's order alone: no claim and no restart brings another."""
    found = []
    for before, after in itertools.pairwise(h.writes):
        asked = any(o.mode == after.item.mode and o.at <= after.first_sent for o in h.modes_ordered)
        if after.item.mode != before.item.mode and not asked:
            found.append(f"{after} after {before}")
    return found


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
    promises_are_kept,
    epochs_only_grow,
    one_holder_per_epoch,
    no_claim_before_its_time,
    no_claim_against_an_offer,
    no_claim_without_seals,
    no_stale_claim,
    readers_end_before_a_promotion,
    fenced_before_a_promotion,
    a_handover_loses_nothing,
    nothing_acknowledged_is_lost,
    modes_are_ordered,
    pauses_are_ordered,
    nobody_takes_over_while_paused,
    nothing_is_handed_over_while_paused,
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
