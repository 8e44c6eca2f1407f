# ruff: noqa: ARG002  # the arguments are the port's; a simulation needs fewer of them
"""A simulated PostgreSQL: the port that the agent drives, over a log with identity (`wal`).

It runs on its host, not in the agent: what the agent told it goes on when the agent dies. Commits and
walsenders are in `commits`, the synchronous part of the port in `synchronous`, sealing in `cut`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from failover_agent.core.model import Server, ServerState, SyncSet, Unknown
from failover_agent.core.promotion import Beginning
from failover_agent.core.quorum import NOBODY, at_start
from failover_agent.core.slots import Change, SlotsSeen
from failover_agent.errors import LeaseMovedOn, PostgresFailed, RewindNotBegun
from failover_agent.ports import Progress
from tests.sim import wal as w
from tests.sim.commits import RUNNING
from tests.sim.cut import Cutting
from tests.sim.host import Host, Session
from tests.sim.sched import REQUEST
from tests.sim.synchronous import failed

if TYPE_CHECKING:
    from tests.sim.world import World

ORPHANS_LIVE_S = 1.5  # backends and walsenders outlive a postmaster
STALE_AFTER_S = 1.0  # an observer answers with what it saw last for this long
LOOK_S = 0.8
CHECKPOINT_BYTES = 8
START_TIMEOUT_S = 300.0


class SimPostgres(Cutting):
    def __init__(self, host: Host, world: World) -> None:
        super().__init__(host, world)
        self.system = ""
        self.clean = False
        self.signal = True
        self.half_rewound = False
        self.orphans = False  # the postmaster is gone, its children are not
        self.died: Callable[[], None] | None = None
        # faults
        self.starts_to_fail = 0
        self.slow = 1.0
        self._rewinds = world.dice_for(f"rewinds of {host.name}")
        self._seen: tuple[float, Server] | None = None

    # What runs

    def writes(self) -> bool:
        """Whether a client whose packets pass could be told that a write is committed."""
        return (self.state is ServerState.PRIMARY and not self.stopping and not self.doomed) or self.orphans

    def serves(self, session: Session) -> bool:
        running = self.state in RUNNING and not self.stopping and not self.doomed
        return (running or self.orphans) and session.process == self.process

    def crash(self) -> None:
        """Every process is gone at once; what was not flushed is lost."""
        self.host.reassess()
        if self.wal is not None:
            writer = (self.state is ServerState.PRIMARY or self.orphans) and (
                self.wal.line.writer == self.host.name
            )
            self.wal.crash(writer=writer)
            self.redo_from_restartpoint()
            if self.state is not ServerState.ABSENT:
                self.state = ServerState.STOPPED
        self._gone(clean=False)

    def _gone(self, *, clean: bool) -> None:
        self.process += 1
        self.forget_sessions()
        self.end_senders()
        self.streaming = self.orphans = self.stopping = self.doomed = False
        self.clean = clean
        self.signal = True
        self.host.reassess()

    def postmaster_dies(self) -> None:
        if self.state not in RUNNING:
            return
        self.host.reassess()
        self.orphans = self.state is ServerState.PRIMARY
        self.streaming = False
        process = self.process
        self.state = ServerState.STOPPED
        self.host.reassess()

        def end() -> None:
            if self.process == process:
                self.crash()

        self.host.after(ORPHANS_LIVE_S, end)
        life = self.host.life
        if life is not None and self.died is not None:
            life.spawn("death", self.died)

    # The port: looking

    def observe(self, *, fresh: bool = False) -> Server | Unknown:
        task = self.host.scheduler.current
        if task is not None and task.name != REQUEST:  # who asks from afar waits for the network anyway
            self.host.busy(0.002, 0.02)
        now = self.host.scheduler.now
        if self.hangs and self.state in RUNNING and task is not None:
            self.host.scheduler.sleep(LOOK_S)
            if self._seen and now - self._seen[0] < STALE_AFTER_S:
                return self._seen[1]
            return Unknown("PostgreSQL runs and does not answer")
        server = self._look()
        if self.state in RUNNING:
            self._seen = (now, server)
        return server

    def _look(self) -> Server:
        if self.wal is None:
            return Server(ServerState.ABSENT)
        running = self.state in RUNNING
        return Server(
            self.state,
            self.system,
            self.wal.timeline,
            self.wal.flushed if running else 0,
            self.wal.replayed if running else 0,
            streaming=self.streaming and running,
            upstream=self.upstream if self.state in (ServerState.STANDBY, ServerState.STARTING) else "",
            clean=self.clean,
            history=self.wal.history,
            replicas=self.world.replicas_of(self.host.name) if self.state is ServerState.PRIMARY else (),
            standby_signal=not running and self.signal,
            whole_from=0 if running else self.wal.whole_from,
        )

    def beginning(self) -> Beginning | Unknown:
        self.host.busy(0.002, 0.02)
        if self.wal is None or self.state is not ServerState.PRIMARY:
            return Unknown("PostgreSQL shows no timeline")
        fork = self.wal.history[-1].lsn if self.wal.history else 0
        first = next(p.line for p in self.wal.pieces if p.line.timeline == self.wal.timeline)
        return Beginning(self.wal.timeline, fork, f"line {first.number}")

    def wal_end(self) -> int | Unknown:
        self.host.busy(0.005, 0.05)
        if self.wal is None:
            return Unknown("there is no data directory")
        return self.wal.flushed

    def on_death(self, died: Callable[[], None]) -> None:
        self.died = died

    # The port: starting and stopping

    def settle(self) -> None:
        self.signal = True

    def start_standby(self, upstream: str) -> None:
        self.refuse_if_cut(upstream)
        self.signal = True
        self.written = NOBODY  # S7: only a primary waits for anybody
        self._start(ServerState.STANDBY, upstream)

    def start_primary(self, counts_on: Iterable[SyncSet] = ()) -> None:
        wait = at_start(self.written, counts_on)
        if wait is None:
            raise failed("the lease contradicts itself")
        self.written, self.signal = wait, False
        try:
            self._start(ServerState.PRIMARY, "")
        finally:
            self.signal = True

    def _start(self, becomes: ServerState, upstream: str) -> None:
        host = self.host
        host.disk_busy(0.01, 0.05)
        if self.half_rewound or self.wal is None:
            raise failed("the data directory is not whole")
        if self.state in (*RUNNING, ServerState.STARTING):
            raise failed("PostgreSQL runs already")
        if self.orphans:
            self.crash()
        if self.starts_to_fail:
            self.starts_to_fail -= 1
            host.busy(0.1, 0.5)
            raise failed("it does not start")
        self.process += 1
        process = self.process
        self.state, self.upstream, self.clean = ServerState.STARTING, upstream, False
        self.received = False
        self.starts_with_its_file()
        host.after(host.dice.uniform(0.05, 0.8) * self.slow, lambda: self._started(process, becomes))
        until = host.scheduler.now + START_TIMEOUT_S
        while self.process == process and self.state is ServerState.STARTING and host.scheduler.now < until:
            host.scheduler.sleep(0.02)
        if self.process != process or self.state is not becomes:
            raise failed("it was stopped while it started")

    def _started(self, process: int, becomes: ServerState) -> None:
        if self.process != process or self.state is not ServerState.STARTING or self.wal is None:
            return
        if not self.wal.is_whole:  # it lacks what only its upstream may send
            self.host.after(0.1, lambda: self._started(process, becomes))
            return
        if self.has_to_replay_first(becomes):
            self.replay()
            self.host.after(0.1, lambda: self._started(process, becomes))
            return
        self.state = becomes
        self.replay()
        if becomes is ServerState.PRIMARY:
            if self.wal.line.writer != self.host.name:
                line = self.world.lines.begin(self.wal.timeline, self.host.name)
                self.wal.pieces.append(w.Piece(line, self.wal.written))
            self.wal.append(CHECKPOINT_BYTES)
            self.wal.flush(self.wal.written)
        self.host.reassess()

    def takes_wal(self) -> bool:
        """Whether a receiver may run: also before a copy is consistent, which nobody can look into."""
        incomplete = self.state is ServerState.STARTING and self.wal is not None and not self.wal.is_whole
        return self.state is ServerState.STANDBY or incomplete

    def slots(self) -> SlotsSeen | Unknown:
        return Unknown("a simulation keeps all WAL, for everybody")

    def change_slots(self, changes: Sequence[Change]) -> None:
        raise AssertionError("nothing is changed that was not seen")

    def follow(self, upstream: str, slot: str = "") -> None:
        self.refuse_if_cut(upstream)
        self.host.busy(0.002, 0.02)
        if self.state is not ServerState.STANDBY:
            raise failed("it is no standby")
        self.written = NOBODY
        self.point_to(upstream)
        self.reload()

    def promote(self, timeout_s: float, deadline: float, *, above: int) -> int:
        host = self.host
        host.busy(0.005, 0.04)
        if self.state is not ServerState.STANDBY:
            raise failed("PostgreSQL does not run as a standby")
        if host.boottime() >= deadline:
            raise LeaseMovedOn("the promotion came too late", hint="It is a simulation.")
        self._confirm_nobody_is_waited_for()
        if host.boottime() >= deadline:  # told by a helper that looks once more (N2)
            raise LeaseMovedOn("the promotion came too late", hint="It is a simulation.")
        process = self.process
        self.world.ambush(host, "promote")
        host.after(host.dice.uniform(0.02, 0.25) * self.slow, lambda: self._promoted(process, above))
        until = host.scheduler.now + timeout_s
        while self.process == process and self.state is ServerState.STANDBY and host.scheduler.now < until:
            host.scheduler.sleep(0.02)
        if self.process != process or not self.writes() or self.wal is None:
            raise failed("it is not promoted")
        return self.wal.timeline

    def _confirm_nobody_is_waited_for(self) -> None:
        """S7: the list of a standby-to-be-primary is set and confirmed before it is promoted."""
        if self.shown != NOBODY or self.written != NOBODY:
            self.written = NOBODY
            self.reload()
            self._until(lambda: self.shown == NOBODY, 5.0, "the list is not empty")

    def _promoted(self, process: int, above: int) -> None:
        if self.process != process or self.state is not ServerState.STANDBY or self.wal is None:
            return
        if self.ends_recovery_later() or self.host.disk_hangs:
            self.host.after(0.3, lambda: self._promoted(process, above))
            return
        self.wal.written = self.wal.flushed  # what the receiver had not flushed is read from disk no more
        self.wal.crash(writer=False)
        self.wal.fork(self.world.lines.begin(max(self.wal.known_timeline, above) + 1, self.host.name))
        self.state, self.upstream, self.streaming = ServerState.PRIMARY, "", False
        self.end_senders()
        self.world.promoted(self.host)
        self.host.reassess()

    def stop(self, timeout_s: float) -> None:
        host = self.host
        host.busy(0.002, 0.01)
        if self.orphans or self.state is ServerState.STARTING:
            self.kill()
            return
        if self.state not in RUNNING or self.wal is None:
            return
        self.world.stops(host)
        process = self.process
        self.stopping = True
        self.forget_sessions()
        if self.state is ServerState.PRIMARY:
            self.wal.append(CHECKPOINT_BYTES)
        host.reassess()
        until = host.scheduler.now + timeout_s
        host.after(host.dice.uniform(0.02, 0.3) * self.slow, lambda: self._stopped(process))
        while self.process == process:
            if host.scheduler.now >= until:
                self.kill()
                return
            host.scheduler.sleep(0.02)

    def _stopped(self, process: int) -> None:
        """The end of a fast shutdown: walsenders have sent everything to whoever is connected."""
        if self.process != process or not self.stopping or self.wal is None:
            return
        drained = self.state is not ServerState.PRIMARY or self.world.drain(self.host)
        if not drained or self.host.disk_hangs or self.hangs:
            self.host.after(0.1, lambda: self._stopped(process))
            return
        self.wal.flush(self.wal.written)
        self.state = ServerState.STOPPED
        self._gone(clean=True)

    def kill(self, timeout_s: float = 10.0) -> None:
        self.host.busy(0.005, 0.05)
        until = self.host.scheduler.now + timeout_s
        while self.host.disk_hangs and self.state in RUNNING:
            self.doomed = True
            self.host.reassess()
            if self.host.scheduler.now >= until:
                self._end_when_the_disk_answers(self.process)
                raise failed("it hangs in the kernel")
            self.host.scheduler.sleep(0.1)
        if self.state in (*RUNNING, ServerState.STARTING) or self.orphans:
            self.crash()

    def _end_when_the_disk_answers(self, process: int) -> None:
        if self.process == process and self.doomed:
            if self.host.disk_hangs:
                self.host.after(0.1, lambda: self._end_when_the_disk_answers(process))
            else:
                self.crash()

    def checkpoint(self) -> None:
        self.host.disk_busy(0.05, 0.4)

    # The port: making and bringing back

    def init(self, progress: Progress) -> None:
        assert self.wal is None, "initdb never runs over data"
        self.host.disk_busy(0.5, 2.0)
        self.system = self.world.new_system(self.host.name)
        self.wal = w.fresh(self.world.lines, self.host.name)
        self.state, self.clean = ServerState.STOPPED, True

    def clone(self, upstream: str, progress: Progress) -> None:
        assert self.state in (ServerState.STOPPED, ServerState.ABSENT), "never under a running server"
        with self.world.destructive(self.host, "clone" if self.wal is not None else ""):
            copied, system = self._copy_of(upstream, 0.5, 4.0)
            self.wal, self.system, self.half_rewound = copied, system, False
            self.state = ServerState.STOPPED

    def rewind(self, upstream: str, progress: Progress) -> Mapping[str, object]:
        assert self.state is ServerState.STOPPED, "never under a running server"
        if self.half_rewound or self.wal is None:
            raise failed("a rewind did not end here")
        try:
            source = self.world.source(self.host, upstream)
            self.host.disk_busy(0.1, 0.8)
        except PostgresFailed as error:
            raise RewindNotBegun("it cannot be reached", hint="It is a simulation.") from error
        assert source.wal is not None
        if not self.wal.is_whole and self.wal.timeline != source.wal.timeline:
            raise RewindNotBegun("it cannot read which pages it changed", hint="It is a simulation.")
        shared = self.wal.divergence(source.wal)
        if shared >= self.wal.written and self.wal.timeline in {
            source.wal.timeline,
            *(f.timeline for f in source.wal.history),
        }:
            return {}  # no rewind required, as far as timelines and LSNs tell
        with self.world.destructive(self.host, "rewind"):
            self.half_rewound = True
            copied, _ = self._copy_of(upstream, 0.2, 2.0, lacks=self._rewinds.choice((0, 1, 40)))
            self.wal, self.half_rewound = copied, False
        if not copied.is_whole:
            self.world.ambush(self.world.hosts[upstream], "rewound")
        return {"kept": "diverged", "lost": {}}

    def _copy_of(self, upstream: str, least_s: float, most_s: float, lacks: int = 0) -> tuple[w.Wal, str]:
        """Raises PostgresFailed when the source is lost on the way."""
        process = self.world.source(self.host, upstream).process
        for _ in range(4):
            self.host.disk_busy(least_s / 4, most_s / 4)
            source = self.world.source(self.host, upstream)
            if source.process != process:
                raise failed(f"{upstream} was restarted")
        assert source.wal is not None
        return source.wal.lacking(lacks) if lacks else source.wal.copy(), source.system
