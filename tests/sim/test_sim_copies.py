"""A simulated copy as a rewind leaves it: not consistent before it has the last WAL of its source."""

from __future__ import annotations

import contextlib

import pytest

from failover_agent.core.model import Server, ServerState
from failover_agent.errors import PostgresFailed, RewindNotBegun
from tests.sim.test_sim_postgres import Trio, trio

__all__ = ["trio"]
ALL = 1 << 20


def db3_becomes_a_copy_of_db1(trio: Trio) -> None:
    """It has nothing of what db1 wrote."""
    db3 = trio.hosts["db3"].postgres
    db3.crash()
    for _ in range(3):
        assert trio.commit()()
    assert trio.db1.wal is not None
    db3.wal = trio.db1.wal.lacking(ALL)
    assert not db3.wal.is_whole


def seen(trio: Trio) -> Server:
    found = trio.do(trio.hosts["db3"].postgres.observe)
    assert isinstance(found, Server)
    return found


def test_a_copy_waits_for_what_it_lacks_and_nobody_can_look_into_it(trio: Trio) -> None:
    db3_becomes_a_copy_of_db1(trio)
    db3 = trio.hosts["db3"].postgres

    def start() -> None:
        with contextlib.suppress(PostgresFailed):
            db3.start_standby("")

    trio._actor.spawn("start", start)
    trio.scheduler.run(trio.scheduler.now + 10)
    waiting = seen(trio)
    trio.do(lambda: db3.stop(5.0))
    trio.do(lambda: db3.start_standby("db1"))

    assert (waiting.state, waiting.received_lsn, waiting.streaming) == (ServerState.STARTING, 0, False)
    assert waiting.whole_from > 0
    assert seen(trio).state is ServerState.STANDBY
    assert db3.wal is not None
    assert db3.wal.is_whole


def test_a_copy_ends_where_the_line_it_follows_left_too_early(trio: Trio) -> None:
    assert trio.commit()()
    trio.scheduler.run(trio.scheduler.now + 1)
    trio.receivers["db2"].lags = True
    db3_becomes_a_copy_of_db1(trio)
    trio.do(lambda: trio.db2.promote(10.0, 1e9, above=1))
    db3 = trio.hosts["db3"].postgres

    with pytest.raises(PostgresFailed):
        trio.do(lambda: db3.start_standby("db2"))
    assert seen(trio).state is ServerState.STOPPED


def test_a_copy_that_is_not_whole_is_not_rewound(trio: Trio) -> None:
    db3_becomes_a_copy_of_db1(trio)
    db3 = trio.hosts["db3"].postgres

    def rewind() -> str:
        try:
            db3.rewind("db2", lambda _: None)
        except RewindNotBegun:
            return "refused"
        return "done"

    trio.do(lambda: trio.db2.promote(10.0, 1e9, above=1))
    assert trio.do(rewind) == "refused"
