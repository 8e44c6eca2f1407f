"""What this node does next.

Everything that can change a node's course is in this file; nothing here touches the
world. Rules are tried from the top and the first that holds wins, so a rule may rely on
every rule above it having failed.

Invariant: no rule below `fence` can be reached by a node that might be writing without a
lease it can prove, and only rules that name `the_lease_is_mine` promote, start a primary
or serve. tests/unit/core/test_rules_exhaustive.py enumerates this.
"""

from __future__ import annotations

from failover_agent.core import claiming as c
from failover_agent.core import facts as f
from failover_agent.core import pausing as u
from failover_agent.core import rule_parts as p
from failover_agent.core import slot_facts as k
from failover_agent.core.rule_parts import Decision, Rule
from failover_agent.core.snapshot import (
    AwaitSyncSet,
    Clone,
    DropBeliefs,
    FenceFirst,
    Follow,
    Init,
    LeaveFullDisk,
    LeaveHungStorage,
    PublishIdentity,
    RecoverPrimary,
    Release,
    Rewind,
    Serve,
    ShutGate,
    Snapshot,
    StartStandby,
    StopPostgres,
    TakeOver,
    UnbindVips,
)

SHUT_OUT = (ShutGate(), UnbindVips())

RULES = (
    Rule(
        "woke",
        when=(f.slept_longer_than_the_lease,),
        then=p.do(DropBeliefs()),
        because="this process slept longer than a lease lasts and believes nothing it knew",
    ),
    Rule(
        "fence",
        when=(f.the_lease_is_not_mine, f.i_might_be_writing),
        then=p.do(*SHUT_OUT, StopPostgres()),
        because="PostgreSQL here may accept writes and I cannot prove that I hold the lease",
    ),
    Rule(
        "tidy",
        when=(f.the_lease_is_not_mine, f.something_of_a_primary_is_left),
        then=p.do(*SHUT_OUT),
        because="I do not hold the lease and still had an open gate or a virtual address",
    ),
    # Above `busy`: a job that hangs on the volume must not keep the lease for ever.
    Rule(
        "leave-hung-storage",
        when=(f.the_lease_is_mine, f.my_storage_hangs, f.another_standby_answers, u.failover_is_not_paused),
        then=p.do(LeaveHungStorage()),
        because="my storage does not answer, WAL does not reach it, and a standby could go on",
        detail=p.which_volume,
    ),
    Rule("busy", when=(f.a_job_runs,), because="a long job runs here", detail=lambda s: s.job),
    Rule(
        "blind",
        when=(f.the_lease_is_not_mine, f.postgres_does_not_answer),
        because="PostgreSQL does not tell its state; the gate is shut",
    ),
    Rule(
        "foreign-data",
        when=(f.the_lease_is_not_mine, f.my_data_is_foreign),
        then=p.stop_a_standby,
        because="the data directory belongs to another cluster than the lease; nothing runs on it, hands off",
    ),
    Rule(
        "storage-hung",
        when=(f.the_lease_is_not_mine, f.my_storage_hangs),
        because="my storage does not answer; nothing here touches it until it does",
        detail=p.which_volume,
    ),
    # The lease is mine.
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
        then=p.do(*SHUT_OUT, StopPostgres(), Release("")),
        because="PostgreSQL neither starts nor promotes here any more; the lease is free for another node",
    ),
    Rule(
        "stuck",
        when=(
            f.the_lease_is_mine,
            f.i_was_primary_in_this_epoch,
            f.i_serve_or_did_when_last_seen,
            f.nothing_moves_here,
            f.an_idle_standby_answers,
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
            f.a_standby_has_room,
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
    # The lease is not mine; nothing here can write.
    Rule(
        "claiming",
        when=(f.i_am_claiming,),
        because="a claim was sent and its fate is not known yet",
    ),
    Rule(
        "bootstrap",
        when=(f.there_is_no_lease_item, f.i_may_bootstrap, f.everybody_has_no_data, f.i_am_first_by_name),
        then=p.claim,
        because="a new cluster: there is a bootstrap token, no lease, and no data on any member",
    ),
    Rule(
        "bootstrap-wait",
        when=(f.there_is_no_lease_item, f.i_may_bootstrap, lambda s: not f.somebody_has_data(s)),
        because="a new cluster waits until every member has said that it is empty; the first by name begins",
        detail=p.who_is_missing,
    ),
    Rule(
        "adopt",
        when=(f.there_is_no_lease_item, f.i_may_adopt, f.everybody_has_no_data),
        then=p.claim,
        because="a person gave this node's data to a new cluster, there is no lease,"
        " and no other member has data",
    ),
    Rule(
        "adopt-wait",
        when=(f.there_is_no_lease_item, f.i_may_adopt),
        because="adopting this node's data waits until every other member has said that it is empty",
        detail=lambda s: "waiting for " + ", ".join(f.missing_for_bootstrap(s)),
    ),
    Rule(
        "adopt-refused",
        when=(f.there_is_no_lease_item, f.the_token_names_other_data),
        because="ALARM: the data to adopt is not the data that lies here; nothing is touched",
        detail=p.both_systems,
    ),
    Rule(
        "lease-missing",
        when=(f.there_is_no_lease_item,),
        because="ALARM: the store has no lease item for this cluster; nothing is touched",
    ),
    Rule(
        "outdated",
        when=(f.the_lease_is_too_new,),
        because="ALARM: the lease is of a newer form than this agent knows; upgrade the agent of this node",
        detail=lambda s: getattr(s.lease, "why", ""),
    ),
    Rule(
        "store-silent",
        when=(f.the_store_is_silent,),
        because="the store does not answer; silence is no free lease",
        detail=lambda s: getattr(s.lease, "why", ""),
    ),
    Rule(
        "promised",
        when=(f.the_lease_is_free_for_me, f.i_am_bound_by_a_promise),
        because="the lease was not renewed, and I promised its holder not to take it for one ttl",
        detail=p.whom_i_promised,
    ),
    Rule(
        "bootstrap-again",
        when=(
            f.initdb_is_not_done,
            f.i_may_bootstrap,
            f.the_lease_is_free_for_me,
            f.everybody_has_no_data,
            f.i_am_first_by_name,
            u.a_pause_lets_me_claim,
        ),
        then=p.claim,
        because="the node that began the new cluster is gone, and no member has data",
    ),
    Rule(
        "claim",
        when=(c.the_lease_may_be_taken, f.i_am_a_standby, u.a_pause_lets_me_claim, c.i_am_the_choice),
        then=p.claim,
        because="the lease is free, or its holder is missed and sealed off, and nobody has more than I have",
    ),
    # Above `campaign`: a person's word is for where seals cannot be had.
    Rule(
        "claim-with-loss",
        when=(f.the_lease_is_free_for_me, f.i_am_a_standby, f.a_person_accepted_the_loss),
        then=p.claim,
        because="the lease is free and a person accepted what is lost if I take it",
    ),
    # Above `campaign`: nobody is sealed off for who may not claim.
    Rule(
        "paused",
        when=(c.the_lease_may_be_taken, f.i_am_a_standby, u.a_pause_keeps_me_from_claiming),
        because="the lease could be taken and failover is paused: only its last holder takes it by itself;"
        " `failoverctl resume` lets others, `failoverctl failover` orders one to",
        detail=u.since,
    ),
    # Above everything that follows a primary: while it is missed there is none to follow.
    Rule(
        "campaign",
        when=(c.the_lease_may_be_taken, f.i_am_a_standby, c.seals_are_missing),
        then=p.gather,
        because="the primary is missed; members of the sync set are asked to take nothing more from it",
        detail=p.who_is_not_sealed,
    ),
    Rule(
        "not-me",
        when=(c.the_lease_may_be_taken, f.i_am_a_standby),
        because="the lease could be taken and I am not the one to claim it",
        detail=p.why_not_me,
    ),
    Rule(
        "rest",
        when=(f.i_rest_after_a_failure,),
        because="a job failed a moment ago; trying again shortly",
    ),
    Rule(
        "clone-again",
        when=(f.a_rewind_was_interrupted, f.another_node_serves),
        then=lambda s: (Clone(p.holder(s), over_existing=True),),
        because="a rewind did not end here; the data directory is set aside and cloned anew",
    ),
    Rule(
        "half-rewound",
        when=(f.a_rewind_was_interrupted,),
        because="a rewind did not end here; waiting for a primary to clone from",
    ),
    Rule(
        "clone-abandoned",
        when=(f.my_promotion_was_abandoned, f.another_node_serves),
        then=lambda s: (Clone(p.holder(s), over_existing=True),),
        because="I was promoted once and the cluster's history went on without it: WAL that looks alike"
        " is not the same; the data directory is set aside and cloned anew",
    ),
    Rule(
        "abandoned",
        when=(f.my_promotion_was_abandoned,),
        because="my own promotion is not in the cluster's history; waiting for a primary to clone from",
    ),
    Rule(
        "unjudged",
        when=(f.my_promotion_is_unjudged, f.another_node_serves),
        because="I was promoted once; waiting until the history says whether the cluster went on from there",
    ),
    Rule(
        "clone",
        when=(f.i_have_no_data, f.another_node_serves),
        then=lambda s: (Clone(p.holder(s), over_existing=False),),
        because="I have no data and another node serves",
    ),
    Rule(
        "no-data",
        when=(f.i_have_no_data,),
        because="I have no data; waiting for a primary to clone from",
    ),
    Rule(
        "rewind",
        when=(f.another_node_serves, f.my_wal_has_diverged),
        then=lambda s: (Rewind(p.holder(s)),),
        because="my WAL goes beyond the point where the primary's timeline began",
    ),
    Rule(
        "return",
        when=(f.i_am_stopped, f.another_node_serves),
        then=lambda s: (StartStandby(p.holder(s)),),
        because="another node serves and my WAL fits under it",
    ),
    Rule(
        "stand-ready",
        when=(f.i_am_stopped, f.nobody_lives_by_the_lease),
        then=p.do(StartStandby("")),
        because="nobody serves; in recovery I can be chosen",
    ),
    Rule(
        "follow",
        when=(f.i_am_a_standby, f.another_node_serves, f.i_follow_somebody_else),
        then=lambda s: (Follow(p.holder(s)),),
        because="another node serves and I follow somebody else",
    ),
    # Only without a stream: while I receive, commits may wait for me, and a person chooses the moment.
    Rule(
        "restart-held",
        when=(f.i_am_a_standby, f.another_node_serves, f.i_do_not_stream, f.my_replay_is_held),
        then=p.do(StopPostgres()),
        because="PostgreSQL holds my replay, so it cannot follow the primary to where I would stream from;"
        " it starts again, with settings as the primary has them",
        detail=p.what_holds_replay,
    ),
    Rule(
        "without-slot",
        when=(f.i_am_a_standby, f.another_node_serves, k.my_slot_may_stop_me),
        then=lambda s: (Follow(p.holder(s)),),
        because="I do not stream by my slot at the primary; a slot must not stop me, I try without",
    ),
    Rule(
        "clone-wal-gone",
        when=(f.i_am_a_standby, f.another_node_serves, f.i_do_not_stream, k.the_wal_i_need_is_gone),
        then=lambda s: (Clone(p.holder(s), over_existing=True),),
        because="the primary no longer has the WAL I need, and no archive brings it; the data directory is"
        " set aside and cloned anew",
        detail=p.which_wal,
    ),
    Rule(
        "use-slot",
        when=(f.i_am_a_standby, f.another_node_serves, k.the_primary_has_my_slot),
        then=p.follow_by_my_slot,
        because="the primary has a slot for me, so it keeps the WAL I need while I am away",
    ),
    Rule(
        "connecting",
        when=(f.i_am_a_standby, f.another_node_serves, f.i_do_not_stream),
        because="I follow the primary and do not stream yet",
    ),
    Rule("following", when=(f.i_am_a_standby, f.another_node_serves), because="I stream from the primary"),
    Rule("hold", when=(), because="nothing to change"),
)


def decide(seen: Snapshot) -> Decision:
    """Choose the next step. Same snapshot, same decision, on every node."""
    known: dict[p.Fact, bool] = {}  # facts are pure, and many rules ask the same
    for rule in RULES:
        for fact in rule.when:
            if fact not in known:
                known[fact] = fact(seen)
            if not known[fact]:
                break
        else:
            detail = rule.detail(seen)
            because = f"{rule.because}: {detail}" if detail else rule.because
            return Decision(rule.name, rule.then(seen), because)
    raise AssertionError("the last rule must hold for every snapshot")
