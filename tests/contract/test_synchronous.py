"""Synchronous commits and seals on real servers: what ports.Postgres promises for S3, S7 and F2."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from failover_agent.adapters import cut
from failover_agent.adapters.clock import SystemClock
from failover_agent.adapters.postgres import LocalPostgres, PostgresPlan, settings
from failover_agent.adapters.postgres.observe import Observer
from failover_agent.adapters.postgres.outside import outside
from failover_agent.adapters.systemd import looks
from failover_agent.core.model import Unknown
from failover_agent.core.quorum import NOBODY, SyncSeen, Waits, waits
from failover_agent.core.seals import Position
from failover_agent.errors import PostgresFailed

from .namespaces import entered
from .postgres_nodes import USER, Node, look, taken, two_nodes, until

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]

SOON_S = 60.0
HANGS_S = 2.0  # a commit that has not come back by now waits for somebody
DB2 = waits(["db2"], 1)


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Node, Node]]:
    with tempfile.TemporaryDirectory(prefix="pg-sync-") as place:
        Path(place).chmod(0o755)
        with two_nodes(Path(place)) as (db1, db2):
            db1.postgres.init(lambda _: None)
            db1.postgres.start_primary()
            db1.sql("CREATE TABLE t (i int)")
            with entered(db2.namespace):
                db2.postgres.clone("db1", lambda _: None)
            db2.postgres.start_standby("db1")
            until(lambda: "db2" in seen(db1).flushed)
            yield db1, db2


def seen(node: Node) -> SyncSeen:
    """Looked at again where a busy machine did not answer."""
    for _left in looks(SOON_S, 0.1):
        if isinstance(answer := node.postgres.sync(), SyncSeen):
            return answer
    pytest.fail(str(answer))


class Commit:
    """One insert of a client that waits as PostgreSQL tells it to."""

    def __init__(self, node: Node) -> None:
        self.done = threading.Event()
        self._node = node
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        plan = self._node.plan
        with psycopg.connect(
            host=str(plan.socket_dir), user=USER, dbname=USER, application_name="a client", autocommit=True
        ) as connection:
            connection.execute("INSERT INTO t VALUES (1)")
        self.done.set()

    def hangs(self) -> bool:
        """PostgreSQL itself says for how long: on a busy machine ours counts before it has heard of it."""
        until(lambda: self.done.is_set() or seen(self._node).longest_wait_s >= HANGS_S)
        return not self.done.is_set()

    def comes_back(self) -> bool:
        return self.done.wait(SOON_S)


def set_sync(node: Node, wait: Waits) -> int:
    barrier = taken(lambda: node.postgres.set_sync(wait))
    assert (seen(node).shown, seen(node).written) == (wait, wait)
    return barrier


def sealed(node: Node) -> Position:
    """Against db1."""
    return taken(lambda: node.postgres.cut_from("db1"))


def refusal(order: Callable[[], object]) -> str:
    with pytest.raises(PostgresFailed) as refused:
        order()
    return str(refused.value)


def test_commits_wait_from_the_moment_set_sync_returns(pair: tuple[Node, Node]) -> None:
    db1, _db2 = pair
    assert seen(db1).shown == NOBODY

    barrier = set_sync(db1, DB2)
    until(lambda: seen(db1).flushed.get("db2", 0) >= barrier)
    assert Commit(db1).comes_back()

    set_sync(db1, waits(["db9"], 1))
    held = Commit(db1)
    assert held.hangs()
    assert seen(db1).waiting == 1
    assert seen(db1).longest_wait_s < 60
    set_sync(db1, DB2)
    assert held.comes_back()
    assert (seen(db1).waiting, seen(db1).longest_wait_s) == (0, 0)


def test_the_barrier_lies_behind_everything_committed_before(pair: tuple[Node, Node]) -> None:
    db1, _db2 = pair
    for wait in (NOBODY, DB2, DB2):
        ((before,),) = db1.sql("SELECT (pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::bigint")
        assert set_sync(db1, wait) > before


def test_any_k_of_the_members_acknowledge(pair: tuple[Node, Node]) -> None:
    """Goal: ANY, not FIRST, and k of them. Method: a second receiver that comes and goes."""
    db1, db2 = pair
    set_sync(db1, waits(["db2", "db3"], 2))
    held = Commit(db1)
    assert held.hangs(), "one of two is not two"

    with Receiving(db2, "db3"):
        assert held.comes_back()
    set_sync(db1, waits(["db2", "db3"], 1))
    assert Commit(db1).comes_back(), "one of two is one"


class Receiving:
    """A pg_receivewal that acknowledges under the name of a member, from db2's address."""

    def __init__(self, there: Node, name: str) -> None:
        self._there = there
        self._source = there.plan.conninfo("db1", user="replicator", application_name=name)
        self._place = there.plan.data_dir.parent / f"received-{name}"

    def __enter__(self) -> None:
        plan = self._there.plan
        self._place.mkdir()
        os.chown(self._place, plan.data_dir.stat().st_uid, -1)
        argv = (plan.program("pg_receivewal"), "-D", str(self._place), "-d", self._source, "--synchronous")
        with entered(self._there.namespace):
            self._process = subprocess.Popen(
                ("setpriv", f"--reuid={USER}", "--clear-groups", *argv),
                cwd="/",
                env={"HOME": str(self._place)},
            )

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(10)


