"""The named facts that the rules are made of, about this node and the lease. Each reads one snapshot.

Where a field is Unknown, each fact takes the side that cannot lose data, and says so. What the other members
told is read in `other_facts`.
"""

from __future__ import annotations

from failover_agent.core.fencing import waited_for
from failover_agent.core.liveness import is_stuck
from failover_agent.core.model import LeaseSeen, Server, ServerState, TooNew, Unknown
from failover_agent.core.promises import binds, is_no_answer
from failover_agent.core.promotion import Standing
from failover_agent.core.snapshot import Snapshot
from failover_agent.core.suspicion import is_free

GIVE_UP_AFTER_STARTS = 3  # failed starts or promotions in a row before others get the lease
REPLAY_FIRST_BYTES = 16 << 20  # received and not replayed: more than any promotion should have to replay
REPLAY_STILL_S = 30.0  # no replay for so long: a promotion may yet move it, waiting does not


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


def my_read_has_no_answer(s: Snapshot) -> bool:
    return isinstance(s.lease, Unknown) and is_no_answer(s.lease)


def my_renewal_has_no_answer(s: Snapshot) -> bool:
    """The holder reads nothing: what becomes of its writes is all that it sees of the store."""
    return s.unanswered


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


def initdb_is_not_done(s: Snapshot) -> bool:
    """As far as the lease item says."""
    item = s.mine.item if s.mine else s.item()
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
    item = s.item()
    return item is not None and item.holder is None and item.offered_to == s.me.name


def an_old_holder_is_not_fenced(s: Snapshot) -> bool:
    return bool(not_fenced(s))


def not_fenced(s: Snapshot) -> list[str]:
    """Instances that have to be fenced before this node is promoted; silence of the cloud is no fence."""
    if s.mine is None:
        return []
    return [h.instance_id for h in waited_for(s.fencing, s.mine.item, s.fences, s.now)]


def i_do_not_stream(s: Snapshot) -> bool:
    return isinstance(s.server, Server) and not s.server.streaming


def my_replay_is_held(s: Snapshot) -> bool:
    return isinstance(s.server, Server) and s.server.held != ""


def much_is_not_replayed(s: Snapshot) -> bool:
    return unreplayed(s) > REPLAY_FIRST_BYTES


def unreplayed(s: Snapshot) -> int:
    """Bytes that this node received and has not replayed."""
    return s.server.received_lsn - s.server.replayed_lsn if isinstance(s.server, Server) else 0


def my_replay_goes_on(s: Snapshot) -> bool:
    """By itself, as fast as it can: what is held, paused or told to wait goes on only when it is promoted."""
    free = isinstance(s.server, Server) and not s.server.held and not s.server.replay_waits
    return free and s.replay_still_s < REPLAY_STILL_S


def a_rewind_was_interrupted(s: Snapshot) -> bool:
    return s.half_rewound


def my_promotion_was_abandoned(s: Snapshot) -> bool:
    return s.standing is Standing.ABANDONED


def my_promotion_is_unjudged(s: Snapshot) -> bool:
    return s.standing is Standing.UNJUDGED


def a_switchover_was_ordered(s: Snapshot) -> bool:
    return s.order is not None


def i_serve_or_did_when_last_seen(s: Snapshot) -> bool:
    if isinstance(s.server, Server):
        return i_am_primary(s)
    return s.server_before is not None and s.server_before.state is ServerState.PRIMARY


def nothing_moves_here(s: Snapshot) -> bool:
    """Neither a client's commit nor a fresh session for as long as the limit says (N4)."""
    return is_stuck(s.health, s.limits)


def my_storage_hangs(s: Snapshot) -> bool:
    return s.health.hung


def my_disk_is_full(s: Snapshot) -> bool:
    return s.health.full


def i_do_not_rest(s: Snapshot) -> bool:
    return not s.resting
