"""The PostgreSQL of this node, one room per concern."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from failover_agent.adapters.postgres import make, on_disk, process, rewind
from failover_agent.adapters.postgres.control import KILL_TIMEOUT_S, Control
from failover_agent.adapters.postgres.observe import Observer
from failover_agent.adapters.postgres.plan import PostgresPlan
from failover_agent.adapters.postgres.sealing import Sealing
from failover_agent.adapters.postgres.slots import Slots
from failover_agent.adapters.postgres.sql import LocalSql
from failover_agent.adapters.postgres.synchronous import Synchronous
from failover_agent.adapters.systemd import Unit
from failover_agent.core.model import Server, SyncSet, Unknown
from failover_agent.core.promotion import Beginning
from failover_agent.core.quorum import SyncSeen, Waits
from failover_agent.core.seals import Position
from failover_agent.core.slots import Change, SlotsSeen
from failover_agent.errors import PostgresFailed
from failover_agent.ports import Clock, Progress

__all__ = ["LocalPostgres", "PostgresPlan"]


class LocalPostgres:
    """Implements `ports.Postgres`."""

    def __init__(self, plan: PostgresPlan, unit: Unit, clock: Clock) -> None:
        self._plan = plan
        self._unit = unit
        sql = LocalSql(plan)
        self._sealing = Sealing(plan, unit, sql)
        self._control = Control(plan, unit, sql, self._sealing.not_cut_from)
        self._observer = Observer(plan, unit, sql, clock)
        self._synchronous = Synchronous(plan, sql)
        self._slots = Slots(plan)

    def settle(self) -> None:
        self._control.settle()

    def observe(self, *, fresh: bool = False) -> Server | Unknown:
        return self._observer.look(fresh=fresh)

    def start_standby(self, upstream: str) -> None:
        self._sealing.refuse_if_cut(upstream)
        self._control.start_standby(upstream)

    def start_primary(self, counts_on: Iterable[SyncSet] = ()) -> None:
        self._control.start_primary(counts_on)

    def follow(self, upstream: str, slot: str = "") -> None:
        self._sealing.refuse_if_cut(upstream)
        self._control.follow(upstream, slot)

    def promote(self, timeout_s: float, deadline: float, *, above: int) -> int:
        timeline = self._control.promote(timeout_s, deadline, above)
        self._observer.forget()
        return timeline

    def beginning(self) -> Beginning | Unknown:
        return self._control.beginning()

    def stop(self, timeout_s: float) -> None:
        self._control.stop(timeout_s)

    def kill(self, timeout_s: float = KILL_TIMEOUT_S) -> None:
        self._control.kill(timeout_s)

    def checkpoint(self) -> None:
        self._control.checkpoint()

    def wal_end(self) -> int | Unknown:
        return on_disk.wal_end(self._plan, self._observer.flushed())

    def init(self, progress: Progress) -> None:
        self._observer.seen_timeline.forget()
        make.init(self._plan, progress)

    def clone(self, upstream: str, progress: Progress) -> None:
        self._observer.seen_timeline.forget()
        make.clone(self._plan, upstream, progress)

    def rewind(self, upstream: str, progress: Progress) -> Mapping[str, object]:
        self._observer.seen_timeline.forget()
        return rewind.rewind(self._plan, upstream, progress)

    def sync(self) -> SyncSeen | Unknown:
        return self._synchronous.look()

    def set_sync(self, wait: Waits) -> int:
        return self._synchronous.wait_for(wait)

    def cut_from(self, name: str) -> Position:
        seen = self._observer.look()
        position = self._sealing.seal(name, seen.timeline if isinstance(seen, Server) else 0)
        if isinstance(seen, Unknown):
            # The control file may name an older one, and who is asked again tells what it told first.
            raise PostgresFailed(f"which timeline this is: {seen.why}", hint="It is cut; it is asked again.")
        return position

    def keep_cut(self, name: str) -> None:
        self._sealing.keep_cut(name)

    def end_cut(self) -> None:
        self._sealing.end_cut()

    def slots(self) -> SlotsSeen | Unknown:
        return self._slots.look()

    def change_slots(self, changes: Sequence[Change]) -> None:
        self._slots.change(changes)

    def on_death(self, died: Callable[[], None]) -> None:
        process.watch_death(self._unit, self._plan.program("postgres"), died)
