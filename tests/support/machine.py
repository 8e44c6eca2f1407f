# ruff: noqa: ARG002  # the arguments are the ports'; most of these parts need none of them
"""One node's parts in memory: clock, gate, addresses, notes, and a PostgreSQL with WAL and timelines.

What a power loss, a frozen host and a kernel do to them follows LAB_FACTS; nothing here sleeps.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from failover_agent.core.liveness import Readings, Volume
from failover_agent.core.model import (
    Absent,
    Fork,
    Heard,
    LeaseItem,
    Mode,
    NodeReport,
    Server,
    ServerState,
    SyncSet,
    Unknown,
    Version,
    WriteOutcome,
)
from failover_agent.core.promises import Promise
from failover_agent.core.promotion import Beginning
from failover_agent.core.quorum import NOBODY, at_start
from failover_agent.core.rejoin import Way, choose_way
from failover_agent.core.relay import RouteChange
from failover_agent.core.seals import Position, Seal, Sealed, counts_as_heard
from failover_agent.errors import AgentError, GateFailed, LeaseMovedOn, PostgresFailed, RewindNotBegun
from failover_agent.ports import Progress
from tests.support.slots import MemorySlots

if TYPE_CHECKING:
    from failover_agent.shell.agent import Agent
    from tests.support.world import World

T = TypeVar("T")

NOTHING_READ = Readings()
END_OF_RECOVERY_BYTES = 1  # the record that begins a timeline


class HandClock:
    """Goes on only when told. A wait inside a call moves it, and the world's physics with it."""

    def __init__(self, moved: Callable[[], None] = lambda: None) -> None:
        self.time = 100.0
        self.moved = moved

    def now(self) -> float:
        return self.time

    def wall(self) -> float:
        return 1_760_000_000 + self.time

    def wait(self, wake: object, timeout_s: float) -> bool:
        if not (is_set := bool(wake.is_set())):  # type: ignore[attr-defined]
            self.time += timeout_s
            self.moved()
        return is_set


@dataclass(slots=True)
class Opening:
    """The gate was open from `begin` until `end` at the latest."""

    begin: float
    end: float
    writes: bool = False  # PostgreSQL was primary behind it


class KernelGate:
    """Shuts by itself at the deadline, whatever the agent does. Keeps every opening.

    `sessions` are connections that clients made while it was open; they outlive its shutting.
    """

    def __init__(self, clock: HandClock) -> None:
        self._clock = clock
        self.openings: list[Opening] = []
        self.sessions = 0
        self.cannot_end_sessions = False
        self.lost = False  # flushed by a stranger, and nft takes nothing any more

    def end_sessions(self) -> int:
        assert not self.is_open(), "what is ended would come back at once"
        if self.sessions and self.cannot_end_sessions:
            raise GateFailed("this kernel cannot", hint="It is a test.")
        ended, self.sessions = self.sessions, 0
        return ended

    def dismiss(self) -> int:
        self._must_be_there()
        assert not self.is_open(), "who is dismissed would come back at once"
        return 0 if self.cannot_end_sessions else self.end_sessions()

    def can_end_sessions(self) -> bool:
        return not self.cannot_end_sessions

    def open_until(self, deadline: float) -> None:
        now = self._clock.now()
        if self.is_open():
            self.openings[-1].end = deadline
        elif deadline > now:
            self.openings.append(Opening(now, deadline))

    def shut(self) -> None:
        self._must_be_there()
        if self.is_open():
            self.openings[-1].end = self._clock.now()

    def is_open(self) -> bool:
        return bool(self.openings) and self.openings[-1].end > self._clock.now()

    def intact(self) -> bool:
        return not self.lost

    def restore(self) -> None:
        self.shut()

    def _must_be_there(self) -> None:
        if self.lost:
            raise GateFailed("nft does not answer", hint="It is a test.")

    def watch(self, disturbed: Callable[[], None]) -> None: ...


class Dummy:
    """Virtual addresses."""

    def __init__(self) -> None:
        self.here: set[str] = set()

    def bind(self, vip: str) -> None:
        self.here.add(vip)

    def unbind(self, vip: str) -> None:
        self.here.discard(vip)

    def bound(self) -> frozenset[str]:
        return frozenset(self.here)


