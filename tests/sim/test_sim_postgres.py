"""What the simulated PostgreSQL promises, as tests/contract/test_synchronous.py asks it of real servers."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

from failover_agent.core.model import Holder, LeaseItem, ServerState, SyncSet
from failover_agent.core.quorum import NOBODY, SyncSeen, Waits, waits
from failover_agent.core.seals import Position
from failover_agent.errors import PostgresFailed
from failover_agent.shell.sealer import INCARNATION, NOTE
from tests.sim import wal as w
from tests.sim.commits import SENDER_TIMEOUT_S
from tests.sim.history import Ack
from tests.sim.host import Host, Session
from tests.sim.network import Network
from tests.sim.postgres import SimPostgres
from tests.sim.promises import Promises
from tests.sim.replication import Receiver
from tests.sim.sched import Actor, Scheduler

T = TypeVar("T")

DB2 = waits(["db2"], 1)
BOTH = waits(["db2", "db3"], 2)


class Trio:
    """db1 is primary, db2 and db3 follow; no agents, work is done by tasks of `do`."""

    lines = w.Lines()

    def __init__(self) -> None:
        self.scheduler = Scheduler()
        dice = random.Random(7)  # noqa: S311  # chance that can be repeated
        self.network = Network(self.scheduler, dice)
        self.hosts: dict[str, Host] = {}
        self.receivers: dict[str, Receiver] = {}
        log = w.fresh(self.lines, "db1")
        for index, name in enumerate(("db1", "db2", "db3")):
            host = self.hosts[name] = Host(self.scheduler, name, index, "az", random.Random(index))  # noqa: S311
            host.postgres = SimPostgres(host, self)  # type: ignore[arg-type]  # what of a world it needs
            host.postgres.wal, host.postgres.system = log.copy(), "s"
            host.postgres.state = ServerState.STOPPED
            host.kernel.element_until = host.kernel.bound_ns = 1 << 62
        for name, host in self.hosts.items():
            self.receivers[name] = Receiver(host, self.hosts, self.network, random.Random(name))  # noqa: S311
        self._actor = Actor(self.scheduler, "tests")
        self.promises = Promises(self)  # type: ignore[arg-type]
        self.stands: LeaseItem | None = None
        self.mistakes: list[str] = []
        self.do(self.db1.start_primary)
        for name in ("db2", "db3"):
            self.do(lambda name=name: self.hosts[name].postgres.start_standby("db1"))  # type: ignore[misc]
        self.scheduler.run(self.scheduler.now + 3)

    @property
    def db1(self) -> SimPostgres:
        return self.hosts["db1"].postgres

    @property
    def db2(self) -> SimPostgres:
        return self.hosts["db2"].postgres

    def item(self) -> LeaseItem | None:
        return self.stands

    def ambush(self, _: Host, __: str) -> None: ...

    def promoted(self, _: Host) -> None: ...

    def source(self, _: Host, upstream: str) -> SimPostgres:
        return self.hosts[upstream].postgres

    def dice_for(self, what: str) -> random.Random:
        return random.Random(what)  # noqa: S311

    def mistake(self, host: Host, rule: str, _: str) -> None:
        self.mistakes.append(f"{rule} {host.name}")

    def seal(self, name: str) -> None:
        """As an agent does: the note first, then the cut."""
        note = {"cluster": "c", "epoch": 1, "version": 4, "incarnation": "x", "against": "db1"}
        self.hosts[name].state_notes.pages[NOTE] = json.dumps(note)
        self.do(lambda: self.hosts[name].postgres.cut_from("db1"))

    def replicas_of(self, name: str) -> tuple[str, ...]:
        return tuple(n for n, r in self.receivers.items() if r.streams_from(self.hosts[name]))

    def do(self, work: Callable[[], T], limit_s: float = 20.0) -> T:
        found: list[T | Exception] = []

        def run() -> None:
            try:
                found.append(work())
            except PostgresFailed as error:
                found.append(error)

        self._actor.spawn("work", run)
        assert self.scheduler.run(self.scheduler.now + limit_s, lambda: bool(found)), "it takes too long"
        if isinstance(found[0], Exception):
            raise found[0]
        return found[0]

    def commit(self, *, local: bool = False) -> Callable[[], bool]:
        """Whether it came back within two seconds."""
        session = Session(1, self.db1.process, False, local)
        self.hosts["db1"].sessions[1] = session
        told: list[int] = []
        self.db1.commit(session, 1, lambda _, lsn: told.append(lsn))
        return lambda: self.scheduler.run(self.scheduler.now + 2, lambda: bool(told))


@pytest.fixture
def trio() -> Iterator[Trio]:
    made = Trio()
    yield made
    made.scheduler.close(iter([made._actor]))


def test_commits_wait_from_the_moment_the_setting_returns(trio: Trio) -> None:
    assert trio.commit()()
    trio.network.cut[("db2", "db1")] = 1  # db2 hears, and is not heard
    trio.do(lambda: trio.db1.set_sync(DB2))
    assert not trio.commit()()
    assert trio.commit(local=True)()


def test_any_k_of_the_members_let_a_commit_go(trio: Trio) -> None:
    trio.network.cut[("db3", "db1")] = 1
    trio.do(lambda: trio.db1.set_sync(waits(["db2", "db3"], 1)))
    assert trio.commit()()
    trio.do(lambda: trio.db1.set_sync(BOTH))
    assert not trio.commit()()


def test_the_barrier_comes_after_what_the_earlier_list_let_go(trio: Trio) -> None:
    before = trio.db1.wal.flushed if trio.db1.wal else 0
    barrier = trio.do(lambda: trio.db1.set_sync(DB2))
    assert barrier > before
    seen = trio.do(trio.db1.sync)
    assert isinstance(seen, SyncSeen)
    assert (seen.shown, seen.written) == (DB2, DB2)


def test_a_reload_takes_its_time_in_every_process(trio: Trio) -> None:
    """Without the steps of `set_sync` what is written and what is shown differ for a while."""
    trio.db1.written = DB2
    trio.db1.reload()
    assert trio.db1.shown == NOBODY
    trio.scheduler.run(trio.scheduler.now + 2)
    assert trio.db1.shown == DB2
    assert {s.wait for s in trio.db1.senders} == {DB2}


def test_who_waits_is_let_go_when_nobody_is_waited_for(trio: Trio) -> None:
    trio.network.cut[("db2", "db1")] = 1
    trio.do(lambda: trio.db1.set_sync(DB2))
    waits_for_ever = trio.commit()
    assert not waits_for_ever()
    trio.do(lambda: trio.db1.set_sync(NOBODY))
    assert waits_for_ever()


def test_the_list_outlives_a_crash_and_no_start_as_a_standby(trio: Trio) -> None:
    trio.do(lambda: trio.db1.set_sync(DB2))
    trio.db1.crash()
    trio.do(trio.db1.start_primary)
    assert trio.db1.shown == DB2
    trio.db1.crash()
    trio.do(lambda: trio.db1.start_standby(""))
    assert trio.db1.shown == NOBODY


def test_two_connections_of_one_standby_count_twice_unless_a_slot_admits_one(trio: Trio) -> None:
    trio.do(lambda: trio.db1.set_sync(BOTH))
    trio.network.cut[("db3", "db1")] = 1
    for slots, comes_back in ((True, False), (False, True)):
        trio.db1.one_sender_each = slots
        waits_for = trio.commit()
        trio.scheduler.run(trio.scheduler.now + 0.5)
        half_open = next(s for s in trio.db1.senders if s.standby == "db2")
        again = trio.db1.attach("db2")
        if again is not None:
            trio.db1.sends_through(again)
            trio.db1.hears(again, half_open.flushed)
        assert waits_for() is comes_back


@pytest.mark.parametrize("replay_blocked", [False, True])
def test_a_sealed_standby_takes_nothing_more(trio: Trio, replay_blocked: bool) -> None:
    trio.do(lambda: trio.db1.set_sync(DB2))
    assert trio.commit()()
    trio.db2.replay_blocked = replay_blocked
    sealed = trio.do(lambda: trio.db2.cut_from("db1"))
    assert trio.db2.wal is not None
    assert sealed == Position(1, trio.db2.wal.flushed)
    assert not trio.commit()()
    assert trio.db2.wal.flushed == sealed.lsn
    with pytest.raises(PostgresFailed):
        trio.do(lambda: trio.db2.follow("db1"))
    trio.do(trio.db2.end_cut)
    trio.db2.replay_blocked = False
    trio.do(lambda: trio.db2.follow("db1"))
    trio.scheduler.run(trio.scheduler.now + SENDER_TIMEOUT_S + 1)  # the old walsender holds the slot so long
    assert trio.commit()()


def test_an_emptied_upstream_alone_lets_a_blocked_standby_stream_on(trio: Trio) -> None:
    trio.do(lambda: trio.db1.set_sync(DB2))
    trio.db2.replay_blocked = True
    trio.db2.point_to("")
    assert trio.commit()()


def test_a_list_that_cannot_be_read_is_not_in_force(trio: Trio) -> None:
    trio.db1.hangs = True
    with pytest.raises(PostgresFailed):
        trio.do(lambda: trio.db1.set_sync(Waits(("db2",), 1)))
    trio.db1.hangs = False
    assert trio.commit()()


# What `promises` sees of it


ITEM = LeaseItem("c", "s", Holder("db1", "i-db1", "n"), 1, "t", 6.0, 1, 1000, mode="strict").but(
    sync=SyncSet(("db2", "db3"), 1, 4, ("x", "y")), may_claim=("db1", "db2", "db3")
)


@pytest.mark.parametrize("version", [4, 5])
def test_whoever_sealed_and_streams_again_is_seen_while_its_seal_could_be_counted(
    trio: Trio, version: int
) -> None:
    trio.stands = ITEM.but(sync=SyncSet(("db2", "db3"), 1, version))
    trio.seal("db2")
    trio.do(trio.db2.end_cut)
    trio.do(lambda: trio.db2.follow("db1"))
    trio.commit()()
    trio.scheduler.run(trio.scheduler.now + 3)

    assert trio.mistakes == (["F2 db2"] if version == 4 else [])


def _last_commit(trio: Trio, node: str = "db1") -> Ack:
    assert trio.db1.wal is not None
    return Ack(0.0, node, 1, trio.db1.wal.line.number, trio.db1.wal.flushed, 0.0)


def test_a_claim_that_counts_on_who_lacks_a_commit_is_seen(trio: Trio) -> None:
    for link in (("db1", "db3"), ("db3", "db1")):
        trio.network.cut[link] = 1
    trio.do(lambda: trio.db1.set_sync(DB2))
    trio.commit()()
    trio.stands = ITEM
    trio.promises.acknowledged(_last_commit(trio))
    assert trio.mistakes == []

    claimed = ITEM.but(holder=Holder("db2", "i-db2", "n"), epoch=2, sync=SyncSet(("db3",), 1, 5))
    trio.promises.landed(trio.hosts["db2"], None, claimed, 0.0)

    assert trio.mistakes == ["S1 db1"]


def test_who_lost_its_data_can_deceive_nobody_until_it_enters_again(trio: Trio) -> None:
    trio.commit()()
    trio.scheduler.run(trio.scheduler.now + 1)
    trio.stands, last = ITEM, _last_commit(trio)
    for name in ("db2", "db3"):
        trio.hosts[name].postgres.wal = w.fresh(trio.lines, name)
    trio.promises.acknowledged(last)
    assert trio.mistakes == ["S1 db1"]

    trio.hosts["db2"].state_notes.pages[INCARNATION] = json.dumps({"id": "another"})
    trio.promises.acknowledged(last)
    assert trio.mistakes == ["S1 db1"]


def test_in_mode_strict_an_answer_before_anybody_vouches_is_seen(trio: Trio) -> None:
    trio.commit()()
    trio.scheduler.run(trio.scheduler.now + 1)
    bare = ITEM.but(sync=SyncSet(version=3))
    for then, seen in ((None, ["S2 db1"]), (ITEM, []), (bare.but(mode="quorum"), [])):
        trio.mistakes.clear()
        trio.promises.landed(trio.hosts["db1"], None, bare, 0.0)
        if then is not None:
            trio.promises.landed(trio.hosts["db1"], bare, then, 0.0)
        trio.stands = bare
        trio.promises.acknowledged(_last_commit(trio))
        assert trio.mistakes == seen
