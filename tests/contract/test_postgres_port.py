"""What the shell relies on of ports.Postgres, kept by real servers and by the one in memory alike.

test_postgres.py looks closer at the real one; this keeps the worlds of the unit tests honest.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from failover_agent.adapters.clock import SystemClock
from failover_agent.adapters.systemd import looks
from failover_agent.checkup.host import look_again
from failover_agent.core.model import Server, ServerState
from failover_agent.core.promotion import Beginning
from failover_agent.errors import LeaseMovedOn
from failover_agent.ports import Clock, Postgres
from tests.support.world import World

from .namespaces import entered
from .postgres_nodes import two_nodes

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

SOON_S = 60.0
PROMOTE_S = 60.0


@dataclass
class Pair:
    """Two servers, named db1 and db2, and what lets time pass for them."""

    db1: Postgres
    db2: Postgres
    clock: Clock
    on_db2: Callable[[], contextlib.AbstractContextManager[object]]
    pass_time: Callable[[], object]

    def until(self, fact: Callable[[], bool]) -> None:
        for _left in looks(SOON_S, 0.05):
            if fact():
                return
            self.pass_time()
        pytest.fail("did not come true in time")


@pytest.fixture(params=["real", "memory"])
def pair(request: pytest.FixtureRequest) -> Iterator[Pair]:
    if request.param == "memory":
        world = World("db1", "db2")
        servers = world.postgres("db1"), world.postgres("db2")
        yield Pair(*servers, world.clock, contextlib.nullcontext, world.replicate)
        return
    # Not pytest's own directory: PostgreSQL's user must be able to walk into it.
    with tempfile.TemporaryDirectory(prefix="pg-port-") as place:
        Path(place).chmod(0o755)
        with two_nodes(Path(place)) as (db1, db2):
            namespace = db2.namespace
            yield Pair(db1.postgres, db2.postgres, SystemClock(), lambda: entered(namespace), lambda: None)


def look(postgres: Postgres) -> Server:
    seen = look_again(lambda: postgres.observe(fresh=True))
    assert isinstance(seen, Server), seen
    return seen


def quiet(_line: str) -> None: ...


def test_a_pair_is_made_loses_its_primary_and_follows_the_next_one(pair: Pair) -> None:
    db1, db2 = pair.db1, pair.db2

    def has_all(standby: Postgres, primary: Postgres) -> bool:
        here, there = look(standby), look(primary)
        return here.streaming and here.received_lsn >= there.received_lsn

    # Nothing there; what initdb leaves is stopped and can only start as a standby.
    assert look(db1).state is look(db2).state is ServerState.ABSENT
    db1.init(quiet)
    made = look(db1)
    assert (made.state, made.standby_signal) == (ServerState.STOPPED, True)
    db1.start_primary()
    first = look(db1)
    assert (first.state, first.timeline, first.history) == (ServerState.PRIMARY, 1, ())
    assert first.system_identifier == made.system_identifier != ""

    with pair.on_db2():
        db2.clone("db1", quiet)
    assert look(db2).state is ServerState.STOPPED, "a clone starts nothing"
    db2.start_standby("db1")
    pair.until(lambda: has_all(db2, db1))
    assert (look(db2).state, look(db2).upstream) == (ServerState.STANDBY, "db1")
    assert look(db2).system_identifier == first.system_identifier

    # The primary is killed: what its disk ends with is what the standby has.
    db1.kill()
    assert look(db1).state is ServerState.STOPPED
    pair.until(lambda: db1.wal_end() == look(db2).received_lsn)
    db1.kill()  # may be repeated

    # A promotion that comes too late changes nothing; one in time begins the next timeline.
    with pytest.raises(LeaseMovedOn):
        db2.promote(PROMOTE_S, pair.clock.now() - 0.01, above=1)
    assert look(db2).state is ServerState.STANDBY
    assert db2.promote(PROMOTE_S, pair.clock.now() + PROMOTE_S, above=1) == 2
    second = look(db2)
    assert (second.state, second.timeline, second.upstream) == (ServerState.PRIMARY, 2, "")
    assert [fork.timeline for fork in second.history] == [1]
    began = db2.beginning()
    assert isinstance(began, Beginning)
    assert (began.timeline, began.fork) == (2, second.history[-1].lsn)
    db2.checkpoint()

    # The old primary has nothing of its own: it follows as it is.
    db1.start_standby("db2")
    pair.until(lambda: has_all(db1, db2) and look(db1).timeline == 2)

    # A stop sends everything first.
    db2.stop(PROMOTE_S)
    assert look(db2).state is ServerState.STOPPED
    pair.until(lambda: db2.wal_end() == look(db1).received_lsn)

    # Numbers that others may have had are passed over.
    assert db1.promote(PROMOTE_S, pair.clock.now() + PROMOTE_S, above=5) == 6
