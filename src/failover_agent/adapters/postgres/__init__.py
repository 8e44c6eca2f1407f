"""The PostgreSQL of this node, one room per concern."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from failover_agent.adapters.postgres import make, on_disk, process, rewind
from failover_agent.adapters.postgres.control import KILL_TIMEOUT_S, Control
from failover_agent.adapters.postgres.observe import Observer
from failover_agent.adapters.postgres.plan import PostgresPlan
from failover_agent.adapters.postgres.sql import LocalSql
from failover_agent.adapters.systemd import Unit
from failover_agent.core.model import Server, Unknown
from failover_agent.core.promotion import Beginning
from failover_agent.ports import Clock, Progress

__all__ = ["LocalPostgres", "PostgresPlan"]


class LocalPostgres:
    """Implements `ports.Postgres`."""

    def __init__(self, plan: PostgresPlan, unit: Unit, clock: Clock) -> None:
        self._plan = plan
        self._unit = unit
        sql = LocalSql(plan)
        self._control = Control(plan, unit, sql)
        self._observer = Observer(plan, unit, sql, clock)

    def settle(self) -> None:
        self._control.settle()

    def observe(self) -> Server | Unknown:
        return self._observer.look()

    def start_standby(self, upstream: str) -> None:
        self._control.start_standby(upstream)

    def start_primary(self) -> None:
        self._control.start_primary()

    def follow(self, upstream: str) -> None:
        self._control.follow(upstream)

    def promote(self, timeout_s: float, deadline: float, *, above: int) -> int:
        return self._control.promote(timeout_s, deadline, above)

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
        make.init(self._plan, progress)

    def clone(self, upstream: str, progress: Progress) -> None:
        make.clone(self._plan, upstream, progress)

    def rewind(self, upstream: str, progress: Progress) -> Mapping[str, object]:
        return rewind.rewind(self._plan, upstream, progress)

    def on_death(self, died: Callable[[], None]) -> None:
        process.watch_death(self._unit, self._plan.program("postgres"), died)
