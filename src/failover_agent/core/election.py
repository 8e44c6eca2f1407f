"""Who should take a free lease, and for everybody else why not (S9).

Every node ranks for itself; the store's compare-and-set settles what they see differently.
The order is total and ends in the name, so the order in which reports come never matters.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from failover_agent.core.lsn import show
from failover_agent.core.model import LeaseItem, Server, ServerState, Unknown


@dataclass(frozen=True, slots=True)
class Candidate:
    """What counts in an election, of one node."""

    name: str
    az: str
    server: Server | Unknown
    priority: int = 0
    nofailover: bool = False
    reaches_ec2: bool = False
    reads_store: bool = True
    hung: bool = False  # its storage does not answer
    full: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    winner: str  # empty: nobody may
    why_not: tuple[tuple[str, str], ...]  # of everybody else: name, reason


def unfit(candidate: Candidate, lease: LeaseItem, lag_limit_bytes: int) -> str:
    """Why this node may not claim whatever the others have; empty when it may."""
    server = candidate.server
    if isinstance(server, Unknown):
        return f"its PostgreSQL does not answer ({server.why})"
    if server.state is not ServerState.STANDBY:
        return f"its PostgreSQL is {server.state.value}, not a standby"
    if lease.system_identifier and server.system_identifier not in ("", lease.system_identifier):
        return f"its data is of system {server.system_identifier}, the lease's is {lease.system_identifier}"
    if candidate.nofailover:
        return "it is marked nofailover"
    if candidate.hung:
        return "its storage does not answer"
    if not candidate.reads_store:
        return "it does not reach the store, so it cannot claim"
    if server.received_lsn == 0:
        return "its WAL position is unknown"
    if 0 < server.timeline < lease.timeline:
        return f"it is on timeline {server.timeline}, the lease on {lease.timeline}"
    lag = lease.lsn - server.received_lsn
    if lag > lag_limit_bytes:
        return f"it lags {lag} bytes, {lag_limit_bytes} are allowed"
    return ""


def elect(
    candidates: Iterable[Candidate], lease: LeaseItem, lag_limit_bytes: int, prefer_az: str = ""
) -> Verdict:
    """Choose among `candidates`; `prefer_az` is the last holder's, where clients are near."""
    everybody = sorted(candidates, key=lambda c: c.name)
    reasons = {c.name: unfit(c, lease, lag_limit_bytes) for c in everybody}
    fit = sorted((c for c in everybody if not reasons[c.name]), key=lambda c: _rank(c, prefer_az))
    if not fit:
        return Verdict("", tuple(reasons.items()))
    best = fit[0]
    for other in fit[1:]:
        reasons[other.name] = _behind(other, best)
    del reasons[best.name]
    return Verdict(best.name, tuple(reasons.items()))


def _rank(c: Candidate, prefer_az: str) -> tuple[int, bool, bool, int, bool, int, str]:
    """Ascending: most WAL received, has room, reaches EC2 (P5), most replayed, near, priority, name."""
    server = c.server
    assert isinstance(server, Server), "only fit candidates are ranked"
    return (
        -server.received_lsn,
        c.full,
        not c.reaches_ec2,
        -server.replayed_lsn,
        c.az != prefer_az,
        -c.priority,
        c.name,
    )


def _behind(other: Candidate, best: Candidate) -> str:
    assert isinstance(other.server, Server)
    assert isinstance(best.server, Server)
    if other.server.received_lsn < best.server.received_lsn:
        return (
            f"{best.name} has received {show(best.server.received_lsn)},"
            f" it has {show(other.server.received_lsn)}"
        )
    return f"{best.name} has as much WAL and ranks before it"
