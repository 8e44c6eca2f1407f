"""One bounded look at PostgreSQL: from outside, from the control file, or by SQL.

Invariant: a server that runs and does not answer is `Unknown`, never "stopped" and never "standby".
"""

from __future__ import annotations

import re
from typing import Any

import psycopg

from failover_agent.adapters.bounded import GaveUp
from failover_agent.adapters.postgres import local_line, on_disk, process, required, settings
from failover_agent.adapters.postgres.plan import PostgresPlan
from failover_agent.adapters.postgres.seen_timeline import SeenTimeline
from failover_agent.adapters.postgres.sql import LocalSql, NotYet
from failover_agent.adapters.systemd import Unit
from failover_agent.core.model import Fork, Server, ServerState, Unknown
from failover_agent.errors import AgentError, DataDirectoryRefused, from_fields
from failover_agent.ports import Clock

LOOK_S = 0.8
# Silence this short is answered with what was last seen; load alone must not look like a fault.
STALE_AFTER_S = 1.0


class Observer:
    def __init__(self, plan: PostgresPlan, unit: Unit, sql: LocalSql, clock: Clock) -> None:
        self._plan = plan
        self._unit = unit
        self._sql = sql
        self._clock = clock
        self._last: Server | None = None
        self._last_at = 0.0
        self._flushed = on_disk.Flushed()
        self._since = ""
        self._timeline = 0
        self._local = ("", on_disk.Flushed())  # of which start, and where its local WAL ends
        self.seen_timeline = SeenTimeline(plan)
        self._histories: dict[int, tuple[Fork, ...]] = {}

    def look(self, *, fresh: bool = False) -> Server | Unknown:
        """`fresh`: silence is never answered with what was seen a moment ago."""
        if fresh:
            self.forget()
        if process.postmaster(self._unit, self._plan.program("postgres")) is None:
            self._sql.forget()
            self._last = None
            return self._at_rest()
        try:
            row = self._sql.look(LOOK_S)
        except GaveUp:
            return self._silent("does not answer")
        except psycopg.Error as error:
            if process.postmaster(self._unit, self._plan.program("postgres")) is None:
                return self._at_rest()
            return self._silent(str(error).strip().splitlines()[0])
        if isinstance(row, NotYet):
            self._last = None
            return self._on_disk(ServerState.STARTING)
        self._last = self._running(row)
        self._last_at = self._clock.now()
        return self._last

    def forget(self) -> None:
        """What was seen before is no answer any more: PostgreSQL was told to become something else."""
        self._last = None

    def flushed(self) -> on_disk.Flushed:
        """How far a primary here, when it last answered, had its WAL on disk."""
        return self._flushed

    def _silent(self, why: str) -> Server | Unknown:
        if self._last is not None and self._clock.now() - self._last_at < STALE_AFTER_S:
            return self._last
        if self._last is None:
            return Unknown(f"PostgreSQL runs and {why}")
        return Unknown(
            f"PostgreSQL runs and {why}; it last answered {self._clock.now() - self._last_at:.1f} s ago"
        )

    def _at_rest(self) -> Server | Unknown:
        try:
            there = (self._plan.data_dir / "PG_VERSION").exists()
        except OSError as error:
            return Unknown(f"{self._plan.data_dir} cannot be looked at: {error}")
        if there:
            return self._on_disk(ServerState.STOPPED)
        if not self._plan.data_dir.parent.is_dir():
            # An unmounted volume is not an empty one.
            return Unknown(f"{self._plan.data_dir.parent} is not there; is the data volume mounted?")
        return Server(ServerState.ABSENT)

    def _on_disk(self, state: ServerState) -> Server | Unknown:
        try:
            control = on_disk.read_control(self._plan)
            signal = self._plan.standby_signal.exists()
            upstream = ""
            if state is ServerState.STARTING:
                upstream = self._upstream(settings.written_upstream(self._plan))
        except (DataDirectoryRefused, OSError) as error:
            return Unknown(str(error), cause=_plain(error))
        return Server(
            state,
            system_identifier=control.system_identifier,
            timeline=control.timeline,
            upstream=upstream,
            clean=state is ServerState.STOPPED and control.clean,
            history=self._history(control.timeline),
            standby_signal=signal,
            whole_from=control.recovery_end,
        )

    def _running(self, row: Any) -> Server:  # a row of sql.LOOK
        if row.walfile:
            timeline = int(row.walfile[:8], 16)
        else:
            timeline = max(row.checkpoint_timeline, row.recovery_timeline or 0, row.received_timeline)
            # The control file lags behind replay, and the receiver's word is gone with the receiver:
            # what this postmaster was once seen on still holds, it never goes back.
            if row.since == self._since:
                timeline = max(timeline, self._timeline)
            timeline = self._as_seen_before(row, timeline)
        self._since, self._timeline = row.since, timeline
        received, local = int(row.received or 0), self._local_end(row)
        if local.lsn > received:  # not all of it is replayed yet
            received, timeline = local.lsn, max(timeline, local.timeline)
        if not row.in_recovery:
            self._flushed = on_disk.Flushed(timeline, int(row.received or 0))
        return Server(
            ServerState.STANDBY if row.in_recovery else ServerState.PRIMARY,
            system_identifier=row.system_identifier,
            timeline=timeline,
            received_lsn=received,
            replayed_lsn=int(row.replayed or 0),
            streaming=row.receiver == "streaming",
            upstream=self._upstream(row.conninfo) if row.in_recovery else "",
            slot=row.slot if row.in_recovery else "",
            history=self._history(timeline),
            replicas=() if row.in_recovery else tuple(row.replicas),
            held=required.held(self._plan, row.held),
            replay_waits=row.replay_waits,
        )

    def _local_end(self, row: Any) -> on_disk.Flushed:
        """What lies on the disk of a standby that has received nothing since its start; it ends nowhere else.

        Read once per start. PostgreSQL itself tells only how far it has replayed: by that alone the node
        with the longest replay before it would look like the one with the least WAL.
        """
        if not row.received_nothing:
            return on_disk.Flushed()
        if self._local[0] != row.since:
            end = local_line.line_end(self._plan)
            if isinstance(end, Unknown):
                return on_disk.Flushed()
            self._local = (row.since, end)
        return self._local[1]

    def _as_seen_before(self, row: Any, timeline: int) -> int:
        """After a restart, too: what it has beyond the beginning of a timeline it received is of that one."""
        if row.receiver == "streaming" and row.received_timeline == timeline:
            self.seen_timeline.note(row.system_identifier, timeline)
        seen = self.seen_timeline.of(row.system_identifier)
        if seen <= timeline:
            return timeline
        history = self._history(seen)
        return seen if history and int(row.received or 0) >= history[-1].lsn else timeline

    def _upstream(self, conninfo: str) -> str:
        found = re.search(r"\bhost=(\S+)", conninfo)
        return self._plan.member_at(found.group(1)) if found else ""

    def _history(self, timeline: int) -> tuple[Fork, ...]:
        """A timeline's history never changes; read again only while it is not there."""
        known = self._histories.get(timeline)
        if known:
            return known
        history = on_disk.read_history(self._plan.wal_dir, timeline)
        if history:
            self._histories = {timeline: history}
        return history


def _plain(error: Exception) -> AgentError | None:
    """Without the frames it came through."""
    return from_fields(error.fields()) if isinstance(error, AgentError) else None