class Pages:
    """A notebook."""

    def __init__(self) -> None:
        self.pages: dict[str, dict[str, object]] = {}

    def load(self, key: str) -> Mapping[str, object] | None:
        return self.pages.get(key)

    def save(self, key: str, value: Mapping[str, object]) -> None:
        self.pages[key] = dict(value)

    def forget(self, key: str) -> None:
        self.pages.pop(key, None)


@dataclass(slots=True)
class Token:
    here: bool = True
    named: str = ""  # the system to adopt; then it is no leave for initdb

    def present(self) -> bool:
        return self.here and not self.named

    def adopts(self) -> str:
        return self.named if self.here else ""

    def spend(self) -> None:
        self.here = False


class Systemd:
    """Keeps what it was told: ("ready" or "alive", status)."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.stops = False  # by an order of a person or of the host that goes down

    def ends_for_good(self) -> bool:
        return self.stops

    def ready(self, status: str) -> None:
        self.told.append(("ready", status))

    def alive(self, status: str) -> None:
        self.told.append(("alive", status))


@dataclass(slots=True)
class HandProbes:
    """Shows a healthy node until a test says otherwise."""

    clock: HandClock
    stuck: bool = False  # no session is answered, nobody commits
    hung: bool = False  # no write to the volume comes back
    full: bool = False
    free_bytes: int = 1 << 40
    shown: Readings = NOTHING_READ

    def start(self) -> None: ...

    def watch_primary(self, primary: bool) -> None: ...

    def readings(self) -> Readings:
        was, now = self.shown, int(self.clock.now())
        fsyncs = was.volumes[0].fsyncs if self.hung and was.volumes else now
        self.shown = Readings(
            at=self.clock.now(),
            watched_s=self.clock.now(),
            sessions=was.sessions if self.stuck else now,
            asking=True,
            commits=was.commits if self.stuck else now,
            volumes=(Volume("data", True, fsyncs, waits=True),),
            free_bytes=self.free_bytes,
            full=self.full,
        )
        return self.shown


@dataclass(slots=True)
class Disk:
    """What of PostgreSQL survives a power loss."""

    system: str = ""  # empty: no data directory
    timeline: int = 1
    end: int = 1000
    history: tuple[Fork, ...] = ()
    began: str = ""  # the first record of its timeline


@dataclass(slots=True)
class MemoryPostgres(MemorySlots):
    """Streams when its upstream is a primary whose history fits, as PostgreSQL does."""

    name: str
    world: World
    disk: Disk = field(default_factory=Disk)
    state: ServerState = ServerState.STOPPED
    upstream: str = ""
    streaming: bool = False
    replays: bool = True
    starts: list[str] = field(default_factory=list)  # every call that changed something, in order
    refuse_start: bool = False
    refuse_promotion: bool = False
    refuse_rewind: bool = False
    rewinds_to_refuse: int = 0  # before anything is changed
    replays_for_s: float = 0.0  # of its own WAL, at each start in recovery
    _replayed_at: float = 0.0
    when_promoted: Callable[[], object] = lambda: None  # what happens to the world at that instant

    def flushed(self) -> dict[str, int]:
        others = [n.postgres for n in self.world.nodes.values() if n.postgres.upstream == self.name]
        return {p.name: p.disk.end for p in others if p.streaming}

    def position(self) -> Position:
        return Position(self.disk.timeline, self.disk.end)

    def is_primary(self) -> bool:
        return self.state is ServerState.PRIMARY

    def streams_by(self, name: str) -> bool:
        others = [n.postgres for n in self.world.nodes.values() if n.postgres.upstream == self.name]
        return any(p.streaming and p.slot == name for p in others)

    def observe(self, *, fresh: bool = False) -> Server | Unknown:
        if not self.disk.system:
            return Server(ServerState.ABSENT)
        self._show_replayed()
        d = self.disk
        return Server(
            self.state,
            d.system,
            d.timeline,
            0 if self.state in (ServerState.STOPPED, ServerState.STARTING) else d.end,
            d.end,
            streaming=self.streaming,
            upstream=self.upstream,
            history=d.history,
            replicas=tuple(sorted(self.flushed())) if self.state is ServerState.PRIMARY else (),
            standby_signal=self.state is not ServerState.PRIMARY,
            slot=self.slot if self.state is ServerState.STANDBY else "",
        )

    def settle(self) -> None: ...

    def start_standby(self, upstream: str) -> None:
        self._start(f"standby of {upstream or 'nobody'}")
        self.waits = NOBODY
        self.state, self.upstream, self.slot = ServerState.STARTING, upstream, ""
        self._replayed_at = self.world.clock.now() + self.replays_for_s
        self._show_replayed()

    def _show_replayed(self) -> None:
        if self.state is ServerState.STARTING and self.world.clock.now() >= self._replayed_at:
            self.state = ServerState.STANDBY

    def start_primary(self, counts_on: Iterable[SyncSet] = ()) -> None:
        wait = at_start(self.waits, counts_on)
        if wait is None:
            raise PostgresFailed("the lease contradicts itself", hint="It is a test.")
        self._start("primary")
        self.state, self.upstream, self.waits = ServerState.PRIMARY, "", wait

    def _start(self, how: str) -> None:
        self._touch(f"start as {how}")
        self.starts.append(how)
        if self.refuse_start:
            raise PostgresFailed("it does not start", hint="It is a test.")

    def follow(self, upstream: str, slot: str = "") -> None:
        self.slot = slot
        self.waits = NOBODY
        if upstream != self.upstream:
            self.starts.append(f"follow {upstream}")
            self.upstream, self.streaming = upstream, False

    def promote(self, timeout_s: float, deadline: float, *, above: int) -> int:
        if self.world.clock.now() >= deadline:
            raise LeaseMovedOn("too late", hint="It is a test.")
        assert self.state is ServerState.STANDBY, "only a standby is promoted"
        gate = self.world.nodes[self.name].gate
        if gate.is_open() or gate.sessions:
            self.world.promoted_with_readers.append(self.name)
        if self.refuse_promotion:
            raise PostgresFailed("it is not promoted", hint="It is a test.")
        self.starts.append("promote")
        d = self.disk
        d.history = (*d.history, Fork(d.timeline, d.end))
        d.timeline = max(d.timeline, above) + 1
        d.end += END_OF_RECOVERY_BYTES
        self.waits = NOBODY
        d.began = f"end of recovery on {self.name} at {self.world.clock.now()}"
        self.state, self.upstream, self.streaming = ServerState.PRIMARY, "", False
        self.when_promoted()
        return d.timeline

    def beginning(self) -> Beginning | Unknown:
        fork = self.disk.history[-1].lsn if self.disk.history else 0
        return Beginning(self.disk.timeline, fork, self.disk.began)

    def stop(self, timeout_s: float) -> None:
        if self.state in (ServerState.PRIMARY, ServerState.STANDBY, ServerState.STARTING):
            self._note_open_gate()
            if self.world.nodes[self.name].addresses.here:
                self.world.stopped_with_address.append(self.name)
            self.starts.append("stop")
            self.world.replicate()  # walsenders flush before a fast shutdown ends
            self.state, self.streaming = ServerState.STOPPED, False

    def _note_open_gate(self) -> None:
        gate = self.world.nodes[self.name].gate
        if self.state is ServerState.PRIMARY and gate.is_open():
            self.world.stopped_with_open_gate.append(self.name)
        if self.state is ServerState.PRIMARY and gate.sessions:
            self.world.stopped_with_clients.append(self.name)

    def kill(self, timeout_s: float = 10.0) -> None:
        self._note_open_gate()
        if self.world.nodes[self.name].probes.hung:
            self.world.clock.wait(threading.Event(), timeout_s)
            self.starts.append("kill in vain")
            self.state, self.streaming = ServerState.STOPPED, False  # none runs an instruction again
            raise PostgresFailed("some hang in the kernel", hint="It is a test.")
        if self.state is not ServerState.STOPPED:
            self.starts.append("kill")
            self.state, self.streaming = ServerState.STOPPED, False

    def checkpoint(self) -> None: ...

    def wal_end(self) -> int | Unknown:
        self._touch("its WAL is read")
        return self.disk.end

    def _touch(self, how: str) -> None:
        if self.world.nodes[self.name].probes.hung:
            self.world.touched_hung_volumes.append(f"{self.name}: {how}")

    def init(self, progress: Progress) -> None:
        assert not self.disk.system, "initdb never runs over data"
        self.starts.append("init")
        self.disk = Disk(system=f"made by {self.name}")
        self.state = ServerState.STOPPED

    def clone(self, upstream: str, progress: Progress) -> None:
        source = self.world.postgres(upstream)
        self.starts.append(f"clone {upstream}")
        if source.state is not ServerState.PRIMARY:
            raise PostgresFailed(f"{upstream} is no primary", hint="It is a test.")
        self.disk = replace(source.disk)
        self.has_slots.clear()
        self.state = ServerState.STOPPED

    def rewind(self, upstream: str, progress: Progress) -> Mapping[str, object]:
        source = self.world.postgres(upstream)
        self.starts.append(f"rewind {upstream}")
        if self.rewinds_to_refuse:
            self.rewinds_to_refuse -= 1
            raise RewindNotBegun(f"{upstream} cannot be reached", hint="It is a test.")
        if self.refuse_rewind or source.state is not ServerState.PRIMARY:
            raise PostgresFailed(f"cannot rewind against {upstream}", hint="It is a test.")
        self.disk = replace(source.disk)
        return {}

    def on_death(self, died: Callable[[], None]) -> None:
        self.world.deaths[self.name] = died

    def receive(self) -> None:
        """Whatever the upstream has now, if it can be reached and fits."""
        self._show_replayed()
        if self.state is not ServerState.STANDBY:
            self.streaming = False
            return
        source = self.world.source_of(self) if self.upstream != self.cut else None
        mine = self.observe()
        theirs = source.observe() if source else None
        fits = (
            isinstance(mine, Server)
            and isinstance(theirs, Server)
            and theirs.state is ServerState.PRIMARY
            and source is not None
            and source.oldest_wal <= mine.received_lsn <= theirs.received_lsn
            and (not self.slot or self.slot in source.has_slots)
            and choose_way(mine, mine.received_lsn, theirs) is Way.FOLLOW
        )
        self.streaming = fits
        if fits and source is not None and self.replays:
            self.disk = replace(source.disk)


@dataclass(slots=True)
class NodeStore:
    """The shared store over this node's own way to it."""

    world: World
    name: str
    writes: list[LeaseItem] = field(default_factory=list)

    def read(self) -> LeaseItem | Unknown | None:
        return Unknown("cut") if self.name in self.world.no_api else self.world.store.read()

    def write(self, item: LeaseItem, *, only_if: Absent | Version) -> WriteOutcome:
        if self.name in self.world.no_api:
            return Unknown("cut")
        self.writes.append(item)
        outcome = self.world.store.write(item, only_if=only_if)
        return Unknown("answer lost") if self.name in self.world.lost_answers else outcome

    def note(self, key: str, value: Mapping[str, str]) -> Unknown | None:
        if self.name in self.world.no_api or self.name in self.world.no_notes:
            return Unknown("cut")
        return self.world.store.note(key, value)

    def notes(self, prefix: str) -> Mapping[str, Mapping[str, str]] | Unknown:
        return Unknown("cut") if self.name in self.world.no_api else self.world.store.notes(prefix)


