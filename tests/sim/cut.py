"""The port's sealing part over a simulated PostgreSQL: step by step as `adapters.postgres.sealing` (F2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from failover_agent.core.model import ServerState
from failover_agent.core.seals import Position
from tests.sim.host import Host
from tests.sim.replay import Replaying
from tests.sim.synchronous import failed

if TYPE_CHECKING:
    from tests.sim.world import World

RECEIVER_GONE_S = 2.0
RESTART_RECEIVER_S = (0.02, 3.0)  # until the startup process looks at primary_conninfo again


class Cutting(Replaying):
    """Part of SimPostgres: whom a standby takes WAL from, and whom it takes none from any more."""

    def __init__(self, host: Host, world: World) -> None:
        super().__init__(host, world)
        self.upstream = ""  # primary_conninfo, as a session shows it
        self.streaming = False  # a receiver runs and streams
        self.received = False  # something was, since the start
        self.dropped = ""  # the kernel lets no packet pass to and from this node's PostgreSQL
        self.refused = ""  # the agent's process remembers whom it must not follow

    def cut_from(self, name: str) -> Position:
        self.keep_cut(name)
        self.command(ServerState.STANDBY)
        self.point_to("")
        self._end_receiver()
        position = self._position()
        self.world.promises.answered(self.host, name)
        return position

    def keep_cut(self, name: str) -> None:
        self.host.busy(0.001, 0.008)
        self.refused = self.dropped = name

    def end_cut(self) -> None:
        if self.dropped or self.refused:
            self.host.busy(0.001, 0.008)
        self.refused = self.dropped = ""

    def refuse_if_cut(self, upstream: str) -> None:
        if upstream and upstream == self.refused:
            raise failed(f"this node is sealed against {upstream}")

    def point_to(self, upstream: str) -> None:
        """Another primary_conninfo. The receiver goes on until the startup process has seen it."""
        if upstream == self.upstream:
            return
        self.upstream = upstream
        process = self.process

        def restart() -> None:
            if self.process != process or self.state is not ServerState.STANDBY:
                return
            if self.replay_blocked:  # it sits in replay and looks at nothing
                self.host.after(0.5, restart)
            else:
                self.streaming = False

        least, most = RESTART_RECEIVER_S
        quick = self.host.dice.random() < 0.8
        self.host.after(self.host.dice.uniform(least, 0.1 if quick else most), restart)

    def _end_receiver(self) -> None:
        """By its process id; it flushes what it has."""
        self.host.busy(0.001, 0.01)
        until = self.host.scheduler.now + RECEIVER_GONE_S
        while self.host.disk_hangs:
            if self.host.scheduler.now >= until:
                raise failed("the WAL receiver does not end")
            self.host.scheduler.sleep(0.1)
        if self.streaming and self.wal is not None:
            self.wal.flush(self.wal.written)
        self.streaming = False

    def _position(self) -> Position:
        self.command(ServerState.STANDBY)
        assert self.wal is not None
        if not self.received and self.wal.replayed < self.wal.flushed:
            raise failed("local WAL is not replayed yet")
        return Position(self.wal.timeline, self.wal.flushed)
