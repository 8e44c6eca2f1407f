"""A simulated PostgreSQL that replays slowly, as tests/contract/test_replay_waits.py sees real servers do."""

from __future__ import annotations

import pytest

from failover_agent.core.model import Server, ServerState
from failover_agent.core.seals import Position
from failover_agent.errors import PostgresFailed
from tests.sim.backlogs import MIB
from tests.sim.test_sim_postgres import Trio

RATE = 4 * MIB
BACKLOG_S = 10.0


@pytest.fixture
def trio() -> Trio:
    """db2 has ten seconds of WAL to replay; its last restartpoint is five behind what it has replayed."""
    made = Trio()
    made.db2.replay_slowly(RATE, int(5 * RATE))
    made.db1.write_much(int(BACKLOG_S * RATE))
    made.scheduler.run(made.scheduler.now + 0.5)
    return made


def seen(trio: Trio) -> Server:
    server = trio.db2.observe()
    assert isinstance(server, Server)
    return server


def test_it_has_received_what_it_has_not_replayed_and_gets_on_by_its_rate(trio: Trio) -> None:
    first = seen(trio)
    trio.scheduler.run(trio.scheduler.now + BACKLOG_S / 2)
    then = seen(trio)

    assert first.received_lsn == then.received_lsn == trio.db1.wal_end()
    assert 0.3 * RATE * BACKLOG_S < then.replayed_lsn - first.replayed_lsn < 0.6 * RATE * BACKLOG_S
    trio.scheduler.run(trio.scheduler.now + BACKLOG_S)
    assert seen(trio).replayed_lsn == then.received_lsn


def test_a_promotion_ends_recovery_when_everything_is_replayed_and_no_sooner(trio: Trio) -> None:
    had, began = seen(trio).received_lsn, trio.scheduler.now
    with pytest.raises(PostgresFailed):
        trio.do(lambda: trio.db2.promote(3.0, trio.db2.host.boottime() + 60, above=1))
    assert trio.db2.state is ServerState.STANDBY

    trio.do(lambda: trio.db2.promote(30.0, trio.db2.host.boottime() + 60, above=1))

    assert trio.scheduler.now - began > 0.7 * BACKLOG_S
    assert seen(trio).history[-1].lsn == had


def test_a_position_is_what_was_flushed_and_after_a_restart_it_is_told_when_all_of_it_is_replayed(
    trio: Trio,
) -> None:
    had = seen(trio).received_lsn
    assert trio.do(lambda: trio.db2.cut_from("db1")) == Position(1, had)
    trio.scheduler.run(trio.scheduler.now + 0.6 * BACKLOG_S)

    began = trio.scheduler.now
    trio.do(trio.db2.kill)
    trio.do(lambda: trio.db2.start_standby(""))
    assert trio.scheduler.now - began > 3.0, "from the last restartpoint on, before anybody can connect"
    with pytest.raises(PostgresFailed, match="not replayed"):
        trio.do(lambda: trio.db2.cut_from("db1"))

    trio.scheduler.run(trio.scheduler.now + 2 * BACKLOG_S)
    assert trio.do(lambda: trio.db2.cut_from("db1")) == Position(1, had)


def test_who_replays_at_once_again_is_through_within_a_moment(trio: Trio) -> None:
    trio.db2.replay_at_once()
    trio.scheduler.run(trio.scheduler.now + 0.5)
    assert seen(trio).replayed_lsn == seen(trio).received_lsn
