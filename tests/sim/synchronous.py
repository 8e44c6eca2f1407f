"""The synchronous part of the port over a simulated PostgreSQL, step by step as the adapter takes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from failover_agent.core.model import ServerState, Unknown
from failover_agent.core.quorum import SyncSeen, Waits, waits
from failover_agent.errors import PostgresFailed
from tests.sim.commits import Commits, Sender
from tests.sim.host import Host

if TYPE_CHECKING:
    from tests.sim.world import World

NO_SUCH_STANDBY = waits(["primacy-nobody"], 1)
HANGS_S = 3.0  # a command is given up after so long
SHOWN_S = 3.0
SENDERS_S = 1.0
BARRIER_BYTES = 8


def failed(what: str) -> PostgresFailed:
    return PostgresFailed(what, hint="It is a simulation.")


class Synchronous(Commits):
    """Part of SimPostgres: whom commits wait for."""

    def __init__(self, host: Host, world: World) -> None:
        super().__init__(host, world)
        self.hangs = False  # a fault: it runs and does not answer
        self.stopping = False
        self._proved = 0  # the process that was seen to let commits wait

    def sync(self) -> SyncSeen | Unknown:
        try:
            self.command(ServerState.PRIMARY)
        except PostgresFailed as error:
            return Unknown(str(error.args[0]))
        self._end_silent_senders()
        flushed: dict[str, int] = {}
        for sender in self.senders:
            flushed[sender.standby] = min(sender.flushed, flushed.get(sender.standby, sender.flushed))
        return SyncSeen(self.shown, self.written, flushed, self._proved == self.process)

    def command(self, *states: ServerState) -> None:
        """One statement over a local connection. Raises PostgresFailed."""
        self.host.busy(0.0005, 0.006)
        if self.hangs:
            self.host.scheduler.sleep(HANGS_S)
        if self.state not in states or self.stopping or self.hangs or self.doomed:
            raise failed("PostgreSQL does not answer")

    def set_sync(self, wait: Waits) -> int:
        self.world.ambush(self.host, "waits")
        before = self.sync()
        if wait.k == 0:
            self._proved = 0
        elif isinstance(before, Unknown) or before.shown.k == 0 or self._proved != self.process:
            self._prove_that_commits_wait()
        self._write(wait)
        if isinstance(before, Unknown):
            return self._barrier(None)
        return self._barrier({*before.shown.members, *before.written.members, *wait.members})

    def _write(self, wait: Waits) -> None:
        """The file, a reload, and a fresh connection that shows it. Raises PostgresFailed."""
        self.host.disk_busy(0.0005, 0.004)
        self.written = wait
        self.command(ServerState.PRIMARY)
        self.reload()
        self._until(lambda: self.shown == wait, SHOWN_S, "the list is not shown")

    def _until(self, fact: Callable[[], bool], limit_s: float, otherwise: str) -> None:
        """Raises PostgresFailed."""
        process, until = self.process, self.host.scheduler.now + limit_s
        while not fact():
            if self.process != process or self.host.scheduler.now >= until:
                raise failed(otherwise)
            self.command(ServerState.PRIMARY, ServerState.STANDBY)
            self.host.scheduler.sleep(0.01)

    def _prove_that_commits_wait(self) -> None:
        process = self.process
        self._write(NO_SUCH_STANDBY)
        self._until(lambda: self.defined, SHOWN_S, "commits do not wait")
        self._proved = process

    def _barrier(self, names: set[str] | None) -> int:
        """A record from after the signal; a walsender whose standby has it has read the list, others end."""
        self.command(ServerState.PRIMARY)
        assert self.wal is not None
        self.wal.append(BARRIER_BYTES)
        self.host.disk_busy(0.0005, 0.006)
        process = self.process
        self.wal.flush(self.wal.written)
        barrier, until = self.wal.flushed, self.host.scheduler.now + SENDERS_S
        first = self._behind(names, barrier)
        while first and self.host.scheduler.now < until:
            self.command(ServerState.PRIMARY)
            self.host.scheduler.sleep(0.01)
            first = [s for s in first if s.alive and s.flushed < barrier]
        if self.process != process:
            raise failed("PostgreSQL was restarted")
        for sender in first:
            self.detach(sender)
        return barrier

    def _behind(self, names: set[str] | None, barrier: int) -> list[Sender]:
        return [s for s in self.senders if (names is None or s.standby in names) and s.flushed < barrier]
