"""The rules of the node whose lease it is: from the first initdb to serving, and what makes it give way.

Each names `the_lease_is_mine` itself: only such rules promote, start a primary or serve.
"""

from __future__ import annotations

from failover_agent.core import facts as f
from failover_agent.core import other_facts as o
from failover_agent.core import pausing as u
from failover_agent.core.rules import parts as p
from failover_agent.core.rules.parts import Rule
from failover_agent.core.snapshot import (
    AwaitSyncSet,
    FenceFirst,
    Init,
    LeaveFullDisk,
    PublishIdentity,
    RecoverPrimary,
    Release,
    Serve,
    StartStandby,
    StopPostgres,
    TakeOver,
)

HOLDING = (
    Rule(
        "rest-holding",
        when=(f.the_lease_is_mine, f.nothing_runs_here, f.i_rest_after_a_failure),
        because="the lease is mine and a job failed a moment ago; trying again shortly",
    ),
    Rule(
        "init",
        when=(f.the_lease_is_mine, f.i_may_bootstrap, f.initdb_is_not_done),
        then=p.do(Init()),
        because="I hold the first lease of a new cluster and nobody has data",
    ),
    # Paused: kept, for whoever moves a data directory away puts it back; a release would be final.
    Rule(
        "data-awaited",
        when=(f.the_lease_is_mine, f.i_have_no_data, u.failover_is_paused),
        because="my data directory is gone and failover is paused: put it back, or `failoverctl resume` gives"
        " the lease to a node that has the data",
    ),
    Rule(
        "lost-data",
        when=(f.the_lease_is_mine, f.i_have_no_data),
        then=p.do(Release("", data_lost=True)),
        because="I hold the lease and my data directory is gone; another node may have it",
    ),
    Rule(
        "give-up",
        when=(
            f.the_lease_is_mine,
            f.nobody_is_served_here,
            f.starts_keep_failing,
            u.failover_is_not_paused,
        ),
        then=p.do(*p.SHUT_OUT, StopPostgres(), Release("")),
        because="PostgreSQL neither starts nor promotes here any more; the lease is free for another node",
    ),
    Rule(
        "stuck",
        when=(
            f.the_lease_is_mine,
            f.i_was_primary_in_this_epoch,
            f.i_serve_or_did_when_last_seen,
            f.nothing_moves_here,
            o.an_idle_standby_answers,
            u.failover_is_not_paused,
        ),
        then=p.do(RecoverPrimary()),
        because="PostgreSQL runs and neither commits nor takes a session, while a standby has nothing to do",
    ),
    Rule(
        "recover-in-place",
        when=(f.the_lease_is_mine, f.i_am_stopped, f.i_was_primary_in_this_epoch, u.failover_is_paused),
        then=p.do(RecoverPrimary(in_place=True)),
        because="PostgreSQL is down here and failover is paused: it starts again here, as often as it takes",
    ),
    Rule(
        "recover",
        when=(f.the_lease_is_mine, f.i_am_stopped, f.i_was_primary_in_this_epoch),
        then=p.do(RecoverPrimary()),
        because="PostgreSQL is down here in the epoch in which it is primary",
    ),
    Rule(
        "start-to-promote",
        when=(f.the_lease_is_mine, f.i_am_stopped),
        then=p.do(StartStandby("")),
        because="the lease is mine and PostgreSQL is stopped; it starts in recovery and is promoted then",
    ),
    Rule(
        "fence-first",
        when=(f.the_lease_is_mine, f.i_am_a_standby, f.an_old_holder_is_not_fenced),
        then=lambda s: (FenceFirst(p.epoch(s)),),
        because="I claimed the lease of a node that did not give it away: it is fenced before I am promoted",
        detail=p.who_is_not_fenced,
    ),
    # PostgreSQL ends recovery only when all is replayed, and the round that tells it waits for that within
    # bounds: replay that takes longer would be broken off, and begin again, until this node gives up.
    Rule(
        "await-replay",
        when=(f.the_lease_is_mine, f.i_am_a_standby, f.much_is_not_replayed, f.my_replay_goes_on),
        then=p.take_nothing_more,
        because="the lease is mine and PostgreSQL here still replays what it received; it is promoted then",
        detail=p.what_is_not_replayed,
    ),
    Rule(
        "promote",
        when=(f.the_lease_is_mine, f.i_am_a_standby),
        then=lambda s: (TakeOver(p.epoch(s)),),
        because="the lease is mine and PostgreSQL here is still a standby",
    ),
    Rule(
        "publish",
        when=(f.the_lease_is_mine, f.i_am_primary, f.the_lease_does_not_name_my_line),
        then=p.do(PublishIdentity()),
        because="the lease item must name the system and its timeline before anybody writes",
    ),
    Rule(
        "disk-full",
        when=(
            f.the_lease_is_mine,
            f.i_am_primary,
            f.my_disk_is_full,
            o.a_standby_has_room,
            f.i_do_not_rest,
            u.failover_is_not_paused,
        ),
        then=p.do(LeaveFullDisk()),
        because="my data volume is full and a standby has room",
    ),
    Rule(
        "switchover",
        when=(f.the_lease_is_mine, f.i_am_primary, f.a_switchover_was_ordered),
        then=p.switch_over,
        because="a person ordered a switchover",
    ),
    Rule(
        "await-sync-set",
        when=(f.the_lease_is_mine, f.i_am_primary, f.the_sync_set_is_awaited),
        then=lambda s: (AwaitSyncSet(p.epoch(s)),),
        because="I am primary and the gate stays shut until enough standbys vouch for every commit",
        detail=p.who_is_to_vouch,
    ),
    # Nothing to win by giving up before the lease's end: others cannot know it sooner, and it may be a blip.
    Rule(
        "serve-cut-off",
        when=(f.the_lease_is_mine, f.i_am_primary, f.my_renewal_has_no_answer, o.nobody_answers),
        then=lambda s: (Serve(p.epoch(s)),),
        because="I am primary until the lease ends; neither the store nor any other member answers:"
        " the network of this node is unreachable",
    ),
    Rule(
        "serve",
        when=(f.the_lease_is_mine, f.i_am_primary),
        then=lambda s: (Serve(p.epoch(s)),),
        because="I am primary and the lease is mine",
    ),
    Rule(
        "hold-lease",
        when=(f.the_lease_is_mine,),
        because="the lease is mine; waiting for PostgreSQL to show what it is",
    ),
)
