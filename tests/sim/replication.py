"""Streaming replication between simulated servers: who receives from whom, by PostgreSQL's own rules.

PostgreSQL lets a standby stream when its timeline is in the sender's history and its position is not beyond
the fork. It compares numbers; whether the bytes before are the same, nobody asks.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.sim.commits import RUNNING, Sender
from tests.sim.host import Host
from tests.sim.network import Network
from tests.sim.postgres import SimPostgres

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


def leaves_too_early(standby: Wal, sender: Wal) -> bool:
    """Whether the sender's line leaves the standby's before the standby, a copy, is consistent."""
    forks = [f.lsn for f in sender.history if f.timeline == standby.timeline]
    return not standby.is_whole and any(standby.written <= lsn < standby.whole_from for lsn in forks)


class Receiver:
    """The walreceiver of one standby, moved by one recurring event."""

    def __init__(self, host: Host, hosts: dict[str, Host], network: Network, dice: random.Random) -> None:
        self._host = host
        self._hosts = hosts
        self._network = network
        self._dice = dice
        self._sender: Sender | None = None  # the walsender at the other end
        self._source: Host | None = None  # its host
        self._next_try = 0.0
        self._heard_at = 0.0
        self.lags = False  # a fault: nothing is received
        self._pull()

    def _pull(self) -> None:
        self._host.scheduler.after(self._dice.uniform(*PULL_S), self._pull)
        if self._host.up and not self._host.paused:
            self._round()

    def _round(self) -> None:
        pg = self._host.postgres
        if self._sender is not None and not pg.streaming:
            self._hang_up()
        if not pg.takes_wal() or pg.wal is None or pg.stopping:
            if pg.streaming:
                pg.streaming = False
                self._hang_up()
        elif pg.streaming:
            self._stream(pg)
        else:
            self._connect(pg)

    def _hang_up(self) -> None:
        """The receiver is gone; its walsender hears of it if it can, else it waits in vain for a while."""
        sender, source = self._sender, self._source
        self._sender = self._source = None
        if sender is None or source is None:
            return
        if self._packets_pass(source) and source.talks():
            source.after(0.005, lambda: source.postgres.detach(sender))

    def _packets_pass(self, source: Host) -> bool:
        """From here to the source's PostgreSQL."""
        free = self._network.passes(self._host.name, source.name)
        return free and source.name != self._host.postgres.dropped

    def _reaches(self, source: Host) -> bool:
        there, back = (self._host.name, source.name), (source.name, self._host.name)
        cut = self._host.postgres.dropped == source.name
        return source.talks() and not cut and self._network.passes(*there) and self._network.passes(*back)

    def _connect(self, pg: SimPostgres) -> None:
        now, source = self._host.scheduler.now, self._hosts.get(pg.upstream)
        if source is None or source is self._host or now < self._next_try:
            return
        self._next_try = now + RETRY_S
        theirs = source.postgres
        assert pg.wal is not None
        if self._host.disk_hangs:
            return
        pg.wal.flush(pg.wal.written)  # what an earlier receiver had, it flushed before it ended
        if not self._reaches(source) or theirs.state not in RUNNING or theirs.stopping or theirs.wal is None:
            return
        if leaves_too_early(pg.wal, theirs.wal):
            pg.crash()  # "unexpected timeline ID … before reaching minimum recovery point"
        elif theirs.system == pg.system and fits(pg.wal, theirs.wal):
            sender = theirs.attach(self._host.name)
            if sender is not None:
                self._sender, self._source = sender, source
                pg.streaming, self._heard_at = True, now

    def _stream(self, pg: SimPostgres) -> None:
        sender, source, now = self._sender, self._source, self._host.scheduler.now
        assert pg.wal is not None
        if sender is None or source is None:
            pg.streaming = False
        elif not self._reaches(source):
            if now - self._heard_at > RECEIVER_TIMEOUT_S:
                pg.streaming = False
        elif not sender.alive or source.postgres.wal is None:
            pg.streaming = False  # the connection ended; what was on its way is lost
        else:
            self._heard_at = sender.heard_at = now
            if not self.lags:
                self.receive(pg, sender, source, source.postgres.sends_through(sender))

    def receive(self, pg: SimPostgres, sender: Sender, source: Host, upto: int) -> None:
        wal, theirs = pg.wal, source.postgres
        assert wal is not None
        assert theirs.wal is not None
        if upto > wal.written:
            pg.world.promises.takes(self._host, source)
            wal.take(theirs.wal, upto)
            pg.received = True
        process = pg.process

        def flush() -> None:
            if pg.process != process or pg.wal is not wal or not pg.takes_wal():
                return
            if self._host.disk_hangs:
                return  # the next round tries again
            if wal.flushed < min(upto, wal.written):
                wal.flush(min(upto, wal.written))
                self._host.moved_at = self._host.scheduler.now
            pg.replay()
            if self._sender is sender and pg.streaming and self._packets_pass(source):
                self._tell(theirs, sender, wal.flushed)

        if wal.flushed < wal.written or sender.flushed < wal.flushed or self._is_to_replay(pg):
            self._host.after(self._dice.uniform(0.0005, 0.006), flush)

    def _is_to_replay(self, pg: SimPostgres) -> bool:
        return pg.wal is not None and pg.wal.replayed < pg.wal.flushed and not pg.replay_blocked

    def _tell(self, theirs: SimPostgres, sender: Sender, flushed: int) -> None:
        way = self._network.delay(self._host.name, theirs.host.name)
        if way is not None:
            self._host.scheduler.after(way, lambda: theirs.hears(sender, flushed))

    def streams_from(self, source: Host) -> bool:
        sender = self._sender
        return (
            self._host.postgres.streaming and self._source is source and sender is not None and sender.alive
        )

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
