"""The rules of who takes a lease that nobody has, or whose holder is missed and sealed off.

The lease is not mine here, and nothing here can write.
"""

from __future__ import annotations

from failover_agent.core import claiming as c
from failover_agent.core import facts as f
from failover_agent.core import other_facts as o
from failover_agent.core import pausing as u
from failover_agent.core.rules import parts as p
from failover_agent.core.rules.parts import Rule

VACANCY = (
    Rule(
        "claiming",
        when=(f.i_am_claiming,),
        because="a claim was sent and its fate is not known yet",
    ),
    Rule(
        "bootstrap",
        when=(f.there_is_no_lease_item, f.i_may_bootstrap, o.everybody_has_no_data, o.i_am_first_by_name),
        then=p.claim,
        because="a new cluster: there is a bootstrap token, no lease, and no data on any member",
    ),
    Rule(
        "bootstrap-wait",
        when=(f.there_is_no_lease_item, f.i_may_bootstrap, lambda s: not o.somebody_has_data(s)),
        because="a new cluster waits until every member has said that it is empty; the first by name begins",
        detail=p.who_is_missing,
    ),
    Rule(
        "adopt",
        when=(f.there_is_no_lease_item, f.i_may_adopt, o.everybody_has_no_data),
        then=p.claim,
        because="a person gave this node's data to a new cluster, there is no lease,"
        " and no other member has data",
    ),
    Rule(
        "adopt-wait",
        when=(f.there_is_no_lease_item, f.i_may_adopt),
        because="adopting this node's data waits until every other member has said that it is empty",
        detail=lambda s: "waiting for " + ", ".join(o.missing_for_bootstrap(s)),
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
        "cut-off",
        when=(f.my_read_has_no_answer, o.nobody_answers),
        because="neither the store nor any other member answers: the network of this node is unreachable",
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
            o.everybody_has_no_data,
            o.i_am_first_by_name,
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
        when=(f.the_lease_is_free_for_me, f.i_am_a_standby, o.a_person_accepted_the_loss),
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
)
