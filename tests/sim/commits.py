"""Commits of a simulated PostgreSQL, and the walsenders that let them go: the rules of its syncrep.c.

Whether a commit waits for anybody is the checkpointer's word. Who lets it go are the walsenders, each by the
list that it last read, whenever its standby answers. PostgreSQL counts connections, not names: two of one
standby count twice, unless a slot of its own admits one at a time (`slots`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from failover_agent.core.model import ServerState
from failover_agent.core.quorum import NOBODY, Waits
from tests.sim.host import Host, Session
from tests.sim.wal import Wal

if TYPE_CHECKING:
    from tests.sim.world import World

Reply = Callable[[int, int], None]  # of which line, and the LSN

RUNNING = (ServerState.PRIMARY, ServerState.STANDBY)
SENDER_TIMEOUT_S = 5.0


@dataclass(slots=True, eq=False)
class Sender:
    """A walsender."""

    standby: str
    wait: Waits  # the list as it last read it
    heard_at: float
    signalled: bool = False  # told to read it again: it does so before it sends more
    flushed: int = 0  # what its standby says
    alive: bool = True


class Commits:
    """Part of SimPostgres: its log, and who waits for what."""

    def __init__(self, host: Host, world: World) -> None:
        self.host = host
        self.world = world
        self.state = ServerState.ABSENT
        self.wal: Wal | None = None
        self.process = 0  # grows with every postmaster
        self.doomed = False  # killed, and hanging in the kernel: it runs no instruction of its own any more
        self.commits = 0
        self.one_sender_each = True  # each standby has a replication slot of its own
        self.written: Waits = NOBODY  # in the agent's own file, which outlives everything here (S7)
        self.shown: Waits = NOBODY  # what the postmaster read
        self.defined = False  # the checkpointer's word: is anybody waited for at all
        self.senders: list[Sender] = []
        self._released = 0  # until where walsenders have let commits go
        self._unflushed: list[tuple[int, Session, Reply]] = []
        self._waiting: list[tuple[int, Session, Reply]] = []

    # Clients

    def commit(self, session: Session, number: int, reply: Reply) -> None:
        assert self.wal is not None
        lsn = self.wal.append(10, number)
        self.commits += 1
        self._unflushed.append((lsn, session, reply))
        self._flush_soon()

    def write_much(self, size: int) -> None:
        """A bulk load that is not committed yet, where this is a primary."""
        if self.state is ServerState.PRIMARY and self.wal is not None:
            self.wal.append(size)
            self._flush_soon()

    def _flush_soon(self) -> None:
        self.host.after(self.host.dice.uniform(0.0005, 0.006), partial(self._flush, self.process))

    def _flush(self, process: int) -> None:
        if self.process != process or self.wal is None:
            return
        if self.host.disk_hangs or self.doomed:
            self.host.after(0.2, partial(self._flush, process))
            return
        self.wal.flush(self.wal.written)
        self._flushed()

    def _flushed(self) -> None:
        """Every session whose record is on disk asks whether it has to wait."""
        assert self.wal is not None
        still: list[tuple[int, Session, Reply]] = []
        for entry in self._unflushed:
            lsn, session, _ = entry
            if lsn > self.wal.flushed:
                still.append(entry)
            elif session.local or not self.defined or lsn <= self._released:
                self._answer(entry)
            else:
                self._waiting.append(entry)
        self._unflushed = still

    def _answer(self, entry: tuple[int, Session, Reply]) -> None:
        assert self.wal is not None
        lsn, session, reply = entry
        line = self.wal.line.number
        self.host.answer(session, lambda: reply(line, lsn))

    def forget_sessions(self) -> None:
        """They end, and what they waited for is not answered."""
        self._unflushed.clear()
        self._waiting.clear()

    # Walsenders

    def attach(self, standby: str) -> Sender | None:
        """A walsender for `standby`; None where its slot is taken by an earlier one."""
        self._end_silent_senders()
        if self.one_sender_each and any(s.standby == standby for s in self.senders):
            return None
        sender = Sender(standby, self.shown, self.host.scheduler.now)
        self.senders.append(sender)
        return sender

    def detach(self, sender: Sender) -> None:
        sender.alive = False
        if sender in self.senders:
            self.senders.remove(sender)

    def _end_silent_senders(self) -> None:
        since = self.host.scheduler.now - SENDER_TIMEOUT_S
        for sender in [s for s in self.senders if s.heard_at < since]:
            self.detach(sender)

    def end_senders(self) -> None:
        for sender in self.senders:
            sender.alive = False
        self.senders.clear()
        self._released = 0

    def sends_through(self, sender: Sender) -> int:
        """Up to where `sender` sends now. It reads the list first, if it was told to."""
        assert self.wal is not None
        if sender.signalled:
            sender.wait, sender.signalled = self.written, False
        return self.wal.flushed

    def hears(self, sender: Sender, flushed: int) -> None:
        """A standby's word about its disk arrives."""
        if not sender.alive or not self.host.talks() or self.wal is None:
            return
        sender.heard_at = self.host.scheduler.now
        sender.flushed = max(sender.flushed, flushed)
        if not self.doomed:
            self._release(sender)

    def _release(self, by: Sender) -> None:
        """SyncRepReleaseWaiters: by the releasing walsender's own list, over those who think they count."""
        wait = by.wait
        if by.standby not in wait.members:
            return
        self._end_silent_senders()
        count = sorted((s.flushed for s in self.senders if s.standby in s.wait.members), reverse=True)
        if len(count) < wait.k or count[wait.k - 1] <= self._released:
            return
        self._released = count[wait.k - 1]
        ready = [entry for entry in self._waiting if entry[0] <= self._released]
        if ready:
            self._waiting = [entry for entry in self._waiting if entry[0] > self._released]
            for entry in ready:
                self._answer(entry)

    # Reading the list again: every process when its turn comes

    def _turn_s(self) -> float:
        """How long a process is busy with something else."""
        dice = self.host.dice
        return dice.uniform(0.05, 0.9) if dice.random() < 0.1 else dice.uniform(0.0003, 0.02)

    def reload(self) -> None:
        """pg_reload_conf: it only asks. Sets `shown` after a while, the checkpointer and walsenders later."""
        process = self.process

        def postmaster() -> None:
            if self.process != process or self.state not in RUNNING:
                return
            self.shown = self.written
            self.host.after(self._turn_s(), checkpointer)
            for sender in self.senders:
                sender.signalled = True
                self.host.after(self._turn_s(), lambda s=sender: self._reads(s))  # type: ignore[misc]

        def checkpointer() -> None:
            if self.process == process and self.state in RUNNING:
                self.define()

        self.host.after(self._turn_s(), postmaster)

    def _reads(self, sender: Sender) -> None:
        if sender.alive and sender.signalled:
            self.sends_through(sender)

    def define(self) -> None:
        """SyncRepUpdateSyncStandbysDefined: where nobody is named any more, everybody who waits is let go."""
        self.defined = self.written.k > 0
        if not self.defined:
            waited, self._waiting = self._waiting, []
            for entry in waited:
                self._answer(entry)

    def starts_with_its_file(self) -> None:
        """A postmaster begins; its checkpointer follows."""
        self.shown, self.defined = self.written, False
        process = self.process

        def checkpointer() -> None:
            if self.process == process:
                self.define()

        self.host.after(self._turn_s(), checkpointer)
