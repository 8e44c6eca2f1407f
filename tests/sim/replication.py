"""Streaming replication between simulated servers: who receives from whom, by PostgreSQL's own rules.

PostgreSQL lets a standby stream when its timeline is in the sender's history and its position is not beyond
the fork. It compares numbers; whether the bytes before are the same, nobody asks.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from failover_agent.core.model import ServerState
from tests.sim.host import Host
from tests.sim.network import Network
from tests.sim.postgres import RUNNING, SimPostgres

if TYPE_CHECKING:
    from tests.sim.wal import Wal

RECEIVER_TIMEOUT_S = 5.0
RETRY_S = 1.0
PULL_S = (0.06, 0.14)


def fits(standby: Wal, sender: Wal) -> bool:
    """Whether the sender accepts the standby's starting point."""
    if standby.timeline == sender.timeline:
        return standby.written <= sender.flushed
    return any(f.timeline == standby.timeline and standby.written <= f.lsn for f in sender.history)


class Receiver:
    """The walreceiver of one standby, moved by one recurring event."""

    def __init__(self, host: Host, hosts: dict[str, Host], network: Network, dice: random.Random) -> None:
        self._host = host
        self._hosts = hosts
        self._network = network
        self._dice = dice
        self._sender_process = -1
        self._next_try = 0.0
        self._heard_at = 0.0
        self.lags = False  # a fault: nothing is received
        self._pull()

    def _pull(self) -> None:
        self._host.scheduler.after(self._dice.uniform(*PULL_S), self._pull)
        if self._host.talks():
            self._round()

    def _round(self) -> None:
        pg, now = self._host.postgres, self._host.scheduler.now
        if pg.state is not ServerState.STANDBY or pg.wal is None or pg.stopping:
            pg.streaming = False
            return
        sender = self._hosts.get(pg.upstream)
        if sender is None or sender is self._host:
            pg.streaming = False
        elif pg.streaming:
            self._stream(pg, sender, now)
        elif now >= self._next_try:
            self._next_try = now + RETRY_S
            self._connect(pg, sender, now)

    def _reaches(self, sender: Host) -> bool:
        there, back = (self._host.name, sender.name), (sender.name, self._host.name)
        return sender.talks() and self._network.passes(*there) and self._network.passes(*back)

    def _connect(self, pg: SimPostgres, sender: Host, now: float) -> None:
        theirs = sender.postgres
        assert pg.wal is not None
        if pg.cut == sender.name:
            return
        if not self._reaches(sender) or theirs.state not in RUNNING or theirs.stopping or theirs.wal is None:
            return
        if theirs.system == pg.system and fits(pg.wal, theirs.wal):
            pg.streaming, self._sender_process, self._heard_at = True, theirs.process, now

    def _stream(self, pg: SimPostgres, sender: Host, now: float) -> None:
        theirs = sender.postgres
        assert pg.wal is not None
        if not self._reaches(sender):
            if now - self._heard_at > RECEIVER_TIMEOUT_S:
                pg.streaming = False
            return
        alive = theirs.state in RUNNING or theirs.orphans
        if theirs.process != self._sender_process or not alive or theirs.wal is None:
            pg.streaming = False  # the connection ended; what was on its way is lost
            return
        self._heard_at = now
        if not self.lags:
            self.receive(pg, sender, theirs.wal.flushed)

    def receive(self, pg: SimPostgres, sender: Host, upto: int) -> None:
        wal, theirs = pg.wal, sender.postgres
        assert wal is not None
        assert theirs.wal is not None
        if upto > wal.written:
            wal.take(theirs.wal, upto)
        process, theirs_process = pg.process, theirs.process

        def flush() -> None:
            if pg.process != process or pg.wal is not wal or pg.state is not ServerState.STANDBY:
                return
            if self._host.disk_hangs:
                return  # the next round tries again
            if wal.flushed < min(upto, wal.written):
                wal.flush(min(upto, wal.written))
                self._host.moved_at = self._host.scheduler.now
            if not pg.replay_blocked:
                wal.replayed = wal.flushed
            way = self._network.delay(self._host.name, sender.name)
            if way is not None:
                flushed = wal.flushed
                self._host.scheduler.after(
                    way, lambda: theirs.hears(self._host.name, theirs_process, flushed)
                )

        if wal.flushed < wal.written or theirs.heard.get(self._host.name, 0) < wal.flushed:
            self._host.after(self._dice.uniform(0.0005, 0.006), flush)

    def streams_from(self, sender: Host) -> bool:
        pg = self._host.postgres
        return pg.streaming and pg.upstream == sender.name and self._sender_process == sender.postgres.process

    def drain(self, sender: Host) -> bool:
        """The sender shuts down: everything arrives, or it must wait. A lagging receiver makes it wait."""
        if not self._reaches(sender) or not self._host.talks() or self.lags or self._host.disk_hangs:
            return False
        pg = self._host.postgres
        assert pg.wal is not None
        assert sender.postgres.wal is not None
        sender.postgres.wal.flush(sender.postgres.wal.written)
        pg.wal.take(sender.postgres.wal, sender.postgres.wal.flushed)
        pg.wal.flush(pg.wal.written)
        return True
