"""Who should take a free lease, and for everybody else why not (S9).

Every node ranks for itself; the store's compare-and-set settles what they see differently.
The order is total and ends in the name, so the order in which reports come never matters.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from failover_agent.core.lsn import show
from failover_agent.core.model import LeaseItem, Server, ServerState, Unknown
from failover_agent.core.promises import anybody_may_claim


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


def unfit(candidate: Candidate, lease: LeaseItem, lag_limit_bytes: float) -> str:
    """Why this node may not claim whatever the others have; empty when it may."""
    server = candidate.server
    if not anybody_may_claim(lease) and candidate.name not in lease.may_claim:
        return f"only {', '.join(lease.may_claim)} may claim"  # P2
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
    if why := _off_the_line(server, lease):
        return why
    lag = lease.lsn - on_the_line(server, lease)
    if lag > lag_limit_bytes:
        return f"it lags {lag} bytes, {lag_limit_bytes} are allowed"
    return ""


def _off_the_line(server: Server, lease: LeaseItem) -> str:
    """Why its WAL is not the lease's; empty when it is, or ends before the lease's timeline began.

    → db2 was promoted and died within a second; nobody had seen its timeline, and all were unfit for ever.
    """
    if not 0 < server.timeline < lease.timeline:
        return ""
    left_at = next((fork.lsn for fork in lease.history if fork.timeline == server.timeline), 0)
    if not left_at:
        return f"it is on timeline {server.timeline}, the lease on {lease.timeline}"
    if server.received_lsn > left_at:
        return (
            f"it has WAL of timeline {server.timeline} up to {show(server.received_lsn)},"
            f" the lease's timeline {lease.timeline} left it at {show(left_at)}"
        )
    return ""


def on_the_line(server: Server, lease: LeaseItem) -> int:
    """How much of its WAL counts: on a timeline that no lease named, nobody was answered (`publish`)."""
    if server.timeline <= lease.timeline:
        return server.received_lsn
    left_at = next((fork.lsn for fork in server.history if fork.timeline == lease.timeline), None)
    return server.received_lsn if left_at is None else min(server.received_lsn, left_at)


def elect(
    candidates: Iterable[Candidate], lease: LeaseItem, lag_limit_bytes: int, prefer_az: str = ""
) -> Verdict:
    """Choose among `candidates`; `prefer_az` is the last holder's, where clients are near."""
    everybody = sorted(candidates, key=lambda c: c.name)
    reasons = {c.name: unfit(c, lease, lag_limit_bytes) for c in everybody}
    fit = sorted((c for c in everybody if not reasons[c.name]), key=lambda c: _rank(c, lease, prefer_az))
    if not fit:
        return Verdict("", tuple(reasons.items()))
    best = fit[0]
    for other in fit[1:]:
        reasons[other.name] = _behind(other, best, lease)
    del reasons[best.name]
    return Verdict(best.name, tuple(reasons.items()))


def _rank(c: Candidate, lease: LeaseItem, prefer_az: str) -> tuple[int, bool, bool, int, bool, int, str]:
    """Ascending: most WAL received, then as `preference` has it."""
    assert isinstance(c.server, Server), "only fit candidates are ranked"
    return (-on_the_line(c.server, lease), *preference(c, prefer_az))


def preference(c: Candidate, prefer_az: str) -> tuple[bool, bool, int, bool, int, str]:
    """Among who has as much WAL: has room, reaches EC2 (P5), most replayed, near, priority, name."""
    replayed = c.server.replayed_lsn if isinstance(c.server, Server) else 0
    return (c.full, not c.reaches_ec2, -replayed, c.az != prefer_az, -c.priority, c.name)


def _behind(other: Candidate, best: Candidate, lease: LeaseItem) -> str:
    assert isinstance(other.server, Server)
    assert isinstance(best.server, Server)
    most, less = on_the_line(best.server, lease), on_the_line(other.server, lease)
    if less < most:
        return f"{best.name} has received {show(most)}, it has {show(less)}"
    return f"{best.name} has as much WAL and ranks before it"
