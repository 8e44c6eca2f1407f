"""What a look tells of a standby that waits: for WAL that it needs to get ready, or for a person's word."""

from __future__ import annotations

import contextlib
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from failover_agent.adapters.postgres import on_disk
from failover_agent.core.model import ServerState
from failover_agent.errors import PostgresFailed

from .namespaces import entered
from .postgres_nodes import Node, look, two_nodes, until

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

STOP_S = 30.0
NEW_SEGMENT = "SELECT pg_logical_emit_message(true, 'a', repeat('b', 100)); SELECT pg_switch_wal()"


@pytest.fixture
def pair() -> Iterator[tuple[Node, Node]]:
    """db1 is primary, db2 streams from it."""
    with tempfile.TemporaryDirectory(prefix="pg-waits-") as place:
        Path(place).chmod(0o755)
        with two_nodes(Path(place)) as (db1, db2):
            db1.postgres.init(quiet)
            db1.postgres.start_primary()
            with entered(db2.namespace):
                db2.postgres.clone("db1", quiet)
            db2.postgres.start_standby("db1")
            until(lambda: has_replayed_all(db2, db1))
            yield db1, db2


def quiet(_line: str) -> None: ...


def has_replayed_all(standby: Node, primary: Node) -> bool:
    there = look(standby)
    return there.streaming and there.replayed_lsn == look(primary).received_lsn


def lose_the_last_segments(db1: Node, db2: Node) -> None:
    """As a copy that was made while its source wrote on: it needs WAL that it does not have."""
    for _ in range(3):
        db1.sql(NEW_SEGMENT)
    until(lambda: has_replayed_all(db2, db1))
    db2.postgres.stop(STOP_S)
    segments = on_disk.written_segments(db2.plan.wal_dir, on_disk.read_control(db2.plan).segment_bytes)
    for segment in segments[-2:]:
        segment.path.unlink()


def test_a_standby_that_lacks_wal_shows_whom_it_waits_for_and_what_it_needs(pair: tuple[Node, Node]) -> None:
    db1, db2 = pair
    lose_the_last_segments(db1, db2)
    db1.unit.kill(STOP_S)

    def start() -> None:
        with contextlib.suppress(PostgresFailed):
            db2.postgres.start_standby("db1")

    starts = threading.Thread(target=start)
    starts.start()
    until(lambda: look(db2).state is ServerState.STARTING and look(db2).upstream == "db1")
    waiting, own = look(db2), db2.postgres.wal_end()
    db2.postgres.stop(STOP_S)
    starts.join()
    stopped = look(db2)

    assert isinstance(own, int)
    assert own < waiting.whole_from
    assert (stopped.state, stopped.whole_from) == (ServerState.STOPPED, waiting.whole_from)
    assert stopped.standby_signal


def test_replay_that_a_person_paused_or_put_off_is_told_from_replay_that_goes_on(
    pair: tuple[Node, Node],
) -> None:
    db1, db2 = pair
    assert not look(db1).replay_waits
    assert not look(db2).replay_waits

    db2.sql("SELECT pg_wal_replay_pause()")
    assert look(db2).replay_waits
    db2.sql("SELECT pg_wal_replay_resume()")
    assert not look(db2).replay_waits
    db2.sql("ALTER SYSTEM SET recovery_min_apply_delay = '1h'")
    db2.sql("SELECT pg_reload_conf()")
    until(lambda: look(db2).replay_waits)
