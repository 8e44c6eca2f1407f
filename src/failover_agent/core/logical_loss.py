"""Which logical slots a failover or a switchover would lose. Pure.

A consumer of the primary's changes (a subscription, a change data capture) reads by a logical slot.
PostgreSQL before 17 keeps those on the primary alone, and later ones bring over only slots that ask for it.
A slot that the next primary lacks is gone: its consumer must begin anew, and what it had not read is not sent
again.
"""

from __future__ import annotations

from collections.abc import Mapping

from failover_agent.core.model import NodeReport, Server, ServerState
from failover_agent.core.other_facts import serving_holder
from failover_agent.core.slots import NOTHING_TOLD, lost_by_promotion
from failover_agent.core.snapshot import Snapshot
from failover_agent.errors import LogicalSlotsAtRisk

Lost = Mapping[str, tuple[str, ...]]  # by the standby that would be promoted


def logical_slots_at_risk(s: Snapshot) -> Lost:
    """As this node knows it; empty where nothing would be lost, or nobody tells."""
    told = {r.name: r.kept for r in s.fresh() if _is_standby(r)}
    if s.mine is not None:
        primary = s.kept
    else:
        holder = serving_holder(s)
        primary = holder.kept if holder else NOTHING_TOLD
        told[s.me.name] = s.kept
    return {
        name: lost
        for name, kept in told.items()
        if kept.oldest_wal and (lost := lost_by_promotion(primary, kept))
    }


def _is_standby(report: NodeReport) -> bool:
    return isinstance(report.server, Server) and report.server.state is ServerState.STANDBY


def errors(lost: Lost) -> tuple[LogicalSlotsAtRisk, ...]:
    return tuple(at_risk(name, slots) for name, slots in sorted(lost.items()))


def at_risk(target: str, slots: tuple[str, ...]) -> LogicalSlotsAtRisk:
    return LogicalSlotsAtRisk.about(
        f"logical slots {', '.join(slots)} of the primary",
        value=f"not ready on {target}: lost when it is promoted",
        expected="failover slots that are synchronised there",
        hint="PostgreSQL 17: make the slot, or the subscription, with failover = true; older ones cannot. See"
        " 'Logical slots' in docs/operations.md.",
    )
