"""What a node carries for another that cannot reach the store or EC2 itself (PROTOCOL P4, R1).

Invariant: the one who carries gains no right, and gives none. A write of the lease goes on as it came, token
and condition included, and only from the node that it names; so it can do nothing that the asker could not.
"""

from __future__ import annotations

from dataclasses import dataclass

from failover_agent.core.model import LeaseItem, Version


@dataclass(frozen=True, slots=True)
class RouteChange:
    """A change of a route, for as long as the asker may still make it."""

    table_id: str
    vip: str
    interface_id: str
    epoch: int  # in which the asker holds the lease
    within_s: float  # of its lease were left when it asked


def why_not_carry(asker: str, item: LeaseItem, only_if: Version) -> str:
    """Why a write is not carried; empty when it is. Only a holder's own: no claim needs another's way."""
    if asker != item.last_holder:
        return f"{asker} asks to write a lease of {item.last_holder or 'nobody'}"
    if only_if.epoch != item.epoch:
        return f"it claims epoch {item.epoch}; claims are carried by nobody"
    return ""


def why_not_point(asker: str, change: RouteChange, waited_s: float, item: LeaseItem | None) -> str:
    """Why the route is not changed; empty when it is. `item`: the lease, read right before (R1)."""
    if waited_s >= change.within_s:
        return f"it comes {waited_s:.1f} s after it was asked, {change.within_s:.1f} s were left"
    if item is not None and item.epoch > change.epoch:
        return f"the lease is at epoch {item.epoch}, asked was for epoch {change.epoch}"
    if item is not None and item.epoch == change.epoch and (item.holder is None or item.holder.name != asker):
        return f"epoch {item.epoch} is not held by {asker}"
    return ""
