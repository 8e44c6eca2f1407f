"""What stops a rule is told by class and fields, too; and a running agent shows it until it is over."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.support.world import World

from failover_agent.core.health import Health
from failover_agent.core.model import (
    Absent,
    Heard,
    Holder,
    LeaseItem,
    LeaseSeen,
    Member,
    NodeReport,
    Server,
    ServerState,
    Unknown,
)
from failover_agent.core.problems import problems
from failover_agent.core.rules import decide
from failover_agent.core.snapshot import Snapshot
from failover_agent.core.timings import PROFILES
from failover_agent.errors import (
    AgentError,
    ClusterNameTaken,
    ForeignDataDirectory,
    HalfClonedDirectory,
    HalfRewoundDirectory,
    LeaseMissing,
    NetworkUnreachable,
    NodeAlarm,
    PasswordRefused,
    PostgresFailed,
    ReplayHeld,
    StoreTableMissing,
    StoreUnreachable,
)
from failover_agent.shell.journal import Journal

NOW = 1000.0
DB1, DB2 = (Member(f"db{i}", f"10.0.0.{i}", f"az-{i}", f"i-{i}") for i in (1, 2))
STANDBY = Server(ServerState.STANDBY, "s1", 1, 500, 500, streaming=True, upstream="db1", standby_signal=True)
ITEM = LeaseItem("c", "s1", Holder("db1", "i-1", "n1"), 7, "t1", 6, 1, 500)
following = Snapshot(
    NOW, DB2, (DB1,), PROFILES["balanced"], 1000, STANDBY, LeaseSeen(ITEM, NOW - 0.5, NOW - 0.1)
)
DB1_SPOKE = (Heard(NodeReport("db1", DB1.az, DB1.instance_id, STANDBY, 7, holds_lease=False), NOW - 0.2),)
TABLE_GONE = StoreTableMissing.about("table t", value="gone", expected="there", hint="h")
HALF = HalfClonedDirectory.about("data directory /d", value="v", expected="e", hint="h")


def seen(item: LeaseItem) -> LeaseSeen:
    return LeaseSeen(item, NOW - 0.5, NOW - 0.1)


@pytest.mark.parametrize(
    ("snapshot", "rule", "cls"),
    [
        (following.but(lease=None), "lease-missing", LeaseMissing),
        (following.but(lease=Unknown("no answer")), "cut-off", NetworkUnreachable),
        (following.but(lease=Unknown("no answer"), heard=DB1_SPOKE), "store-silent", StoreUnreachable),
        (following.but(lease=Unknown("gone", cause=TABLE_GONE)), "store-silent", StoreTableMissing),
        (following.but(lease=seen(ITEM.but(system_identifier="s9"))), "foreign-data", ForeignDataDirectory),
        (following.but(server=Unknown("no answer"), server_before=STANDBY), "blind", PostgresFailed),
        (
            following.but(server=Unknown("half", cause=HALF), server_before=STANDBY),
            "blind",
            HalfClonedDirectory,
        ),
        (following.but(health=Health(hung=True, fsync_where="data")), "storage-hung", NodeAlarm),
        (following.but(half_rewound=True), "half-rewound", HalfRewoundDirectory),
        (following.but(server=replace(STANDBY, held="max_connections is 1")), "hold", ReplayHeld),
        (following.but(lease=seen(ITEM.but(holder=Holder("db9", "i-9", "n")))), "hold", ClusterNameTaken),
    ],
)
def test_what_stops_a_rule_is_named_by_class(snapshot: Snapshot, rule: str, cls: type[AgentError]) -> None:
    assert problems(following, "c") == ()

    [problem] = problems(snapshot, "c")

    assert decide(snapshot).rule == rule
    assert type(problem) is cls
    assert problem.object
    assert problem.hint


def test_a_new_cluster_has_no_lease_and_no_problem() -> None:
    fresh = following.but(server=Server(ServerState.ABSENT), lease=None, bootstrap_token=True)

    assert problems(fresh, "c") == ()
    assert [type(p) for p in problems(fresh.but(bootstrap_token=False), "c")] == [LeaseMissing]


def test_a_trouble_is_told_by_class_until_it_is_over() -> None:
    now = [1000.0]
    journal = Journal(lambda: now[0], lambda _event, _values: None)
    refused = PasswordRefused.about("password of role r", value="refused", expected="taken", hint="h")

    journal.trouble("clone", refused)
    journal.trouble("the lease's renewal", Unknown("gone", cause=TABLE_GONE))
    journal.trouble("rule x", AgentError("something", hint="do this"))
    told = {type(e): (e.object, e.value) for e in journal.troubles()}
    assert told == {
        PasswordRefused: ("password of role r", "refused"),
        StoreTableMissing: ("table t", "gone"),
        AgentError: ("rule x", "something"),
    }

    journal.fine("clone")
    assert PasswordRefused not in {type(e) for e in journal.troubles()}

    now[0] += 59
    journal.trouble("the lease's renewal", Unknown("gone", cause=TABLE_GONE))  # again: it is still so
    now[0] += 2
    assert {type(e) for e in journal.troubles()} == {StoreTableMissing}, "what was met once is history"


def test_a_deleted_table_ends_the_reign_at_the_lease_and_nothing_is_written_again() -> None:
    """L6: not a fresh cluster; the holder stops when its lease ends, and every node names the fault."""
    world = World("db1", "db2")
    world.bring_up()
    assert world.nodes["db1"].agent.problems() == ()
    world.store.silence("the table is gone", cause=TABLE_GONE)

    world.run(world.timings.ttl_s + 1)

    assert world.postgres("db1").state is not ServerState.PRIMARY
    assert not any(node.agent.keeper.mine() for node in world.nodes.values())
    for node in world.nodes.values():
        assert StoreTableMissing in {type(p) for p in node.agent.problems()}
        told = node.agent.cluster()["problems"]
        assert isinstance(told, list)
        assert {p["object"] for p in told} >= {"table t"}

    # Somebody makes an empty table: no lease item, and nobody begins anew over data.
    world.store.delete()
    world.store.answer()
    world.run(30)
    assert world.store.read() is None
    for node in world.nodes.values():
        assert LeaseMissing in {type(p) for p in node.agent.problems()}
        assert node.postgres.disk.system == world.postgres("db1").disk.system


def test_the_lease_of_another_cluster_of_this_name_is_left_alone() -> None:
    """A second cluster writes into our item: other machines, another system. Nobody here touches it."""
    world = World("db1", "db2")
    world.bring_up()
    world.run(2)
    before = world.store.read()
    assert isinstance(before, LeaseItem)
    theirs = before.but(holder=Holder("db1", "i-777", "x"), system_identifier="other", epoch=50, token="x1")
    world.store.delete()
    world.store.write(theirs, only_if=Absent())

    world.run(60)

    assert world.store.read() == theirs
    assert world.postgres("db1").state is not ServerState.PRIMARY
    for node in world.nodes.values():
        told = {type(p) for p in node.agent.problems()}
        assert {ClusterNameTaken, ForeignDataDirectory} <= told
