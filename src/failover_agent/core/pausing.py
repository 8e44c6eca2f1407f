"""A pause of failover: while a person does maintenance, no node takes the primary's place by itself.

The lease item says so, and every claim is made under the condition that the very item it judged still stands:
so no claim of anybody else lands from the moment at which the pause does. Three may claim all the same: the
last holder its own lease (a restart in place), the heir whom an ordered switchover names, and the node that a
person orders to take over.

What protects data is no part of it: a holder whose lease ends is shut out and stopped, paused or not.
Where something is not known, each fact takes the side that moves no primary.
"""

from __future__ import annotations

from failover_agent.core import facts as f
from failover_agent.core import other_facts as o
from failover_agent.core.model import LeaseItem
from failover_agent.core.snapshot import Snapshot
from failover_agent.errors import FailoverPaused


def failover_is_paused(s: Snapshot) -> bool:
    """Also while the write that says so has no answer yet: a release after it would carry it on."""
    item = s.item()
    return s.pause_sent or (item is not None and bool(item.paused))


def failover_is_not_paused(s: Snapshot) -> bool:
    return not failover_is_paused(s)


def a_pause_lets_me_claim(s: Snapshot) -> bool:
    """There is none, or the lease was mine last, or an ordered switchover named me."""
    item = s.item()
    if item is None:
        return False
    return not item.paused or f.it_was_offered_to_me(s) or _it_was_mine(s, item)


def _it_was_mine(s: Snapshot, item: LeaseItem) -> bool:
    """By name and instance (L2): a machine that was made anew under the name is no restart in place."""
    if item.holder is None:
        return item.released_by == s.me.name
    return (item.holder.name, item.holder.instance_id) == (s.me.name, s.me.instance_id)


def a_pause_keeps_me_from_claiming(s: Snapshot) -> bool:
    return not a_pause_lets_me_claim(s)


def since(s: Snapshot) -> str:
    item = s.item()
    return f"paused since {item.paused}" if item is not None and item.paused else ""


def problem(s: Snapshot) -> tuple[FailoverPaused, ...]:
    """What every node tells until it is resumed, so that nobody forgets it."""
    item = s.item()
    if item is None or not item.paused:
        return ()
    return (
        FailoverPaused.about(
            "failover of this cluster",
            value=f"paused since {item.paused}",
            expected="on, unless somebody works on the cluster right now",
            hint="`failoverctl resume` when the work is done; until then nobody replaces a lost primary.",
        ),
    )


def why_not_resume_here(s: Snapshot) -> str:
    """Why a node that does not hold the lease may not end the pause itself; empty when it may.

    Its write has another token, so it would take the lease from a holder that lives: only where nobody can.
    """
    item = s.item()
    if item is None:
        return getattr(s.lease, "why", "") or "there is no lease item"
    if not f.the_lease_is_free_for_me(s):
        whose = f"of {item.holder.name}" if item.holder else f"offered to {item.offered_to}"
        return f"the lease {whose} has not ended"
    if bound := o.who_is_bound_by_a_promise(s):
        return f"its holder goes on without the store, by promises of {', '.join(bound)}"
    return ""
