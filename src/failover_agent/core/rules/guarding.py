"""The rules above all others: what a node drops, shuts and stops that cannot prove its right.

Below them nothing runs that might write without a lease, and nothing touches a volume that hangs.
"""

from __future__ import annotations

from failover_agent.core import facts as f
from failover_agent.core import other_facts as o
from failover_agent.core import pausing as u
from failover_agent.core.rules import parts as p
from failover_agent.core.rules.parts import Rule
from failover_agent.core.snapshot import (
    DropBeliefs,
    LeaveHungStorage,
    StopPostgres,
)

GUARDING = (
    Rule(
        "woke",
        when=(f.slept_longer_than_the_lease,),
        then=p.do(DropBeliefs()),
        because="this process slept longer than a lease lasts and believes nothing it knew",
    ),
    Rule(
        "fence",
        when=(f.the_lease_is_not_mine, f.i_might_be_writing),
        then=p.do(*p.SHUT_OUT, StopPostgres()),
        because="PostgreSQL here may accept writes and I cannot prove that I hold the lease",
    ),
    Rule(
        "tidy",
        when=(f.the_lease_is_not_mine, f.something_of_a_primary_is_left),
        then=p.do(*p.SHUT_OUT),
        because="I do not hold the lease and still had an open gate or a virtual address",
    ),
    # Above `busy`: a job that hangs on the volume must not keep the lease for ever.
    Rule(
        "leave-hung-storage",
        when=(f.the_lease_is_mine, f.my_storage_hangs, o.another_standby_answers, u.failover_is_not_paused),
        then=p.do(LeaveHungStorage()),
        because="my storage does not answer, WAL does not reach it, and a standby could go on",
        detail=p.which_volume,
    ),
    # Above `busy`: the job that started it waits for minutes. It lacks WAL, so no replay is lost by it.
    Rule(
        "start-anew",
        when=(f.the_lease_is_not_mine, o.another_node_serves, o.i_started_astray),
        then=p.do(StopPostgres()),
        because="PostgreSQL here waits for WAL to get ready, from another node than the primary that serves"
        " now; it is stopped, and starts for that one",
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
)
