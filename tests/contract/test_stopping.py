"""The way down of a real primary: bounded whoever hangs on it, and standbys get all of it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from failover_agent.adapters.clock import SystemClock
from failover_agent.adapters.postgres.control import DRAIN_S, IMMEDIATE_S
from failover_agent.adapters.systemd import looks
from failover_agent.core.model import ServerState
from failover_agent.core.quorum import NOBODY, waits

from .namespaces import entered
from .postgres_nodes import USER, Node, look, taken, two_nodes, until

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

SOON_S = 60.0
STOP_S = 60.0  # more than any bound below allows, so that keeping to it shows
HELD_S = 10.0  # what is said to somebody who holds the stop: long enough for a standby to hear the last row
LITTLE_S = 15.0  # signals, a checkpoint of next to nothing, looks, on a machine with other work


@pytest.fixture(scope="module")
def whole() -> Iterator[tuple[Node, Node]]:
    with tempfile.TemporaryDirectory(prefix="pg-stop-") as place:
        Path(place).chmod(0o755)
        with two_nodes(Path(place)) as (db1, db2):
            db1.postgres.init(lambda _: None)
            with db1.plan.config_file.open("a") as config:
                config.write("wal_level=logical\narchive_mode=on\narchive_command='true'\n")
            db1.postgres.start_primary()
            db1.sql("CREATE TABLE t (i int)")
            with entered(db2.namespace):
                db2.postgres.clone("db1", lambda _: None)
            db2.postgres.start_standby("db1")
            until(lambda: look(db1).replicas == ("db2",))
            yield db1, db2


@pytest.fixture
def pair(whole: tuple[Node, Node]) -> Iterator[tuple[Node, Node]]:
    """Both up; whatever a test left of db1 is started again."""
    yield whole
    db1, _db2 = whole
    db1.postgres.stop(STOP_S)
    db1.postgres.start_primary()
    until(lambda: look(db1).replicas == ("db2",))


def stop(node: Node, timeout_s: float = STOP_S) -> float:
    """How long it took."""
    began = SystemClock().now()
    node.postgres.stop(timeout_s)
    return SystemClock().now() - began


def stop_under_load(node: Node) -> float:
    node.sql("TRUNCATE t")
    with writing(node):
        until(lambda: node.sql("SELECT count(*) > 2000 FROM t") == [(True,)])
        return stop(node)


def has_everything_of(standby: Node, primary: Node) -> bool:
    """Also what was on its way when the primary ended."""
    end = primary.postgres.wal_end()
    return any(end == look(standby).received_lsn for _left in looks(LITTLE_S, 0.1))


def assert_down_with_everything_at(standby: Node, primary: Node) -> None:
    down = look(primary)
    assert (down.state, down.clean) == (ServerState.STOPPED, True)
    assert primary.unit.processes() == []
    assert has_everything_of(standby, primary)


def connect(node: Node) -> psycopg.Connection[object]:
    return psycopg.connect(host=str(node.plan.socket_dir), user=USER, dbname=USER, autocommit=True)


@contextlib.contextmanager
def writing(node: Node) -> Iterator[None]:
    """A client that writes until it is thrown out."""

    def write() -> None:
        with contextlib.suppress(psycopg.Error), connect(node) as connection:
            while True:
                connection.execute("INSERT INTO t SELECT generate_series(1, 2000)")

    thread = threading.Thread(target=write, daemon=True)
    thread.start()
    try:
        yield
    finally:
        thread.join(SOON_S)


@contextlib.contextmanager
def stopped(pids: list[int]) -> Iterator[None]:
    assert pids
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)


def children(node: Node, title: str) -> list[int]:
    titles = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in node.unit.processes()}
    return [pid for pid, line in titles.items() if title.encode() in line]


def test_a_standby_gets_everything_up_to_the_shutdown_checkpoint_also_under_load(
    pair: tuple[Node, Node],
) -> None:
    db1, db2 = pair
    took = stop_under_load(db1)
    if took >= DRAIN_S and not has_everything_of(db2, db1):
        # It gave up on a receiver that stood still for as long: on a busy machine that is no defect, once.
        db1.postgres.start_primary()
        until(lambda: look(db1).replicas == ("db2",))
        stop_under_load(db1)

    assert_down_with_everything_at(db2, db1)


def test_an_archive_command_that_never_ends_does_not_hold_the_stop(pair: tuple[Node, Node]) -> None:
    db1, db2 = pair
    db1.sql("ALTER SYSTEM SET archive_command = 'sleep 1000'")
    try:
        db1.sql("SELECT pg_reload_conf()")
        db1.sql("INSERT INTO t VALUES (1)")
        db1.sql("SELECT pg_switch_wal()")
        until(lambda: bool(children(db1, "sleep")))

        took = stop(db1)
    finally:
        (db1.plan.data_dir / "postgresql.auto.conf").write_text("")

    assert took < DRAIN_S + IMMEDIATE_S + LITTLE_S
    assert_down_with_everything_at(db2, db1)


def test_a_walsender_to_a_standby_that_hangs_does_not_hold_the_stop(pair: tuple[Node, Node]) -> None:
    """What the standby had flushed before is no less; the one that hangs gets the rest when it comes back."""
    db1, db2 = pair
    with stopped(children(db2, "walreceiver")):
        db1.sql("INSERT INTO t VALUES (1)")

        took = stop(db1)

    assert took < DRAIN_S + IMMEDIATE_S + LITTLE_S
    assert look(db1).clean
    assert db1.unit.processes() == []


def test_a_logical_consumer_that_takes_nothing_holds_the_stop_no_longer_than_was_said(
    pair: tuple[Node, Node],
) -> None:
    """It keeps the shutdown checkpoint from being written; what was committed is at the standby all the same.

    Through this node's own socket: others' are destroyed by the gate before the stop.
    """
    db1, db2 = pair
    program = (str(db1.plan.bin_dir / "pg_recvlogical"), "-h", str(db1.plan.socket_dir), "-U", USER)
    slot = (*program, "-d", USER, "--slot", "cdc")
    subprocess.run((*slot, "--create-slot", "-P", "test_decoding"), check=True, timeout=SOON_S)
    with subprocess.Popen((*slot, "--start", "-f", "/dev/null"), stderr=subprocess.DEVNULL) as consumer:
        try:
            until(lambda: db1.sql("SELECT active FROM pg_replication_slots") == [(True,)])
            with stopped([consumer.pid]):
                db1.sql("INSERT INTO t SELECT generate_series(1, 100000)")
                until(lambda: look(db2).received_lsn >= look(db1).received_lsn)
                db1.sql("INSERT INTO t VALUES (1)")  # this the stop has to send

                took = stop(db1, timeout_s=HELD_S)
        finally:
            consumer.kill()

    assert took < HELD_S + IMMEDIATE_S + LITTLE_S
    assert db1.unit.processes() == []
    assert has_everything_of(db2, db1)
    db1.postgres.start_primary()
    db1.sql("SELECT pg_drop_replication_slot('cdc')")


def test_a_commit_that_waits_for_a_standby_is_not_acknowledged_by_the_stop(pair: tuple[Node, Node]) -> None:
    db1, _db2 = pair
    taken(lambda: db1.postgres.set_sync(waits(["db9"], 1)))
    told: list[str] = []
    begun = threading.Event()

    def commit() -> None:
        try:
            with connect(db1) as connection:
                begun.set()
                connection.execute("INSERT INTO t VALUES (4711)")
                told.append("acknowledged")
        except psycopg.Error as error:
            told.append(type(error).__name__)

    thread = threading.Thread(target=commit, daemon=True)
    thread.start()
    try:
        assert begun.wait(SOON_S)
        until(lambda: db1.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'SyncRep'") == [(1,)])

        stop(db1)
        thread.join(SOON_S)
    finally:
        db1.postgres.start_primary()
        taken(lambda: db1.postgres.set_sync(NOBODY))

    assert len(told) == 1, told
    assert told != ["acknowledged"]


@pytest.mark.parametrize("who", ["client", "checkpointer"])
def test_who_hears_no_signal_holds_the_stop_no_longer_than_was_said(
    pair: tuple[Node, Node], who: str
) -> None:
    db1, _db2 = pair
    with connect(db1) as client:
        victims = [client.info.backend_pid] if who == "client" else children(db1, "checkpointer")
        with stopped(victims):
            took = stop(db1, timeout_s=1.0)

    assert took < 1.0 + IMMEDIATE_S + LITTLE_S
    assert db1.unit.processes() == []
    assert look(db1).state is ServerState.STOPPED
