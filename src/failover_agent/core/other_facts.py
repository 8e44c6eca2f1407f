"""The named facts about the other members, by what they told, and how this node stands beside them.

As in `facts`: silence and Unknown take the side that cannot lose data.
"""

from __future__ import annotations

from collections.abc import Iterator

from failover_agent.core import facts as f
from failover_agent.core.election import Candidate
from failover_agent.core.liveness import IDLE_BYTES, has_room
from failover_agent.core.model import LeaseSeen, NodeReport, Server, ServerState
from failover_agent.core.rejoin import Way, choose_way
from failover_agent.core.snapshot import Snapshot
from failover_agent.core.suspicion import free_since

CONNECT_S = 5.0  # how long a running standby may take to stream before its WAL is doubted
ASTRAY_S = 3.0  # so long at least it is seen to wait in vain
STARTING_WAIT_S = 30.0  # how long a free lease waits for who still replays
READY_WAIT_S = 5.0  # and for who has yet to start, which it does as soon as it sees the lease free


def nobody_answers(s: Snapshot) -> bool:
    """No other member. With a silent store as well, the way is broken here rather than everywhere."""
    return bool(s.others) and not any(s.fresh())


def everybody_has_no_data(s: Snapshot) -> bool:
    """Silence is not emptiness: a node that does not answer may hold the data (L6)."""
    return not missing_for_bootstrap(s)


def missing_for_bootstrap(s: Snapshot) -> list[str]:
    """The members that have not said that they are empty.

    Not counted: a silent node that held a lease without a system. Whatever it has was never
    written to, because `publish` comes before `serve`.
    """
    return [name for name in _who_counts(s) if not _says_it_is_empty(s.report_of(name))]


def _who_counts(s: Snapshot) -> list[str]:
    lost = _last_holder(s)
    return [m.name for m in s.others if m.name != lost or s.report_of(m.name) is not None]


def _says_it_is_empty(report: NodeReport | None) -> bool:
    server = report.server if report else None
    return isinstance(server, Server) and server.state is ServerState.ABSENT


def somebody_has_data(s: Snapshot) -> bool:
    servers = [s.server, *(r.server for r in s.fresh())]
    return any(isinstance(x, Server) and x.state is not ServerState.ABSENT for x in servers)


def i_am_first_by_name(s: Snapshot) -> bool:
    return all(s.me.name < name for name in _who_counts(s))


def who_is_bound_by_a_promise(s: Snapshot) -> list[str]:
    """Of this node and those who answer: its holder may serve where nobody here sees it (P1)."""
    item = s.item()
    epoch = item.epoch if item else 0
    here = [s.me.name] if f.i_am_bound_by_a_promise(s) else []
    return here + [r.name for r in s.fresh() if r.promised == epoch > 0]


def unheard(s: Snapshot) -> list[str]:
    """Members still worth a short wait: silent, not the lost holder, not asked again since."""
    assert isinstance(s.lease, LeaseSeen), "asked only where a lease was seen"
    if s.now >= free_since(s.lease, s.me.name) + s.timings.ask_s:
        return []
    return [m.name for m in s.others if m.name != _last_holder(s) and s.report_of(m.name) is None]


def still_starting(s: Snapshot) -> list[str]:
    """Members that replay their own WAL: what they have is told only when they are through.

    → the whole cluster lost power; the node that had least to replay took over, and the rest was lost.
    """
    assert isinstance(s.lease, LeaseSeen), "asked only where a lease was seen"
    if s.now >= free_since(s.lease, s.me.name) + STARTING_WAIT_S:
        return []
    return [r.name for r in s.fresh() if _may_yet_show_more(r)]


def _may_yet_show_more(r: NodeReport) -> bool:
    starts = isinstance(r.server, Server) and r.server.state is ServerState.STARTING
    return starts and r.reads_store and not r.nofailover


def not_started_yet(s: Snapshot) -> list[str]:
    """Members that are stopped and may have more WAL than this node: they start to be chosen, as it did.

    → the whole cluster lost power; who was first to see the lease free took it, before the others ran.
    """
    assert isinstance(s.lease, LeaseSeen), "asked only where a lease was seen"
    if s.now >= free_since(s.lease, s.me.name) + READY_WAIT_S:
        return []
    mine = s.server.received_lsn if isinstance(s.server, Server) else 0
    gone = s.lease.item.last_holder
    return [r.name for r in s.fresh() if r.name != gone and _may_start_with_more(r, mine)]


def _may_start_with_more(r: NodeReport, than: int) -> bool:
    """0: its end was not read yet."""
    if not isinstance(r.server, Server) or r.server.state is not ServerState.STOPPED:
        return False
    return (r.server.received_lsn == 0 or r.server.received_lsn > than) and r.reads_store and not r.nofailover