@dataclass(slots=True)
class NodeRoutes:
    world: World
    name: str

    calls: list[tuple[str, float]] = field(default_factory=list)  # "look" or "point", and when

    def targets(self, vip: str) -> Mapping[str, str] | Unknown:
        self.calls.append(("look", self.world.clock.now()))
        return Unknown("cut") if self._is_cut() else dict(self.world.tables)

    def drops_strangers(self, interface_id: str) -> bool | Unknown:
        return Unknown("cut") if self.name in self.world.no_api else interface_id in self.world.checked

    def point(self, table_id: str, vip: str, interface_id: str) -> Unknown | None:
        self.calls.append(("point", self.world.clock.now()))
        if self._is_cut():
            return Unknown("cut")
        if self.name in self.world.late_routes:
            self.world.on_their_way.append((table_id, interface_id))
            return Unknown("no answer")
        self.world.tables[table_id] = interface_id
        return None

    def _is_cut(self) -> bool:
        return self.name in self.world.no_api | self.world.no_ec2


@dataclass(slots=True)
class NodePeers:
    world: World
    name: str
    epoch: Callable[[], int] = lambda: 0
    heard_by: Callable[[str, float], None] = lambda _name, _sent_at: None

    def carry(self, epoch: Callable[[], int], heard_by: Callable[[str, float], None]) -> None:
        self.epoch, self.heard_by = epoch, heard_by

    def reports(self) -> Mapping[str, Heard | Unknown]:
        return {name: self.ask(name) for name in self.world.nodes if name != self.name}

    def ask(self, name: str) -> Heard | Unknown:
        if not self._hears(name):
            return Unknown("no answer")
        holds, sent_at, agent = self.epoch(), self.world.clock.now(), self.world.nodes[name].agent
        report = agent.report_to(self.name, holds) if holds else agent.report()
        if counts_as_heard(report, holds):
            self.heard_by(name, sent_at)
        return Heard(report, self.world.clock.now())

    def ask_rejoin(self, name: str) -> bool | Unknown:
        return (
            self.world.nodes[name].agent.grant_rejoin(self.name) if self._hears(name) else Unknown("silence")
        )

    def ask_vote(self, name: str, seal: Seal) -> str | Unknown:
        if not self.world.can_talk(self.name, name):
            return Unknown("no answer")
        return self.world.nodes[name].agent.vote(seal)

    def ask_seal(self, name: str, seal: Seal) -> Sealed | Unknown:
        if not self.world.can_talk(self.name, name):
            return Unknown("no answer")
        try:
            return self.world.nodes[name].agent.seal(seal)
        except AgentError as error:
            return Unknown(str(error.args[0]))

    def ask_promise(self, name: str, promise: Promise) -> str | Unknown:
        return self.world.nodes[name].agent.promise(promise) if self._hears(name) else Unknown("silence")

    def relay_write(self, name: str, item: LeaseItem, only_if: Version) -> WriteOutcome:
        return self._carried(name, lambda agent: agent.relay_write(self.name, item, only_if))

    def relay_targets(self, name: str, vip: str) -> Mapping[str, str] | Unknown:
        return self._carried(name, lambda agent: agent.relay_targets(vip))

    def relay_point(self, name: str, change: RouteChange) -> Unknown | None:
        return self._carried(name, lambda agent: agent.relay_point(self.name, change))

    def _carried(self, name: str, work: Callable[[Agent], T]) -> T | Unknown:
        if not self._hears(name):
            return Unknown("silence")
        try:
            return work(self.world.nodes[name].agent)
        except AgentError as error:
            return Unknown(str(error.args[0]))

    def order_switchover(self, name: str, to: str) -> Mapping[str, object] | Unknown:
        return (
            self.world.nodes[name].agent.request_switchover(to) if self._hears(name) else Unknown("silence")
        )

    def order_failover(self, name: str, accept_loss: bool) -> Mapping[str, object] | Unknown:
        if not self.world.can_talk(self.name, name):
            return Unknown("no answer")
        return self.world.nodes[name].agent.request_failover(name, accept_loss)

    def order_mode(self, name: str, mode: Mode) -> Mapping[str, object] | Unknown:
        return self.world.nodes[name].agent.request_mode(mode) if self._hears(name) else Unknown("silence")

    def order_pause(self, name: str, pause: bool) -> Mapping[str, object] | Unknown:
        return self.world.nodes[name].agent.request_pause(pause) if self._hears(name) else Unknown("silence")

    def wake(self, name: str) -> None:
        if self._hears(name):
            self.world.nodes[name].agent.wake()

    def _hears(self, name: str) -> bool:
        return name in self.world.nodes and self.world.can_talk(self.name, name)

    def publish(self, report: NodeReport) -> None: ...
