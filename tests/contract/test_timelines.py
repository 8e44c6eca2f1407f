"""Timeline numbers that are passed over, on real servers: PostgreSQL counts on, follows and restarts (N2)."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from failover_agent.adapters.clock import SystemClock
from failover_agent.adapters.postgres import LocalPostgres, on_disk, timelines
from failover_agent.adapters.postgres.seen_timeline import SeenTimeline
from failover_agent.checkup.host import look_again
from failover_agent.core.model import Server, ServerState
from failover_agent.core.seals import Position
from failover_agent.errors import PostgresFailed

from .namespaces import entered
from .postgres_nodes import Node, all_received, look, two_nodes, until

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]


@pytest.fixture
def pair() -> Iterator[tuple[Node, Node]]:
    """db1 is primary on timeline 1, db2 has all of it."""
    with tempfile.TemporaryDirectory(prefix="pg-timelines-") as place:
        Path(place).chmod(0o755)  # PostgreSQL's user must be able to walk into it
        with two_nodes(Path(place)) as (db1, db2):
            db1.postgres.init(lambda _: None)
            db1.postgres.start_primary()
            with entered(db2.namespace):
                db2.postgres.clone("db1", lambda _: None)
            db2.postgres.start_standby("db1")
            until(lambda: follows(db2, db1))
            yield db1, db2


def follows(standby: Node, primary: Node) -> bool:
    here, there = look(standby), look(primary)
    return here.streaming and here.received_lsn >= there.received_lsn and here.timeline == there.timeline


def files_of(node: Node) -> set[str]:
    return {path.name for path in node.plan.wal_dir.glob("*.history")}


def test_numbers_that_others_had_are_passed_over_and_nobody_minds_the_gap(pair: tuple[Node, Node]) -> None:
    db1, db2 = pair

    # Timelines 2 and 3 were other nodes'; db2 never saw them.
    db1.postgres.stop(10)
    until(lambda: not look(db2).streaming)
    assert db2.postgres.promote(60, SystemClock().now() + 60, above=3) == 4
    assert [fork.timeline for fork in look(db2).history] == [1]
    assert files_of(db2) == {"00000002.history", "00000003.history", "00000004.history"}

    # A follower fetches every file in between, and starts again with them.
    db1.postgres.start_standby("db2")
    until(lambda: follows(db1, db2))
    db2.sql("CREATE TABLE t AS SELECT 1 AS i")
    db1.postgres.stop(10)
    db1.postgres.start_standby("db2")
    until(lambda: follows(db1, db2))
    assert db1.sql("SELECT i FROM t") == [(1,)]

    # Numbers passed over for a promotion that never came would keep it from starting: they go first.
    with entered(db1.namespace):
        timelines.pass_over(db1.plan, 6)
    assert {"00000005.history", "00000006.history"} < files_of(db1)
    db1.postgres.stop(10)
    db1.postgres.start_standby("db2")
    until(lambda: follows(db1, db2))
    assert files_of(db1) == files_of(db2)

    # And on: the next promotion has nothing to pass over.
    db2.postgres.stop(10)
    assert db1.postgres.promote(60, SystemClock().now() + 60, above=4) == 5
    db2.postgres.start_standby("db1")
    until(lambda: follows(db2, db1))
    assert look(db2).state is ServerState.STANDBY


def test_a_standby_that_starts_again_soon_after_a_failover_knows_its_timeline(
    pair: tuple[Node, Node],
) -> None:
    """→ hosts lost power before a restartpoint: pg_control names the timeline before, nobody was chosen."""
    db1, db2 = pair
    db1.postgres.stop(10)
    assert db2.postgres.promote(60, SystemClock().now() + 60, above=1) == 2
    db1.postgres.start_standby("db2")
    db2.sql("CREATE TABLE t AS SELECT 1 AS i")
    until(lambda: follows(db1, db2))
    had = all_received(db1, db2)
    known = look(db1)

    db2.postgres.kill()
    db1.postgres.kill()
    again = LocalPostgres(db1.plan, db1.unit, SystemClock())
    assert on_disk.read_control(db1.plan).timeline == 1, "else this shows nothing"
    again.start_standby("")
    seen = look_again(again.observe)
    assert isinstance(seen, Server)
    assert seen.timeline == 2
    assert seen.received_lsn >= had
    assert seen.history == known.history

    # A copy is what it was copied from, and no more.
    again.stop(10)
    db2.postgres.start_standby("")
    assert db2.postgres.promote(60, SystemClock().now() + 60, above=2) == 3
    with entered(db1.namespace):
        again.clone("db2", lambda _: None)
    assert SeenTimeline(db1.plan).of(known.system_identifier) == 0


def test_a_standby_that_still_replays_after_a_restart_has_all_of_its_wal_and_seals_when_it_is_through(
    pair: tuple[Node, Node],
) -> None:
    """→ it was sealed half-way, soon after a failover: what it had yet to replay was acknowledged, and lost.

    The control file names the timeline before, whose end it had passed (F2, S9).
    """
    db1, db2 = pair
    db1.postgres.stop(10)
    assert db2.postgres.promote(10, SystemClock().now() + 60, above=1) == 2
    db1.postgres.start_standby("db2")
    db2.sql("CREATE TABLE t (i int)")
    for _ in range(20):
        db2.sql("INSERT INTO t VALUES (1)")
    until(lambda: follows(db1, db2))
    had = all_received(db1, db2)
    db2.postgres.kill()
    db1.postgres.kill()
    assert on_disk.read_control(db1.plan).timeline == 1, "else this shows nothing"

    again = LocalPostgres(db1.plan, db1.unit, SystemClock())
    set_apply_delay(db1, "1h")
    again.start_standby("")
    seen = look_again(again.observe)
    assert isinstance(seen, Server)
    assert seen.timeline == 2
    assert seen.received_lsn >= had
    assert seen.replayed_lsn < had, "else this shows nothing"
    with entered(db1.namespace), pytest.raises(PostgresFailed, match="is replayed up to"):
        again.cut_from("db2")

    set_apply_delay(db1, "0")
    again.stop(10)
    again.start_standby("")
    until(lambda: sealed(db1, again) == Position(2, seen.received_lsn))


def set_apply_delay(node: Node, delay: str) -> None:
    """Replay waits before the first commit that it comes to."""
    with node.plan.config_file.open("a") as configuration:
        configuration.write(f"recovery_min_apply_delay = '{delay}'\n")


def sealed(node: Node, postgres: LocalPostgres) -> Position | None:
    """None while it is refused."""
    try:
        with entered(node.namespace):
            return postgres.cut_from("db2")
    except PostgresFailed:
        return None
