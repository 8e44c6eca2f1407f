"""A person's word that a node may take over although others may have had more (PROTOCOL S9).

It settles which loss is borne, never who may write: the lease must be free, and the claim names it.
"""

from __future__ import annotations

from dataclasses import dataclass

from failover_agent.core import claiming, pausing
from failover_agent.core import facts as f
from failover_agent.core import other_facts as o
from failover_agent.core.election import on_the_line
from failover_agent.core.lsn import show
from failover_agent.core.model import LeaseSeen, Server, ServerState
from failover_agent.core.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Loss:
    """What the lease last named, and what of it this node has."""

    epoch: int  # the one that is given up
    lease_timeline: int
    lease_lsn: int
    timeline: int
    lsn: int

    @property
    def bytes(self) -> int:
        return max(0, self.lease_lsn - self.lsn)

    def told(self) -> dict[str, str]:
        return {
            "epoch": str(self.epoch),
            "bytes": str(self.bytes),
            "lease_timeline": str(self.lease_timeline),
            "lease_lsn": show(self.lease_lsn),
            "timeline": str(self.timeline),
            "lsn": show(self.lsn),
        }


def refusal(s: Snapshot) -> str:
    """Why no word of a person may make this node primary now; empty when one may."""
    if s.mine is not None:
        return f"{s.me.name} holds the lease"
    if not isinstance(s.lease, LeaseSeen):
        return getattr(s.lease, "why", "") or "there is no lease item"
    serves = o.serving_holder(s)
    if serves is not None:
        return f"{serves.name} serves as primary"
    if not f.the_lease_is_free_for_me(s):
        holder = s.lease.item.holder
        return f"the lease of {holder.name if holder else s.lease.item.offered_to} has not ended"
    if bound := o.who_is_bound_by_a_promise(s):
        return f"its holder goes on without the store, by promises of {', '.join(bound)}"
    if f.my_data_is_foreign(s):
        return "the data directory belongs to another cluster than the lease"
    if not isinstance(s.server, Server):
        return "PostgreSQL does not answer here"
    if s.server.state is not ServerState.STANDBY:
        return f"PostgreSQL here is {s.server.state.value}, not a standby"
    return ""


def loss(s: Snapshot) -> Loss:
    """Asked only where `refusal` is empty."""
    assert isinstance(s.lease, LeaseSeen)
    assert isinstance(s.server, Server)
    item, server = s.lease.item, s.server
    return Loss(item.epoch, item.timeline, item.lsn, server.timeline, on_the_line(server, item))


def waits_for(s: Snapshot) -> str:
    """What keeps this node from being primary without anybody's word: a pause, or a promise."""
    if pausing.a_pause_keeps_me_from_claiming(s):
        return f"failover is paused ({pausing.since(s)}), so nobody takes over by itself"
    return claiming.why_not(s) if claiming.seals_decide(s) else ""