def _last_holder(s: Snapshot) -> str:
    item = s.item()
    return item.holder.name if item and item.holder else ""


def last_holders_az(s: Snapshot) -> str:
    """Where clients were served; empty: not known."""
    return next((m.az for m in (s.me, *s.others) if m.name == _last_holder(s)), "")


def myself(s: Snapshot) -> Candidate:
    nofailover = s.nofailover or f.my_promotion_was_abandoned(s)
    health = s.health
    return Candidate(
        s.me.name,
        s.me.az,
        s.server,
        s.priority,
        nofailover,
        s.reaches_ec2,
        hung=health.hung,
        full=health.full,
    )


def candidate_of(r: NodeReport) -> Candidate:
    """What counts in an election, of a node that told it itself."""
    return Candidate(
        r.name,
        r.az,
        r.server,
        r.priority,
        r.nofailover,
        r.reaches_ec2,
        r.reads_store,
        r.health.hung,
        r.health.full,
    )


def serving_holder(s: Snapshot) -> NodeReport | None:
    """Another node that holds the lease, says so itself, and is primary on the timeline the lease names.

    Whoever followed a timeline that no lease names could meet its twin: the next to be promoted
    begins above those that were named, not above those that were not (N2).
    """
    holder = _last_holder(s)
    report = s.report_of(holder) if holder and holder != s.me.name else None
    if report is None or not report.holds_lease or not isinstance(report.server, Server):
        return None
    named = isinstance(s.lease, LeaseSeen) and report.server.timeline <= s.lease.item.timeline
    return report if named and report.server.state is ServerState.PRIMARY else None


def another_node_serves(s: Snapshot) -> bool:
    return serving_holder(s) is not None


def my_wal_has_diverged(s: Snapshot) -> bool:
    holder = serving_holder(s)
    if holder is None or not isinstance(s.server, Server) or not isinstance(holder.server, Server):
        return False
    if s.server.streaming and s.server.upstream == holder.name:
        return False  # PostgreSQL itself refuses to stream over a fork
    if s.server.state is ServerState.STARTING:
        return False  # where its WAL ends is known when it is through
    if s.server.state is ServerState.STANDBY and s.unstreamed_s < CONNECT_S:
        return False  # just started: its timeline is the control file's until WAL arrives
    return choose_way(s.server, s.server.received_lsn, holder.server) is Way.REWIND


def i_follow_somebody_else(s: Snapshot) -> bool:
    holder = serving_holder(s)
    return holder is not None and isinstance(s.server, Server) and s.server.upstream != holder.name


def i_start_for_somebody_else(s: Snapshot) -> bool:
    """Or for nobody. Whoever replays its own WAL gets ready all the same; who lacks some waits for ever."""
    starts = isinstance(s.server, Server) and s.server.state is ServerState.STARTING
    return starts and not f.i_might_be_writing(s) and i_follow_somebody_else(s)


def i_started_astray(s: Snapshot) -> bool:
    return i_start_for_somebody_else(s) and s.astray_s >= ASTRAY_S


def my_copy_can_never_be_whole(s: Snapshot) -> bool:
    """Its own WAL ends before it is consistent, and the primary's line left before it would have been.

    → the primary that a node was rewound against died before it had sent the rest. PostgreSQL ends at once
    where it should go over, and pg_rewind would read the changed pages from WAL that is not there.
    """
    holder = serving_holder(s)
    if holder is None or not f.i_am_stopped(s):
        return False
    assert isinstance(s.server, Server), "it is seen as stopped"
    assert isinstance(holder.server, Server), "it is seen as primary"
    broken_off = 0 < s.server.received_lsn < s.server.whole_from
    return broken_off and choose_way(s.server, s.server.whole_from, holder.server) is Way.REWIND


def a_person_accepted_the_loss(s: Snapshot) -> bool:
    accepted = isinstance(s.lease, LeaseSeen) and s.accepted_loss == s.lease.item.epoch > 0
    return accepted and not who_is_bound_by_a_promise(s)


def an_idle_standby_answers(s: Snapshot) -> bool:
    """A standby of mine that has replayed what it received: it is not the load that holds everything up."""
    return any(
        isinstance(r.server, Server)
        and r.server.upstream == s.me.name
        and r.server.received_lsn - r.server.replayed_lsn <= IDLE_BYTES
        for r in _well_standbys(s)
    )


def another_standby_answers(s: Snapshot) -> bool:
    return any(_well_standbys(s))


def a_standby_has_room(s: Snapshot) -> bool:
    return any(
        isinstance(r.server, Server) and r.server.streaming and has_room(r.health, s.limits)
        for r in _well_standbys(s)
    )


def _well_standbys(s: Snapshot) -> Iterator[NodeReport]:
    for r in s.fresh():
        if isinstance(r.server, Server) and r.server.state is ServerState.STANDBY and not r.health.hung:
            yield r
