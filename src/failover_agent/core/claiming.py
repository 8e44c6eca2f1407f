"""Who may take the lease: in mode async the election says it (`election`), in quorum and strict seals do.

Where seals decide, neither the lag limit nor a wait for silent members counts: |S| - k + 1 sealed members
hold every acknowledged commit between them, whoever else is silent (S1). So they also let a member claim
before the lease ends (the fast path), which in async mode nobody may.

Where something is not known, each fact takes the side that cannot lose data.
"""

from __future__ import annotations

import math

from failover_agent.core import facts as f
from failover_agent.core import other_facts as o
from failover_agent.core.election import Candidate, Verdict, elect, on_the_line, preference, unfit
from failover_agent.core.lsn import show
from failover_agent.core.model import LeaseItem, LeaseSeen, Server
from failover_agent.core.quorum import seals_needed
from failover_agent.core.seals import Sealed, claimants, counted, why_not_claim
from failover_agent.core.snapshot import Snapshot
from failover_agent.core.suspicion import is_expired, is_suspected

PATIENCE_POLLS = 2  # for how long each of those who may claim lets the one before it


def seals_decide(s: Snapshot) -> bool:
    item = s.item()
    return item is not None and item.mode != "async"


def the_holder_is_missed(s: Snapshot) -> bool:
    """F1 on both ways: no beat in successful reads, and its agent has not told us that it holds the lease."""
    if not isinstance(s.lease, LeaseSeen) or not is_suspected(s.lease, s.timings.suspect_after_s):
        return False
    report = s.report_of(s.lease.item.last_holder)
    return report is None or not report.holds_lease


def i_may_seal(s: Snapshot) -> bool:
    """In S, while it promises something: only then seals of it, mine among them, say anything."""
    item = s.item()
    return item is not None and item.sync.k > 0 and s.me.name in item.sync.members


def the_lease_may_be_taken(s: Snapshot) -> bool:
    """As far as time goes: it is free, or its holder is missed and seals can make up for the time."""
    return f.the_lease_is_free_for_me(s) or (seals_decide(s) and i_may_seal(s) and the_holder_is_missed(s))


def seals_are_missing(s: Snapshot) -> bool:
    """Asked for again and again until they are there: who seals stays sealed, so nothing is asked in vain."""
    if not isinstance(s.lease, LeaseSeen) or not seals_decide(s) or not i_may_seal(s):
        return False
    if f.it_was_offered_to_me(s) and not is_expired(s.lease, s.now):
        return False
    return len(counted(s.lease.item, s.gathered.seals)) < seals_needed(s.lease.item.sync)


def i_am_the_choice(s: Snapshot) -> bool:
    return isinstance(s.lease, LeaseSeen) and not why_not(s)


def why_not(s: Snapshot) -> str:
    """Why this node may not claim a lease that may be taken; empty when it may.

    An offer by name needs no seals: the holder saw that this node has everything before it made it.
    """
    assert isinstance(s.lease, LeaseSeen), "asked only where a lease was seen"
    item = s.lease.item
    if item.claim_needs != "any":
        # P2: its holder may count on that nobody takes it without; whoever cannot gather it leaves it alone.
        return f"a claim needs {item.claim_needs}, which this agent cannot gather: upgrade it"
    if f.it_was_offered_to_me(s) and not is_expired(s.lease, s.now):
        return unfit(o.myself(s), item, s.lag_limit_bytes)
    if seals_decide(s):
        return _why_not_by_seals(s, item)
    waits = [*o.unheard(s), *o.not_started_yet(s), *o.still_starting(s)]
    chosen = verdict(s)
    return "" if chosen.winner == s.me.name and not waits else "another is, or may be, before it"


def verdict(s: Snapshot) -> Verdict:
    """The election among me and those who answer, and may claim (P2)."""
    assert isinstance(s.lease, LeaseSeen), "asked only where a lease was seen"
    item = s.lease.item
    everybody = [o.myself(s), *(o.candidate_of(r) for r in s.fresh())]
    # A single name is what an older agent's claim leaves behind: it must not lock everybody else out.
    named = [c for c in everybody if len(item.may_claim) < 2 or c.name in item.may_claim]
    named = [c for c in named if _may_stand_in_my_way(s, c, item)]
    chosen = elect(named, item, s.lag_limit_bytes, o.last_holders_az(s))
    others = [c.name for c in everybody if c not in named]
    kept_out = ((n, why_not_claim(item, n, ()) or "failover is paused") for n in others)
    return Verdict(chosen.winner, (*chosen.why_not, *kept_out))


def _may_stand_in_my_way(s: Snapshot, other: Candidate, item: LeaseItem) -> bool:
    """Under a pause only who has more WAL than I: who just ranks before me may not claim at all."""
    if not item.paused or other.name == s.me.name:
        return True
    if not isinstance(other.server, Server) or not isinstance(s.server, Server):
        return False
    return on_the_line(other.server, item) > on_the_line(s.server, item)


def _why_not_by_seals(s: Snapshot, item: LeaseItem) -> str:
    if why := unfit(o.myself(s), item, math.inf) or why_not_claim(item, s.me.name, s.gathered.seals):
        return why
    return _whose_turn(s, item) if i_may_seal(s) else _why_not_whole(s, item)


def _whose_turn(s: Snapshot, item: LeaseItem) -> str:
    """Of those who may claim, one after the other: whoever does not within its time is passed over.

    Where nothing but a name puts another before me, I do not wait for it to gather what I have: of two claims
    of one token the store lets the first through, and either has every acknowledged commit.
    """
    ranks = {a.name: _rank(s, a) for a in claimants(item, s.gathered.seals)}
    before = sorted((n for n, rank in ranks.items() if rank < ranks[s.me.name]), key=ranks.__getitem__)
    until = s.gathered.enough_since + len(before) * PATIENCE_POLLS * s.timings.poll_s
    return f"it lets {', '.join(before)} claim first" if s.now < until else ""


def _rank(s: Snapshot, of: Sealed) -> tuple[object, ...]:
    """The most advanced first; among equals, who says nothing about itself comes last. Names do not count."""
    ahead = (-of.timeline, -of.lsn)
    if of.name == s.me.name:
        return (*ahead, False, *preference(o.myself(s), o.last_holders_az(s))[:-1])
    report = s.report_of(of.name)
    if report is None:
        return (*ahead, True)
    return (*ahead, False, *preference(o.candidate_of(report), o.last_holders_az(s))[:-1])


def _why_not_whole(s: Snapshot, item: LeaseItem) -> str:
    """The last holder has every commit it acknowledged, unless its disk is not what it was."""
    assert isinstance(s.server, Server), "checked by unfit"
    has = on_the_line(s.server, item)
    return "" if has >= item.lsn else f"it held the lease at {show(item.lsn)} and has {show(has)}"
