"""The named facts that `rules` is made of. Each reads one snapshot and is true or false.

Where a field is Unknown, each fact takes the side that cannot lose data, and says so.
"""

from __future__ import annotations

from collections.abc import Iterator

from failover_agent.core.election import Candidate
from failover_agent.core.fencing import waited_for
from failover_agent.core.liveness import IDLE_BYTES, has_room, is_stuck
from failover_agent.core.model import LeaseSeen, NodeReport, Server, ServerState, TooNew, Unknown
from failover_agent.core.promises import binds
from failover_agent.core.promotion import Standing
from failover_agent.core.rejoin import Way, choose_way
from failover_agent.core.snapshot import Snapshot
from failover_agent.core.suspicion import free_since, is_free

CONNECT_S = 5.0  # how long a running standby may take to stream before its WAL is doubted
STARTING_WAIT_S = 30.0  # how long a free lease waits for who still replays
GIVE_UP_AFTER_STARTS = 3  # failed starts or promotions in a row before others get the lease


def slept_longer_than_the_lease(s: Snapshot) -> bool:
    return s.slept_s > s.timings.ttl_s


def the_lease_is_mine(s: Snapshot) -> bool:
    return s.mine is not None and s.now < s.mine.valid_until


def the_lease_is_not_mine(s: Snapshot) -> bool:
    return not the_lease_is_mine(s)


def i_might_be_writing(s: Snapshot) -> bool:
    """Unknown counts, unless the last look found a standby and only we could have promoted it."""
    if isinstance(s.server, Server):
        return _may_write(s.server)
    if s.server_before is None:
        return (
            s.blind_s >= s.timings.ttl_s
        )  # a fresh agent's first look may be slow; the gate is shut meanwhile
    return _may_write(s.server_before)


def _may_write(server: Server) -> bool:
    starts_as_primary = server.state is ServerState.STARTING and not server.standby_signal
    return server.state is ServerState.PRIMARY or starts_as_primary


def something_of_a_primary_is_left(s: Snapshot) -> bool:
    return s.vips_bound or s.serving_epoch != 0


def postgres_does_not_answer(s: Snapshot) -> bool:
    return isinstance(s.server, Unknown)


def i_am_primary(s: Snapshot) -> bool:
    return s.state() is ServerState.PRIMARY


def i_am_a_standby(s: Snapshot) -> bool:
    return s.state() is ServerState.STANDBY


def i_am_stopped(s: Snapshot) -> bool:
    return s.state() is ServerState.STOPPED


def i_have_no_data(s: Snapshot) -> bool:
    return s.state() is ServerState.ABSENT


def nothing_runs_here(s: Snapshot) -> bool:
    return i_am_stopped(s) or i_have_no_data(s)


def nobody_is_served_here(s: Snapshot) -> bool:
    return i_am_stopped(s) or i_am_a_standby(s)


def i_was_primary_in_this_epoch(s: Snapshot) -> bool:
    return s.mine is not None and s.mine.was_primary


def a_job_runs(s: Snapshot) -> bool:
    return s.job != ""


def i_rest_after_a_failure(s: Snapshot) -> bool:
    return s.resting


def starts_keep_failing(s: Snapshot) -> bool:
    return s.failed_starts >= GIVE_UP_AFTER_STARTS


def my_data_is_foreign(s: Snapshot) -> bool:
    """Of another system than the lease's; or the lease's has no name yet and another node is making it."""
    if not isinstance(s.lease, LeaseSeen) or not isinstance(s.server, Server):
        return False
    ours, item = s.server.system_identifier, s.lease.item
    if not item.system_identifier:
        return bool(ours) and item.holder is not None and item.holder.name != s.me.name
    return bool(ours) and ours != item.system_identifier


def there_is_no_lease_item(s: Snapshot) -> bool:
    return s.lease is None


def the_store_is_silent(s: Snapshot) -> bool:
    return isinstance(s.lease, Unknown)


def the_lease_is_too_new(s: Snapshot) -> bool:
    return isinstance(s.lease, TooNew)


def i_may_bootstrap(s: Snapshot) -> bool:
    return s.bootstrap_token and i_have_no_data(s)


def i_may_adopt(s: Snapshot) -> bool:
    """The token names the very data that lies here, made ready to start as a standby and not running."""
    if not isinstance(s.server, Server) or not s.adopts:
        return False
    prepared = s.server.state is ServerState.STOPPED and s.server.standby_signal
    return prepared and s.server.system_identifier == s.adopts


def the_token_names_other_data(s: Snapshot) -> bool:
    return bool(s.adopts) and isinstance(s.server, Server) and s.server.system_identifier != s.adopts


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


def initdb_is_not_done(s: Snapshot) -> bool:
    """As far as the lease item says."""
    item = s.mine.item if s.mine else (s.lease.item if isinstance(s.lease, LeaseSeen) else None)
    return item is not None and not item.system_identifier


def the_lease_does_not_name_my_line(s: Snapshot) -> bool:
    """Neither its system nor the timeline PostgreSQL is on: positions of two lines would be compared."""
    if s.mine is None or not isinstance(s.server, Server):
        return False
    return not s.mine.item.system_identifier or s.mine.item.timeline < s.server.timeline


