"""The rules of the way back under another node's primary: by what was lost, and by WAL or by a clone.

The lease is not mine here, and is not for me to take.
"""

from __future__ import annotations

from failover_agent.core import facts as f
from failover_agent.core import other_facts as o
from failover_agent.core import slot_facts as k
from failover_agent.core.rules import parts as p
from failover_agent.core.rules.parts import Rule
from failover_agent.core.snapshot import (
    Clone,
    Follow,
    Rewind,
    StartStandby,
    StopPostgres,
)

FOLLOWING = (
    Rule(
        "rest",
        when=(f.i_rest_after_a_failure,),
        because="a job failed a moment ago; trying again shortly",
    ),
    Rule(
        "clone-again",
        when=(f.a_rewind_was_interrupted, o.another_node_serves),
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
        when=(f.my_promotion_was_abandoned, o.another_node_serves),
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
        when=(f.my_promotion_is_unjudged, o.another_node_serves),
        because="I was promoted once; waiting until the history says whether the cluster went on from there",
    ),
    Rule(
        "clone",
        when=(f.i_have_no_data, o.another_node_serves),
        then=lambda s: (Clone(p.holder(s), over_existing=False),),
        because="I have no data and another node serves",
    ),
    Rule(
        "no-data",
        when=(f.i_have_no_data,),
        because="I have no data; waiting for a primary to clone from",
    ),
    Rule(
        "clone-incomplete",
        when=(f.i_am_stopped, o.another_node_serves, o.my_copy_can_never_be_whole),
        then=lambda s: (Clone(p.holder(s), over_existing=True),),
        because="I was copied from a primary that is lost, and lack WAL that only it had; the data directory"
        " is set aside and cloned anew",
        detail=p.what_it_lacks,
    ),
    Rule(
        "rewind",
        when=(o.another_node_serves, o.my_wal_has_diverged),
        then=lambda s: (Rewind(p.holder(s)),),
        because="my WAL goes beyond the point where the primary's timeline began",
    ),
    Rule(
        "return",
        when=(f.i_am_stopped, o.another_node_serves),
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
        when=(f.i_am_a_standby, o.another_node_serves, o.i_follow_somebody_else),
        then=lambda s: (Follow(p.holder(s)),),
        because="another node serves and I follow somebody else",
    ),
    # Only without a stream: while I receive, commits may wait for me, and a person chooses the moment.
    Rule(
        "restart-held",
        when=(f.i_am_a_standby, o.another_node_serves, f.i_do_not_stream, f.my_replay_is_held),
        then=p.do(StopPostgres()),
        because="PostgreSQL holds my replay, so it cannot follow the primary to where I would stream from;"
        " it starts again, with settings as the primary has them",
        detail=p.what_holds_replay,
    ),
    Rule(
        "without-slot",
        when=(f.i_am_a_standby, o.another_node_serves, k.my_slot_may_stop_me),
        then=lambda s: (Follow(p.holder(s)),),
        because="I do not stream by my slot at the primary; a slot must not stop me, I try without",
    ),
    Rule(
        "clone-wal-gone",
        when=(f.i_am_a_standby, o.another_node_serves, f.i_do_not_stream, k.the_wal_i_need_is_gone),
        then=lambda s: (Clone(p.holder(s), over_existing=True),),
        because="the primary no longer has the WAL I need, and no archive brings it; the data directory is"
        " set aside and cloned anew",
        detail=p.which_wal,
    ),
    Rule(
        "use-slot",
        when=(f.i_am_a_standby, o.another_node_serves, k.the_primary_has_my_slot),
        then=p.follow_by_my_slot,
        because="the primary has a slot for me, so it keeps the WAL I need while I am away",
    ),
    Rule(
        "connecting",
        when=(f.i_am_a_standby, o.another_node_serves, f.i_do_not_stream),
        because="I follow the primary and do not stream yet",
    ),
    Rule("following", when=(f.i_am_a_standby, o.another_node_serves), because="I stream from the primary"),
    Rule("hold", when=(), because="nothing to change"),
)
