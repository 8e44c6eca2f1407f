"""What a PostgreSQL in memory waits for at commits, and from whom it is cut off."""

from __future__ import annotations

from dataclasses import dataclass

from failover_agent.core.model import Unknown
from failover_agent.core.quorum import NOBODY, SyncSeen, Waits
from failover_agent.core.seals import Position


@dataclass(slots=True, kw_only=True)
class Waiting:
    """The part of `ports.Postgres` that synchronous modes use, over what the world says."""

    waits: Waits = NOBODY
    cut: str = ""

    def flushed(self) -> dict[str, int]:
        raise NotImplementedError

    def position(self) -> Position:
        raise NotImplementedError

    def sync(self) -> SyncSeen | Unknown:
        return SyncSeen(self.waits, self.waits, self.flushed())

    def set_sync(self, wait: Waits) -> int:
        self.waits = wait
        return self.position().lsn

    def cut_from(self, name: str) -> Position:
        self.cut = name
        return self.position()

    def keep_cut(self, name: str) -> None:
        self.cut = name

    def end_cut(self) -> None:
        self.cut = ""