def the_sync_set_is_awaited(s: Snapshot) -> bool:
    """Nobody was let in yet in this epoch, or since PostgreSQL was started in it (S2)."""
    if s.mine is None or s.mine.item.mode == "async" or s.serving_epoch == s.mine.epoch:
        return False
    return not s.sync.in_place


def i_am_claiming(s: Snapshot) -> bool:
    return s.claiming


def i_am_bound_by_a_promise(s: Snapshot) -> bool:
    return binds(s.promised, s.now)


def who_is_bound_by_a_promise(s: Snapshot) -> list[str]:
    """Of this node and those who answer: its holder may serve where nobody here sees it (P1)."""
    epoch = s.lease.item.epoch if isinstance(s.lease, LeaseSeen) else 0
    here = [s.me.name] if i_am_bound_by_a_promise(s) else []
    return here + [r.name for r in s.fresh() if r.promised == epoch > 0]


def the_lease_is_free_for_me(s: Snapshot) -> bool:
    return isinstance(s.lease, LeaseSeen) and is_free(s.lease, s.me.name, s.now)


def nobody_lives_by_the_lease(s: Snapshot) -> bool:
    """Expired, released to anybody, or held by an earlier life of this agent: nobody to wait for."""
    if not isinstance(s.lease, LeaseSeen):
        return False
    holder = s.lease.item.holder
    if holder is not None and holder.name == s.me.name and holder.instance_id == s.me.instance_id:
        return True
    return is_free(s.lease, s.me.name, s.now)


def it_was_offered_to_me(s: Snapshot) -> bool:
    item = s.lease.item if isinstance(s.lease, LeaseSeen) else None
    return item is not None and item.holder is None and item.offered_to == s.me.name


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


def _last_holder(s: Snapshot) -> str:
    item = s.lease.item if isinstance(s.lease, LeaseSeen) else None
    return item.holder.name if item and item.holder else ""


def last_holders_az(s: Snapshot) -> str:
    """Where clients were served; empty: not known."""
    return next((m.az for m in (s.me, *s.others) if m.name == _last_holder(s)), "")


def myself(s: Snapshot) -> Candidate:
    nofailover = s.nofailover or my_promotion_was_abandoned(s)
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


def an_old_holder_is_not_fenced(s: Snapshot) -> bool:
    return bool(not_fenced(s))


def not_fenced(s: Snapshot) -> list[str]:
    """Instances that have to be fenced before this node is promoted; silence of the cloud is no fence."""
    if s.mine is None:
        return []
    return [h.instance_id for h in waited_for(s.fencing, s.mine.item, s.fences, s.now)]


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


def i_do_not_stream(s: Snapshot) -> bool:
    return isinstance(s.server, Server) and not s.server.streaming


def my_replay_is_held(s: Snapshot) -> bool:
    return isinstance(s.server, Server) and s.server.held != ""


def a_rewind_was_interrupted(s: Snapshot) -> bool:
    return s.half_rewound


def my_promotion_was_abandoned(s: Snapshot) -> bool:
    return s.standing is Standing.ABANDONED


def my_promotion_is_unjudged(s: Snapshot) -> bool:
    return s.standing is Standing.UNJUDGED


def a_person_accepted_the_loss(s: Snapshot) -> bool:
    accepted = isinstance(s.lease, LeaseSeen) and s.accepted_loss == s.lease.item.epoch > 0
    return accepted and not who_is_bound_by_a_promise(s)


def a_switchover_was_ordered(s: Snapshot) -> bool:
    return s.order is not None


def i_serve_or_did_when_last_seen(s: Snapshot) -> bool:
    if isinstance(s.server, Server):
        return i_am_primary(s)
    return s.server_before is not None and s.server_before.state is ServerState.PRIMARY


def nothing_moves_here(s: Snapshot) -> bool:
    """Neither a client's commit nor a fresh session for as long as the limit says (N4)."""
    return is_stuck(s.health, s.limits)


def an_idle_standby_answers(s: Snapshot) -> bool:
    """A standby of mine that has replayed what it received: it is not the load that holds everything up."""
    return any(
        isinstance(r.server, Server)
        and r.server.upstream == s.me.name
        and r.server.received_lsn - r.server.replayed_lsn <= IDLE_BYTES
        for r in _well_standbys(s)
    )


def my_storage_hangs(s: Snapshot) -> bool:
    return s.health.hung


def another_standby_answers(s: Snapshot) -> bool:
    return any(_well_standbys(s))


def my_disk_is_full(s: Snapshot) -> bool:
    return s.health.full


def a_standby_has_room(s: Snapshot) -> bool:
    return any(
        isinstance(r.server, Server) and r.server.streaming and has_room(r.health, s.limits)
        for r in _well_standbys(s)
    )


def i_do_not_rest(s: Snapshot) -> bool:
    return not s.resting


def _well_standbys(s: Snapshot) -> Iterator[NodeReport]:
    for r in s.fresh():
        if isinstance(r.server, Server) and r.server.state is ServerState.STANDBY and not r.health.hung:
            yield r
