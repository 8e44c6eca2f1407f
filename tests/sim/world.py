"""A simulated cluster: real agents over simulated hosts, PostgreSQL, network and cloud, all from one seed.

world = World(seed)
world.run(60)        true seconds; faults are laid over it by `faults`
world.history        what the checkers read
"""

from __future__ import annotations

import hashlib
import itertools
import json
import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from failover_agent.core.lease_writes import schema_version
from failover_agent.core.model import (
    Absent,
    Holder,
    Landed,
    LeaseItem,
    Member,
    Mode,
    ServerState,
    SyncSet,
    Timings,
    Version,
    WriteOutcome,
)
from failover_agent.core.promises import Promise
from failover_agent.core.quorum import NOBODY, show
from failover_agent.core.sync_choice import acknowledgements
from failover_agent.core.timings import PROFILES
from failover_agent.errors import PostgresFailed
from tests.sim import claims, profiles
from tests.sim import wal as w
from tests.sim.clients import Client, Reader
from tests.sim.fence import fencing_of
from tests.sim.history import Ack, History, LeaseWrite, Mistake, Promised, Promotion, shown
from tests.sim.host import Host, Session
from tests.sim.life import VIP, Life
from tests.sim.network import Network
from tests.sim.postgres import SimPostgres
from tests.sim.promises import Promises
from tests.sim.replication import Receiver
from tests.sim.sched import Scheduler
from tests.sim.windows import Windows
from tests.support.memory import MemoryLeaseStore

TABLES = ("rtb-a", "rtb-b")
_NODES = (*[2] * 6, *[3] * 9, 4, 4, 5, 5, 7)
_MODES: tuple[Mode, ...] = ("async", "quorum", "quorum", "strict")
_PROFILES = ("fast", "fast", "fast", "balanced", "balanced", "balanced", "patient")


