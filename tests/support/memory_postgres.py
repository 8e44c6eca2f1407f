# ruff: noqa: ARG002  # the arguments are the ports'; most of these parts need none of them
"""A PostgreSQL in memory, with WAL, timelines and replication."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from failover_agent.core.model import (
    Fork,
    Server,
    ServerState,
    SyncSet,
    Unknown,
)
from failover_agent.core.promotion import Beginning
from failover_agent.core.quorum import NOBODY, at_start
from failover_agent.core.rejoin import Way, choose_way
from failover_agent.core.seals import Position
from failover_agent.errors import LeaseMovedOn, PostgresFailed, RewindNotBegun
from failover_agent.ports import Progress
from tests.support.slots import MemorySlots

if TYPE_CHECKING:
    from tests.support.world import World

END_OF_RECOVERY_BYTES = 1  # the record that begins a timeline


@dataclass(slots=True)
class Disk:
    """What of PostgreSQL survives a power loss."""

    system: str = ""  # empty: no data directory
    timeline: int = 1
    end: int = 1000
    history: tuple[Fork, ...] = ()
    began: str = ""  # the first record of its timeline
    whole_from: int = 0  # a copy is not consistent before it has WAL up to here


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
    rewinds_lack: int = 0  # of the source's last WAL; a copy needs all of it
    replays_for_s: float = 0.0  # of its own WAL, at each start in recovery
    _replayed_at: float = 0.0
    behind_s: float = 0.0  # for so long it replays from its last restartpoint on, where each start begins
    replays_per_s: int = 8 << 20
    _all_replayed_at: float = 0.0
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
            d.end - int(self._left_s() * self.replays_per_s),
            streaming=self.streaming,
            upstream=self.upstream,
            history=d.history,
            replicas=tuple(sorted(self.flushed())) if self.state is ServerState.PRIMARY else (),
            standby_signal=self.state is not ServerState.PRIMARY,
            slot=self.slot if self.state is ServerState.STANDBY else "",
            whole_from=d.whole_from if self.state in (ServerState.STOPPED, ServerState.STARTING) else 0,
        )

    def fall_behind(self, seconds: float) -> None:
        """As a standby does that receives faster than it replays: all is flushed, so commits did not wait."""
        self.behind_s, self._all_replayed_at = seconds, self.world.clock.now() + seconds

    def _left_s(self) -> float:
        return max(0.0, self._all_replayed_at - self.world.clock.now())

    def settle(self) -> None: ...

    def start_standby(self, upstream: str) -> None:
        self._start(f"standby of {upstream or 'nobody'}")
        self._refuse_to_leave_its_line(upstream)
        self.waits = NOBODY
        self.state, self.upstream, self.slot = ServerState.STARTING, upstream, ""
        self._replayed_at = self.world.clock.now() + self.replays_for_s
        self.fall_behind(self.behind_s)
        self._show_replayed()

    def _show_replayed(self) -> None:
        replayed = self.world.clock.now() >= self._replayed_at and self.disk.end >= self.disk.whole_from
        if self.state is ServerState.STARTING and replayed:
            self.state = ServerState.STANDBY

    def _refuse_to_leave_its_line(self, upstream: str) -> None:
        """Before it is consistent: "requested timeline … does not contain minimum recovery point"."""
        theirs = self.world.postgres(upstream).observe() if upstream else None
        mine, needs = self.observe(), self.disk.whole_from
        if self.disk.end >= needs or not isinstance(theirs, Server) or not isinstance(mine, Server):
            return
        if theirs.state is ServerState.PRIMARY and choose_way(mine, needs, theirs) is Way.REWIND:
            raise PostgresFailed("the timeline does not contain its recovery point", hint="It is a test.")

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
        if (left_s := self._left_s()) > 0:
            self.world.clock.wait(threading.Event(), min(left_s, timeout_s))
        if left_s > timeout_s:
            raise PostgresFailed("it is in recovery", hint="It is a test.")
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
        has = source.disk.end - self.rewinds_lack
        self.disk = replace(source.disk, end=has, whole_from=source.disk.end)
        return {}

    def on_death(self, died: Callable[[], None]) -> None:
        self.world.deaths[self.name] = died

    def receive(self) -> None:
        """Whatever the upstream has now, if it can be reached and fits."""
        self._show_replayed()
        incomplete = self.state is ServerState.STARTING and self.disk.end < self.disk.whole_from
        if self.state is not ServerState.STANDBY and not incomplete:
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
            and source.oldest_wal <= self.disk.end <= theirs.received_lsn
            and (not self.slot or self.slot in source.has_slots)
            and choose_way(mine, self.disk.end, theirs) is Way.FOLLOW
        )
        self.streaming = fits
        if fits and source is not None and self.replays:
            self.disk = replace(source.disk)