def test_a_list_that_the_agent_did_not_write_is_unknown(pair: tuple[Node, Node]) -> None:
    db1, _db2 = pair
    db1.sql("ALTER SYSTEM SET synchronous_standby_names = 'FIRST 1 (db2)'")
    db1.sql("SELECT pg_reload_conf()")
    try:
        # postgresql.auto.conf wins over every file: what was set cannot be seen, and that is said.
        until(lambda: "FIRST 1" in refusal(lambda: db1.postgres.set_sync(DB2)))
        assert isinstance(db1.postgres.sync(), Unknown)
    finally:
        db1.sql("ALTER SYSTEM RESET synchronous_standby_names")
        db1.sql("SELECT pg_reload_conf()")
    set_sync(db1, DB2)


def test_a_life_that_begins_in_the_middle_ends_who_may_acknowledge_by_a_list_before(
    pair: tuple[Node, Node],
) -> None:
    """→ an agent died between a list and its barrier, and the next knew the newest list alone (S3)."""
    db1, db2 = pair
    set_sync(db1, waits(["db9"], 1))
    until(lambda: "db2" in seen(db1).flushed)
    (receiver,) = receivers(db2)
    (sender,) = senders(db1)
    next_life = LocalPostgres(db1.plan, db1.unit, SystemClock())

    os.kill(receiver, signal.SIGSTOP)  # it flushes nothing, so its walsender shows no sign of the new list
    try:
        taken(lambda: next_life.set_sync(waits(["db9"], 1)))
        assert sender not in senders(db1)
    finally:
        os.kill(receiver, signal.SIGCONT)
    set_sync(db1, NOBODY)
    until(lambda: "db2" in seen(db1).flushed)


def receivers(node: Node) -> list[int]:
    return [int(pid) for (pid,) in node.sql("SELECT pid FROM pg_stat_wal_receiver")]


def senders(node: Node) -> list[int]:
    return [
        int(pid) for (pid,) in node.sql("SELECT pid FROM pg_stat_replication WHERE application_name = 'db2'")
    ]


def test_a_restart_in_place_keeps_whom_it_waits_for(pair: tuple[Node, Node]) -> None:
    db1, _db2 = pair
    set_sync(db1, DB2)
    db1.postgres.kill()

    db1.postgres.start_primary()

    assert (seen(db1).shown, seen(db1).written) == (DB2, DB2)
    assert not seen(db1).proved, "no commit of this process was seen to wait"
    until(lambda: "db2" in seen(db1).flushed)
    set_sync(db1, DB2)
    assert seen(db1).proved
    assert Commit(db1).comes_back()


def test_whose_commits_wait_for_nobody_is_named_and_what_no_wal_describes_is_counted(
    pair: tuple[Node, Node],
) -> None:
    """S8: roles, databases, both, ALTER SYSTEM; unlogged and temporary tables, also of other databases."""
    db1, _db2 = pair
    before = outside(db1.plan)
    assert before.settings == ()
    db1.sql("CREATE ROLE hasty")
    db1.sql("CREATE DATABASE other")
    db1.sql("ALTER ROLE hasty SET synchronous_commit = off")
    db1.sql("ALTER ROLE hasty IN DATABASE other SET synchronous_commit = local")
    db1.sql("ALTER DATABASE other SET synchronous_commit = remote_apply")
    db1.sql("ALTER SYSTEM SET synchronous_commit = 'local'")
    db1.sql("CREATE UNLOGGED TABLE quick (i int)")
    try:
        found = outside(db1.plan)
        assert found.settings[1:] == (
            "local for role hasty in database other",
            "off for role hasty",
        )
        assert found.settings[0].startswith("local in ")
        assert found.settings[0].endswith("postgresql.auto.conf")
        assert found.unlogged == before.unlogged + 1
        assert found.not_seen == ()
    finally:
        for statement in (
            "ALTER SYSTEM RESET synchronous_commit",
            "DROP TABLE quick",
            "DROP DATABASE other",
            "DROP ROLE hasty",
        ):
            db1.sql(statement)
    assert outside(db1.plan) == before