class World:
    def __init__(self, seed: int) -> None:
        self.seed = seed
        dice = self.dice_for("shape")
        self.profile, self.profile_to = profiles.draw(self.dice_for("timings"), dice.choice(_PROFILES))
        self.timings: Timings = PROFILES[self.profile]  # that it begins with
        self.timings_to: Timings = PROFILES[self.profile_to]  # and that it ends with
        given = (self.timings, self.timings_to)
        self.slowest = max(given, key=lambda t: t.ttl_s)
        self.lag_limit_bytes = dice.choice((0, 200, 1 << 24))
        self.fencing = fencing_of(self.dice_for("fencing"))
        self.data_lost = False  # a volume has failed in this run
        self.heals = 0  # how often the faults were taken back
        names = [f"db{i}" for i in range(1, dice.choice(_NODES) + 1)]
        spare = [f"db{len(names) + 1}"] if len(names) < 7 and self.dice_for("spare").random() < 0.25 else []
        self.mode: Mode = self.dice_for("mode").choice(_MODES)
        second_ways = self.dice_for("second ways")
        self.failsafe, self.relay = second_ways.random() < 0.85, second_ways.random() < 0.6
        self.leave_after_s = self.dice_for("silence").choice((2.0, 5.0, 10.0))  # S6
        self.history = History(seed, self.mode, self.timings.ttl_s, self.lag_limit_bytes, tuple(names))
        self.history.suspect_after_s = min(t.suspect_after_s for t in given)
        self.history.waits_for_fences = self.fencing.on and self.fencing.when_unanswered == "wait"
        self.events: list[tuple[float, str, str, dict[str, object]]] = []
        self.scheduler = Scheduler()
        self.network = Network(self.scheduler, self.dice_for("network"))
        self.store = MemoryLeaseStore()
        self.tables = dict.fromkeys(TABLES, "")
        self.stale_routes: dict[str, str] | None = None
        self.lines = w.Lines()
        self.touched_at = 0.0
        self.acked: dict[int, Ack] = {}
        self.lost: set[int] = set()  # acknowledged, and missing in a node that was promoted
        self.promises = Promises(self)
        self.lives: list[Life] = []
        self._handing_over: list[Life] = []  # whose agents a person told to
        self.ambushes: list[Callable[[Host, str], bool]] = []
        self._numbers = itertools.count(1)
        self._first_sent: dict[str, float] = {}
        self.windows = Windows(self.history)
        self._touching: dict[str, Life] = {}  # whose data directory is being replaced, by which process
        self.members = {
            n: Member(n, f"10.0.0.{i}", f"az-{i % 3}", f"i-{n}") for i, n in enumerate([*names, *spare], 1)
        }
        self.hosts: dict[str, Host] = {}
        self.receivers: dict[str, Receiver] = {}
        for index, name in enumerate(self.members):
            self.hosts[name] = self._host(name, index)
            self.hosts[name].member = name in names
            self.hosts[name].knows = tuple(names)
        for name, host in self.hosts.items():
            self.receivers[name] = Receiver(host, self.hosts, self.network, self.dice_for(f"receiver {name}"))
        if dice.random() < 0.85:
            self._as_if_it_had_run(self.dice_for("past"))
        self._clients(dice)
        for host in self.in_service():
            self.scheduler.after(dice.uniform(0, 1), self.starter(host))

    def dice_for(self, what: str) -> random.Random:
        """Chance of its own for each part, so that one part's change leaves the others' as they were."""
        return random.Random(f"{self.seed} {what}")  # noqa: S311  # chance that can be repeated

    def _host(self, name: str, index: int) -> Host:
        host = Host(self.scheduler, name, index, self.members[name].az, self.dice_for(f"host {name}"))
        host.postgres = SimPostgres(host, self)
        host.on_change = self.windows.look
        host.profile = self.profile
        return host

    def _as_if_it_had_run(self, dice: random.Random) -> None:
        """Everything was stopped in an orderly way, db1 as the last primary."""
        wal = w.fresh(self.lines, "db1")
        for name, host in self.hosts.items():
            if not host.member:
                host.token = False
                continue
            host.postgres.wal, host.postgres.system = wal.copy(), "system of old"
            host.postgres.state, host.token = ServerState.STOPPED, False
            host.state_notes.pages["incarnation"] = json.dumps({"id": f"copy of {name}"})
        item = LeaseItem("c", "system of old", None, 1, "old", self.timings.ttl_s, 1, w.START)
        if self.mode != "async":
            others = tuple(sorted(h.name for h in self.in_service() if h.name != "db1"))
            others = others if dice.random() < 0.7 else ()
            copies = tuple(f"copy of {name}" for name in others)
            item = item.but(
                mode=self.mode,
                schema_version=schema_version(self.mode),
                released_by="db1",
                may_claim=("db1", *others),
                sync=SyncSet(others, acknowledgements(len(others)), 1, copies),
            )
        assert isinstance(self.store.write(item, only_if=Absent()), Landed)
        self.history.writes.append(LeaseWrite(0.0, "", item, 0.0))

    def _clients(self, dice: random.Random) -> None:
        for table in TABLES:
            Client(self, table, 0.25, self.dice_for(f"client {table}"))
        Client(self, "", 0.15, self.dice_for("client"))
        Client(self, "", 0.4, self.dice_for("client outside"), local=True)
        for host in self.hosts.values():
            if dice.random() < 0.5:
                Reader(self, host, 0.5, self.dice_for(f"reader {host.name}"))

    # Running

    def run(self, seconds: float, stop: Callable[[], bool] | None = None) -> bool:
        return self.scheduler.run(self.scheduler.now + seconds, stop)

    def close(self) -> None:
        for host in self.hosts.values():
            self.windows.end(host)
        self.scheduler.close(iter(self.lives))

    def starter(self, host: Host) -> Callable[[], None]:
        """Starts the next life of the host's agent, unless one runs or the host is down."""

        def start() -> None:
            if host.up and host.member and (host.life is None or not host.life.alive):
                host.life = Life(self, host)
                self.lives.append(host.life)
                self.trace(host.name, "agent-starts", {})

        return start

    def trace(self, node: str, event: str, values: dict[str, object]) -> None:
        if not self.scheduler.closing:
            self.events.append((self.scheduler.now, node, event, values))

    def fingerprint(self) -> str:
        """Equal for equal runs."""
        found = hashlib.blake2b(digest_size=8)
        for event in self.events:
            found.update(repr(event).encode())
        return found.hexdigest()

    def in_service(self) -> list[Host]:
        return [host for host in self.hosts.values() if host.member]

    @contextmanager
    def handover_of(self, life: Life) -> Iterator[None]:
        """While a person's order to hand over is with this agent."""
        order = self.history.handover_ordered(self.scheduler.now, life.host.name)
        self._handing_over.append(life)
        try:
            yield
        finally:
            self._handing_over.remove(life)
            order.end = self.scheduler.now

    def is_handing_over(self) -> bool:
        return any(life.alive for life in self._handing_over)

    def next_life(self) -> int:
        return len(self.lives) + 1

    def next_write(self) -> int:
        return next(self._numbers)

    def new_system(self, name: str) -> str:
        return f"made by {name} at {self.scheduler.now:.3f}"

    def open_session(self, host: Host, *, as_reader: bool, local: bool = False) -> Session:
        session = Session(next(self._numbers), host.postgres.process, as_reader, local)
        host.sessions[session.number] = session
        return session

    def acknowledged(self, ack: Ack) -> None:
        self.history.acks.append(ack)
        if not ack.local:
            self.acked[ack.number] = ack
            self.promises.acknowledged(ack)

    def may_write(self, name: str) -> bool:
        return self.windows.is_open(self.hosts[name])

    # What the ports tell

    def ambush(self, host: Host, what: str) -> None:
        """A fault may lie in wait for this moment."""
        if self.ambushes:
            self.ambushes = [trap for trap in self.ambushes if not trap(host, what)]

    def item(self) -> LeaseItem | None:
        item = self.store.read()
        assert item is None or isinstance(item, LeaseItem)
        return item

    def sends(self, host: Host, item: LeaseItem, only_if: Absent | Version) -> None:
        now = self.scheduler.now
        self._first_sent.setdefault(item.token, now)
        if host.name != item.last_holder:
            return  # a person's word, for a holder that is gone
        if item.holder is None:
            if host.postgres.writes():
                self.mistake(host, "N3", "the lease is given away while PostgreSQL here may still write")
            self.ambush(host, "release")
        elif isinstance(only_if, Absent) or item.epoch > only_if.epoch:
            claims.note(self, host, item, only_if)
            self.ambush(host, "claim")
        else:
            stands = self.item()
            moved = stands is not None and item.sync.version > stands.sync.version
            self.ambush(host, "sync" if moved else "renewal")
            if moved and stands is not None and stands.sync.k == 0:
                self.ambush(host, "first-set")
            elif moved and stands is not None and len(item.may_claim) > len(stands.may_claim):
                self.ambush(host, "set-grows")

    def lands(self, host: Host, item: LeaseItem, only_if: Absent | Version) -> WriteOutcome:
        before = self.item()
        outcome = self.store.write(item, only_if=only_if)
        if isinstance(outcome, Landed):
            now = self.scheduler.now
            self.promises.landed(host, before, item, self._first_sent[item.token])
            by = host.name if host.name == item.last_holder else ""
            self.history.writes.append(LeaseWrite(now, by, item, self._first_sent[item.token]))
            who = item.holder.name if isinstance(item.holder, Holder) else f"nobody, to {item.offered_to}"
            self.trace(
                host.name, "landed", {"epoch": item.epoch, "holder": who, "token": item.token} | shown(item)
            )
        return outcome

    def accepts_loss(self, host: Host, epoch: int) -> bool:
        """Whether a person let this node take over with what may be lost."""
        agent = host.life.agent if host.life is not None else None
        return agent is not None and agent.body.orders.accepted_loss == epoch

    def promised(self, by: Host, promise: Promise, asked_at: float) -> None:
        self.history.promises.append(
            Promised(asked_at, self.scheduler.now, by.name, promise.holder.name, promise.epoch, promise.ttl_s)
        )
        self.ambush(by, "promise")

    def route(self, host: Host, table: str, interface: str) -> None:
        self.tables[table] = interface
        self.trace(host.name, "route", {"table": table, "to": interface})

    def shown_routes(self) -> dict[str, str]:
        return self.tables if self.stale_routes is None else self.stale_routes

    def mistake(self, host: Host, rule: str, what: str) -> None:
        self.trace(host.name, "mistake", {"rule": rule, "what": what})
        self.history.mistakes.append(Mistake(self.scheduler.now, host.name, rule, what))

    def promoted(self, host: Host) -> None:
        wal, item = host.postgres.wal, self.item()
        assert wal is not None
        missing = self.acked.keys() - w.commits_of(wal) - self.lost
        self.lost |= missing
        host.moved_at = self.scheduler.now
        if (host.postgres.written, host.postgres.shown) != (NOBODY, NOBODY):
            self.mistake(host, "S7", f"it is promoted and waits for {show(host.postgres.shown)}")
        self.history.promotions.append(
            Promotion(
                self.scheduler.now,
                host.name,
                wal.line.number,
                wal.timeline,
                item.epoch if item else 0,
                sum(s.as_reader for s in host.sessions.values()),
                host.kernel.is_open(),
                tuple(sorted(missing)),
                self._was_handed_over(host),
            )
        )
        self.trace(host.name, "promoted", {"timeline": wal.timeline, "line": wal.line.number})

    def _was_handed_over(self, host: Host) -> bool:
        item = self.item()
        if item is None:
            return False
        before = [x for x in self.history.writes if x.item.epoch == item.epoch - 1]
        return bool(before) and before[-1].item.holder is None and before[-1].item.offered_to == host.name

    def stops(self, host: Host) -> None:
        if host.postgres.state is not ServerState.PRIMARY or host.kernel.refuses:
            return
        if host.kernel.is_open():
            self.mistake(host, "order", "PostgreSQL is stopped while the gate is open")
        if VIP in host.addresses.here:
            self.mistake(host, "G8", "PostgreSQL is stopped while the virtual address is here")

    # Replication and copies

    def replicas_of(self, name: str) -> tuple[str, ...]:
        host = self.hosts[name]
        return tuple(n for n, r in self.receivers.items() if r.streams_from(host))

    def drain(self, host: Host) -> bool:
        drained = [
            r.drain(host) for r in self.receivers.values() if r.streams_from(host)
        ]  # all get their turn
        return all(drained)

    def source(self, host: Host, upstream: str) -> SimPostgres:
        """The server a copy is made from. Raises PostgresFailed."""
        other = self.hosts[upstream]
        ways = self.network.passes(host.name, upstream) and self.network.passes(upstream, host.name)
        serves = other.postgres.state is ServerState.PRIMARY and not other.postgres.stopping
        if not ways or not other.talks() or not serves:
            raise PostgresFailed(f"{upstream} cannot be copied from", hint="It is a simulation.")
        return other.postgres

    @contextmanager
    def destructive(self, host: Host, what: str) -> Iterator[None]:
        """While a data directory that holds something is being replaced (N5)."""
        others = [n for n, life in self._touching.items() if life.alive and n != host.name]
        if what:
            self.promises.touched(host, what)
            self.ambush(host, what)
            if others:
                self.mistake(host, "N5", f"its {what} begins while {others[0]} is being rewound or cloned")
            assert host.life is not None
            self._touching[host.name] = host.life
        try:
            yield
        finally:
            if what:
                self._touching.pop(host.name, None)
