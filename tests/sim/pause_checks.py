"""What a pause of failover promises, as checkers of a history; they stand in `checkers.CHECKS`."""

from __future__ import annotations

import itertools

from tests.sim.history import History, LeaseWrite

LATE_S = 30.0  # an order to hand over may still be carried out this long after nobody waits for it


def pauses_are_ordered(h: History) -> list[str]:
    """Failover is paused, and resumed, by a person's order alone; every other write carries it on."""
    found = []
    for before, after in itertools.pairwise(h.writes):
        was, now = before.item.paused, after.item.paused
        asked = any(o.pause == bool(now) and o.at <= after.first_sent for o in h.pauses_ordered)
        if was != now and (not asked or (was and now)):
            found.append(f"{after} after {before}")
    return found


def nobody_takes_over_while_paused(h: History) -> list[str]:
    """Over an item that says so only its last holder claims, its heir, and whom a person orders to."""
    found = []
    for claim in h.landed:
        item = claim.before
        heir = item.holder is None and item.offered_to == claim.by
        if item.paused and claim.by != item.last_holder and not heir and not claim.accepted:
            found.append(f"{claim}")
    return found


def nothing_is_handed_over_while_paused(h: History) -> list[str]:
    """A holder gives the lease away by a person's order alone, which also makes its heir an ordered one."""
    found = []
    for before, after in itertools.pairwise(h.writes):
        given = before.item.holder is not None and after.item.holder is None and after.item.paused
        if given and not _was_ordered(h, after):
            found.append(f"{after} after {before}")
    return found


def _was_ordered(h: History, release: LeaseWrite) -> bool:
    return any(o.begin <= release.first_sent <= o.end + LATE_S for o in h.handovers_ordered)
