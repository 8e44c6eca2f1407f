"""What synchronous modes use of a simulated PostgreSQL: whom commits wait for, and who is cut off."""

from __future__ import annotations

from failover_agent.core.model import Unknown
from failover_agent.core.quorum import NOBODY, SyncSeen, Waits
from failover_agent.core.seals import Position
from failover_agent.errors import PostgresFailed
from tests.sim.wal import Wal


class Synchronous:
    """Mixed into SimPostgres, which has the log and hears what standbys flushed."""

    wal: Wal | None
    heard: dict[str, int]
    streaming: bool
    waits: Waits = NOBODY
    cut: str = ""  # from whom the kernel lets no WAL pass

    def sync(self) -> SyncSeen | Unknown:
        return SyncSeen(self.waits, self.waits, dict(self.heard))

    def set_sync(self, wait: Waits) -> int:
        self.waits = wait
        return self._log().flushed

    def cut_from(self, name: str) -> Position:
        self.cut, self.streaming = name, False
        return Position(self._log().timeline, self._log().flushed)

    def keep_cut(self, name: str) -> None:
        self.cut = name

    def end_cut(self) -> None:
        self.cut = ""

    def _log(self) -> Wal:
        if self.wal is None:
            raise PostgresFailed("there is no data directory here", hint="It is a simulation.")
        return self.wal