def test_a_standby_whose_replay_is_blocked_is_sealed(pair: tuple[Node, Node]) -> None:
    """F2: its receiver is gone, COMMIT hangs, and it tells what was received, not what was replayed."""
    db1, db2 = pair
    set_sync(db1, DB2)
    until(lambda: "db2" in seen(db1).flushed)  # while replay stands still no new receiver is started
    db2.sql("SELECT pg_wal_replay_pause()")
    until(lambda: db2.sql("SELECT pg_get_wal_replay_pause_state()") == [("paused",)])
    assert Commit(db1).comes_back(), "a blocked replay holds up no acknowledgement"
    ((flushed,),) = db1.sql("SELECT (pg_current_wal_flush_lsn() - '0/0'::pg_lsn)::bigint")

    with entered(db2.namespace):
        position = sealed(db2)

    assert position.lsn >= flushed
    assert look(db2).replayed_lsn < position.lsn
    held = Commit(db1)
    assert held.hangs()
    with entered(db2.namespace):
        assert sealed(db2) == position, "asked again: nothing came in meanwhile"
        with pytest.raises(PostgresFailed, match="sealed against db1"):
            db2.postgres.follow("db1")

    # Its agent starts anew, PostgreSQL too: only what lies on the disk counts, and all of it.
    db2.postgres.stop(10)
    with entered(db2.namespace):
        db2.postgres.keep_cut("db1")
    db2.postgres.start_standby("")
    with entered(db2.namespace):
        assert sealed(db2).lsn >= position.lsn, "and until local WAL is replayed it gives none"
    assert not held.done.is_set()

    with entered(db2.namespace):
        db2.postgres.end_cut()
        assert not cut.stands("10.9.0.1")
        db2.postgres.follow("db1")
    assert held.comes_back()


def test_a_seal_that_comes_while_a_standby_is_told_whom_to_follow_holds(
    pair: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    """F2: the loop had looked and found no seal, a member asked for one, the setting was written after it."""
    db1, db2 = pair
    set_sync(db1, DB2)
    until(lambda: "db2" in seen(db1).flushed)
    write = settings.write_slots_config

    def sealed_meanwhile(plan: PostgresPlan, text: str) -> bool:
        monkeypatch.undo()
        sealed(db2)
        return write(plan, text)

    monkeypatch.setattr(settings, "write_slots_config", sealed_meanwhile)
    with entered(db2.namespace), pytest.raises(PostgresFailed, match="sealed against db1"):
        db2.postgres.follow("db1")

    assert db2.sql("SELECT current_setting('primary_conninfo')") == [("",)]
    assert "primary_conninfo = ''" in db2.plan.agent_config_file.read_text()
    with entered(db2.namespace):
        db2.postgres.end_cut()
        db2.postgres.follow("db1")
    until(lambda: "db2" in seen(db1).flushed)


def test_who_cannot_tell_its_timeline_is_cut_and_gives_no_seal(
    pair: tuple[Node, Node], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control file may name an older one; an answer once given is kept as long as the seal stands."""
    db1, db2 = pair
    set_sync(db1, DB2)
    until(lambda: "db2" in seen(db1).flushed)
    monkeypatch.setattr(Observer, "look", lambda _self, **_: Unknown("PostgreSQL runs and does not answer"))
    with entered(db2.namespace):
        until(lambda: "which timeline" in refusal(lambda: db2.postgres.cut_from("db1")))
        assert cut.stands("10.9.0.1")
        monkeypatch.undo()
        assert sealed(db2).timeline == look(db2).timeline

        db2.postgres.end_cut()
        db2.postgres.follow("db1")
    until(lambda: "db2" in seen(db1).flushed)


def test_the_cut_outlives_a_setting_that_somebody_put_back(pair: tuple[Node, Node]) -> None:
    """The kernel's part holds alone: the receiver may try, no packet passes in either direction."""
    db1, db2 = pair
    set_sync(db1, DB2)
    until(lambda: "db2" in seen(db1).flushed)
    with entered(db2.namespace):
        position = sealed(db2)
    text = db2.plan.agent_config_file.read_text()
    conninfo = db2.plan.conninfo("db1", user="replicator", application_name="db2")
    db2.plan.agent_config_file.write_text(
        text.replace("primary_conninfo = ''", f"primary_conninfo = '{conninfo}'")
    )
    db2.sql("SELECT pg_reload_conf()")

    held = Commit(db1)

    assert held.hangs()
    assert look(db2).received_lsn == position.lsn
    with entered(db2.namespace):
        subprocess.run(("nft", "flush", "ruleset"), check=True)
        assert not cut.stands("10.9.0.1")
        db2.postgres.keep_cut("db1")
        assert cut.stands("10.9.0.1")
        db2.postgres.end_cut()
        db2.postgres.follow("db1")
    assert held.comes_back()
