"""An agent killed in the middle of a start leaves nothing that lets PostgreSQL start by itself (N1)."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import traceback
from collections.abc import Callable, Iterator

import pytest

from failover_agent import killpoints
from failover_agent.adapters.clock import SystemClock
from failover_agent.adapters.postgres import LocalPostgres
from failover_agent.adapters.systemd import looks
from failover_agent.core.model import Server, ServerState
from failover_agent.errors import PostgresFailed

from .namespaces import entered
from .postgres_nodes import Node, empty_nodes

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]

PR_SET_CHILD_SUBREAPER = 36


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Node, Node]]:
    with empty_nodes() as nodes:
        yield nodes


def end(node: Node) -> None:
    """Kill PostgreSQL, and reap what an agent that died left to us: a zombie looks like a postmaster."""
    pids = node.unit.processes()
    node.unit.kill(10)
    for pid in pids:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)


def killed_at(point: str, node: Node, step: Callable[[LocalPostgres], object]) -> None:
    """In a process of its own, which dies of SIGKILL there: no `finally` of it runs."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    child = os.fork()
    if child == 0:
        killpoints.arm(point, lambda: os.kill(os.getpid(), signal.SIGKILL))
        try:
            with entered(node.namespace):
                step(LocalPostgres(node.plan, node.unit, SystemClock()))
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)
    _pid, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "it came to that point"


def test_a_life_that_dies_while_it_starts_a_primary_is_tidied_after(pair: tuple[Node, Node]) -> None:
    db1, _ = pair
    db1.postgres.init(lambda _: None)

    for point in ("allowed-before-start", "started-before-signal"):
        killed_at(point, db1, lambda postgres: postgres.start_primary())
        assert db1.plan.may_start.exists(), "the leave to start was left"
        assert not db1.plan.standby_signal.exists(), "and a start would have been a primary's"

        db1.postgres.settle()

        assert not db1.plan.may_start.exists()
        assert db1.plan.standby_signal.exists()
        end(db1)
        with pytest.raises(PostgresFailed):
            db1.unit.start(1)


def test_a_rewind_that_dies_after_it_overwrote_is_not_started_but_cloned(pair: tuple[Node, Node]) -> None:
    db1, db2 = pair
    db1.postgres.start_primary()
    with entered(db2.namespace):
        db2.postgres.clone("db1", lambda _: None)
    db2.postgres.start_standby("db1")
    assert any(caught_up(db2, db1) for _ in looks(60, 0.1))
    end(db1)
    db2.postgres.promote(20, SystemClock().now() + 20, above=1)
    db2.postgres.checkpoint()
    db1.postgres.start_primary()
    db1.sql("CREATE TABLE only_here (i int)")
    end(db1)

    killed_at("overwritten-before-unmark", db1, lambda postgres: postgres.rewind("db2", lambda _: None))
    db1.postgres.settle()

    with pytest.raises(PostgresFailed, match="rewind"):
        db1.postgres.start_standby("db2")
    with entered(db1.namespace):
        db1.postgres.clone("db2", lambda _: None)
    db1.postgres.start_standby("db2")
    assert any(caught_up(db1, db2) for _ in looks(60, 0.1))
    assert list(db1.plan.data_dir.parent.glob("main.kept-*"))
    assert list((db1.plan.data_dir.parent / "diverged").iterdir())


def caught_up(standby: Node, primary: Node) -> bool:
    here, there = standby.postgres.observe(), primary.postgres.observe()
    if not isinstance(here, Server) or not isinstance(there, Server):
        return False
    assert there.state is ServerState.PRIMARY
    return here.streaming and here.received_lsn >= there.received_lsn
