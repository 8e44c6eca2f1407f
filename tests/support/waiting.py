"""What a PostgreSQL in memory waits for at commits, and from whom it is cut off."""

from __future__ import annotations

from dataclasses import dataclass

from failover_agent.core.model import Unknown
from failover_agent.core.quorum import NOBODY, SyncSeen, Waits
from failover_agent.core.seals import Position
from failover_agent.errors import PostgresFailed


@dataclass(slots=True, kw_only=True)
class Waiting:
    """The part of `ports.Postgres` that synchronous modes use, over what the world says."""

    waits: Waits = NOBODY
    cut: str = ""
    looks: int = 0  # at whom commits wait for
    refuse_cut: bool = False

    def flushed(self) -> dict[str, int]:
        raise NotImplementedError

    def position(self) -> Position:
        raise NotImplementedError

    def acknowledged(self) -> int:
        """Up to where a primary lets commits go: what k of those it waits for have flushed."""
        if not self.waits.k:
            return self.position().lsn
        flushed = self.flushed()
        had = sorted((flushed.get(name, 0) for name in self.waits.members), reverse=True)
        return had[self.waits.k - 1]

    def sync(self) -> SyncSeen | Unknown:
        self.looks += 1
        return SyncSeen(self.waits, self.waits, self.flushed())

    def set_sync(self, wait: Waits) -> int:
        self.waits = wait
        return self.position().lsn

    def cut_from(self, name: str) -> Position:
        self.cut = name
        if self.refuse_cut:
            raise PostgresFailed("the WAL receiver does not end", hint="It is a test.")
        return self.position()

    def keep_cut(self, name: str) -> None:
        self.cut = name

    def end_cut(self) -> None:
        self.cut = ""
