"""PostgreSQL as the agent handles it, on real servers: every promise of ports.Postgres."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from failover_agent import killpoints
from failover_agent.adapters.clock import SystemClock
from failover_agent.adapters.postgres import diverged, on_disk
from failover_agent.core import lsn
from failover_agent.core.model import Server, ServerState, Unknown
from failover_agent.core.promotion import Beginning
from failover_agent.errors import DataDirectoryRefused, LeaseMovedOn, PostgresFailed, RewindNotBegun

from .namespaces import entered
from .postgres_nodes import Node, all_received, empty_nodes, look, until

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Node, Node]]:
    with empty_nodes() as nodes:
        yield nodes


def quiet(_line: str) -> None: ...


class Died(BaseException):
    """The agent came to the point where it was told to die."""


def die_in(node: Node, point: str, step: Callable[[], object]) -> None:
    def die() -> None:
        raise Died

    killpoints.arm(point, die)
    with entered(node.namespace), pytest.raises(Died):
        step()


def caught_up(standby: Node, primary: Node) -> bool:
    here, there = look(standby), look(primary)
    return here.streaming and here.received_lsn >= there.received_lsn


def test_the_life_of_two_nodes(pair: tuple[Node, Node]) -> None:
    """Goal: bootstrap, clone, promotion, rewind and switchover as the agent orders them, in one story.

    One test, as each chapter begins with what the one before it left.
    """
    db1, db2 = pair
    bootstrap(db1)
    clone(db1, db2)
    lose_power(db1, db2)
    began = promote(db2)
    rewind(db1, db2, began)
    switch_over(db1, db2)
    follow_nobody_and_again(db2)
    refuse_a_rewind(db1, db2)
    clone_over_an_old_directory(db1, db2)
    freeze(db2)


def bootstrap(db1: Node) -> None:
    """Nothing there; initdb leaves a stopped server that can only start as a standby."""
    assert look(db1) == Server(ServerState.ABSENT)
    db1.postgres.init(quiet)
    stopped = look(db1)
    assert (stopped.state, stopped.clean, stopped.standby_signal) == (ServerState.STOPPED, True, True)
    with pytest.raises(DataDirectoryRefused):
        db1.postgres.init(quiet)

    db1.postgres.start_primary()
    first = look(db1)
    assert (first.state, first.timeline) == (ServerState.PRIMARY, 1)
    assert first.system_identifier == stopped.system_identifier
    assert db1.plan.standby_signal.exists()
    assert not db1.plan.may_start.exists()
    db1.sql("CREATE TABLE t (i int)")


def clone(db1: Node, db2: Node) -> None:
    """Only the replication port leads there, both gates are shut."""
    heard: list[str] = []
    with entered(db2.namespace):
        db2.postgres.clone("db1", heard.append)
    assert "clone 100 %" in heard
    db2.postgres.start_standby("db1")
    until(lambda: caught_up(db2, db1))
    second = look(db2)
    assert (second.state, second.upstream, second.timeline) == (ServerState.STANDBY, "db1", 1)
    until(lambda: look(db1).replicas == ("db2",))


def lose_power(db1: Node, db2: Node) -> None:
    """The cgroup of db1 is killed; db2 has all that it wrote."""
    died = threading.Event()
    db1.postgres.on_death(died.set)
    until(lambda: "postmaster-watch" in {t.name for t in threading.enumerate()})
    db1.sql("INSERT INTO t SELECT generate_series(1, 1000)")
    had = all_received(db2, db1)
    db1.unit.kill(5)
    assert died.wait(30)
    dead = look(db1)
    assert (dead.state, dead.clean) == (ServerState.STOPPED, False)
    end = db1.postgres.wal_end()
    assert isinstance(end, int)
    assert end >= had, "all that the standby has is read from the dead primary's disk"
    # Segments made in advance say nothing yet, wherever they stand in the folder.
    ahead = [db1.plan.wal_dir / f"00000001{0:08X}{n:08X}" for n in range(200, 230)]
    for path in ahead:
        path.write_bytes(bytes(1 << 16))
    assert db1.postgres.wal_end() == end
    for path in ahead:
        path.unlink()
    # What is known to be flushed only spares reading, also where it is wrong.
    for known in (0, 1, end - 100_000, end - 8192, end - 50, end - 1, end, end + 8192, end + (1 << 30)):
        assert on_disk.wal_end(db1.plan, on_disk.Flushed(1, known)) == end, known
    assert on_disk.wal_end(db1.plan, on_disk.Flushed(2, end + 8192)) == end


def promote(db2: Node) -> Beginning:
    """How the new timeline began; a promotion after its deadline changes nothing."""
    with pytest.raises(LeaseMovedOn):
        db2.postgres.promote(10, SystemClock().now() - 0.01, above=1)
    assert look(db2).state is ServerState.STANDBY, "a promotion after its deadline changes nothing"
    assert db2.postgres.promote(60, SystemClock().now() + 60, above=1) == 2
    began = db2.postgres.beginning()
    assert isinstance(began, Beginning)
    assert (began.timeline, began.fork) == (2, look(db2).history[-1].lsn)
    assert len(began.digest) == 64
    promoted = look(db2)
    assert (promoted.state, promoted.timeline) == (ServerState.PRIMARY, 2)
    assert [fork.timeline for fork in promoted.history] == [1]
    assert db2.plan.standby_signal.exists()
    db2.postgres.checkpoint()
    return began


def rewind(db1: Node, db2: Node, began: Beginning) -> None:
    """db1 writes on its own beyond the fork: it diverges, and what it loses is kept and told."""
    db1.postgres.start_primary()
    db1.sql("INSERT INTO t SELECT generate_series(5000, 5999)")
    db2.sql("INSERT INTO t VALUES (77)")
    db1.unit.kill(5)
    with entered(db1.namespace):
        told = db1.postgres.rewind("db2", quiet)
    kept = next((db1.plan.data_dir.parent / "diverged").iterdir())
    note = json.loads((kept / "diverged.json").read_text())
    assert note["rewound_against"] == "db2"
    assert note["segments"]
    lost = note["lost"]
    assert told["kept"] == str(kept)
    assert told["lost"] == lost
    # One transaction with 1000 rows; what PostgreSQL writes for itself are no tables of people.
    assert lost["tables"] == [{"table": "postgres.public.t", "rows": 1000}]
    assert lost["transactions"] >= 1
    assert lost["bytes"] > 1000 * 50
    # The same where the folder's first file is one made in advance: it says nothing, nor how long files are.
    empty = kept / f"{1:08X}{0:08X}{0:08X}"
    assert not empty.exists()
    empty.write_bytes(bytes(1 << 16))
    control = on_disk.read_control(db1.plan)
    fork = lsn.parse(note["fork"])
    again = diverged.report(
        db1.plan, kept, replace(control, checkpoint_timeline=1, recovery_timeline=0), fork, fork + 1
    )
    assert again["transactions"] == lost["transactions"]
    assert "unreadable" not in again
    db1.postgres.start_standby("db2")
    until(lambda: caught_up(db1, db2))
    assert db1.sql("SELECT count(*), max(i) FROM t") == [(1001, 1000)]
    until(lambda: look(db1).timeline == 2)
    assert db2.postgres.beginning() == began, "the same for ever"


def switch_over(db1: Node, db2: Node) -> None:
    """A fast stop sends everything; the old primary follows without a rewind."""
    db2.sql("INSERT INTO t VALUES (78)")
    db2.postgres.checkpoint()
    db2.postgres.stop(10)
    clean = look(db2)
    assert (clean.state, clean.clean) == (ServerState.STOPPED, True)
    assert db2.postgres.wal_end() == look(db1).received_lsn
    begun = SystemClock().now()
    assert db1.postgres.promote(60, SystemClock().now() + 60, above=2) == 3
    assert SystemClock().now() - begun < 30
    db2.postgres.start_standby("db1")
    until(lambda: caught_up(db2, db1))
    until(lambda: look(db2).timeline == 3)
    assert db2.sql("SELECT count(*) FROM t") == [(1002,)]


def follow_nobody_and_again(db2: Node) -> None:
    """A standby is told to follow nobody, then somebody again, without a restart."""
    db2.postgres.follow("")
    until(lambda: not look(db2).streaming)
    assert look(db2).upstream == ""
    db2.postgres.follow("db1")
    until(lambda: look(db2).streaming)


def refuse_a_rewind(db1: Node, db2: Node) -> None:
    """A rewind that is refused leaves the directory as it was; nothing forbids the next try."""
    db2.postgres.stop(10)
    db1.postgres.stop(10)
    with entered(db2.namespace), pytest.raises(RewindNotBegun):
        db2.postgres.rewind("db1", quiet)
    assert look(db2).standby_signal
    db1.postgres.start_primary()
    db2.postgres.start_standby("db1")
    until(lambda: caught_up(db2, db1))


def clone_over_an_old_directory(db1: Node, db2: Node) -> None:
    """It is kept, wherever the agent dies."""
    db2.postgres.stop(10)
    die_in(db2, "marked-before-overwrite", lambda: db2.postgres.rewind("db1", quiet))
    with pytest.raises(PostgresFailed):
        db2.postgres.start_standby("db1")
    with entered(db2.namespace), pytest.raises(PostgresFailed) as refused:
        db2.postgres.rewind("db1", quiet)
    assert not isinstance(refused.value, RewindNotBegun)
    die_in(db2, "copied-before-place", lambda: db2.postgres.clone("db1", quiet))
    assert look(db2).state is ServerState.STOPPED, "the old directory has its place"
    die_in(db2, "aside-before-place", lambda: db2.postgres.clone("db1", quiet))
    assert look(db2).state is ServerState.ABSENT, "nothing has its place, the old one is kept"
    with entered(db2.namespace):
        db2.postgres.clone("db1", quiet)
    assert len(list(db2.plan.data_dir.parent.glob("main.kept-*"))) == 1
    assert not list(db2.plan.data_dir.parent.glob("main.clone-*")), "unfinished copies are gone"
    db2.postgres.start_standby("db1")
    until(lambda: caught_up(db2, db1))


def freeze(db2: Node) -> None:
    """A frozen server is Unknown, not stopped; a look stays bounded."""
    pids = db2.unit.processes()
    for pid in pids:
        os.kill(pid, 19)
    try:
        until(lambda: isinstance(db2.postgres.observe(), Unknown))
        begun = SystemClock().now()
        assert isinstance(db2.postgres.observe(), Unknown)
        assert SystemClock().now() - begun < 10
    finally:
        for pid in pids:
            os.kill(pid, 18)
    until(lambda: isinstance(db2.postgres.observe(), Server))
