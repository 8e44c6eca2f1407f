"""How far a simulated PostgreSQL has replayed what it has: all of it, or as far as a slow replay gets."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from failover_agent.core.model import ServerState
from tests.sim.host import Host
from tests.sim.synchronous import Synchronous

if TYPE_CHECKING:
    from tests.sim.world import World

TICK_S = 0.2


class Replaying(Synchronous):
    """Part of SimPostgres: its startup process."""

    def __init__(self, host: Host, world: World) -> None:
        super().__init__(host, world)
        self.replay_blocked = False  # a fault
        self.replay_bytes_s = 0  # a fault; 0: at once
        self._redo_bytes = 0  # behind what was replayed lies the last restartpoint
        self._consistent_at = 0  # before it is replayed up to here again nobody can connect
        self._replaying = -1  # the process in which the next step is on its way

    def replay_slowly(self, bytes_s: int, redo_bytes: int) -> None:
        self.replay_bytes_s, self._redo_bytes = bytes_s, redo_bytes

    def replay_at_once(self) -> None:
        self.replay_bytes_s = self._redo_bytes = 0

    def replay(self) -> None:
        """As far as it gets now, and from there on by itself."""
        if self.replay_blocked or self.wal is None:
            return
        if not self.replay_bytes_s:
            self.wal.replayed = self.wal.flushed
        elif self._replaying != self.process:
            self._replaying = self.process
            self.host.after(TICK_S, partial(self._step, self.process))

    def _step(self, process: int) -> None:
        if self.process != process:
            return
        self._replaying = -1
        if self.wal is None or self.state not in (ServerState.STANDBY, ServerState.STARTING):
            return
        if not self.replay_blocked and not self.host.disk_hangs:
            step = int(self.replay_bytes_s * TICK_S) if self.replay_bytes_s else self.wal.flushed
            self.wal.replayed = min(self.wal.flushed, self.wal.replayed + step)
        if self.wal.replayed < self.wal.flushed:
            self.replay()

    def redo_from_restartpoint(self) -> None:
        """A crash: what was replayed since the last restartpoint is replayed again."""
        if self.wal is not None and self._redo_bytes:
            self._consistent_at = min(self.wal.replayed, self.wal.flushed)
            self.wal.replayed = max(0, self._consistent_at - self._redo_bytes)

    def has_to_replay_first(self, becomes: ServerState) -> bool:
        """Whether a start is not over yet: a standby's at consistency, a primary's at the end of its WAL."""
        if self.wal is None or not self.replay_bytes_s:
            return False
        enough = self.wal.flushed if becomes is ServerState.PRIMARY else self._consistent_at
        return self.wal.replayed < min(enough, self.wal.flushed)

    def ends_recovery_later(self) -> bool:
        """Whether a promotion still waits: recovery ends at the end of the local WAL, however far that is."""
        if self.wal is None or not self.replay_bytes_s or self.wal.replayed >= self.wal.flushed:
            return self.replay_blocked
        self.replay()
        return True
