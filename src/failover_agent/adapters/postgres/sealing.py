"""Taking nothing more from the old primary, and saying what was taken (PROTOCOL F2).

In the order in which each step makes the one before it final: the kernel drops what is on its way, the
setting is emptied so that no new receiver is started, the receiver is ended by its process id (PostgreSQL
refuses to end it by SQL) and flushes what it has, and only then the position is read. Emptying the setting
alone is not enough: a standby whose replay is blocked streams on for seconds.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

from failover_agent.adapters import cut
from failover_agent.adapters.postgres import local_line, process, settings
from failover_agent.adapters.postgres.plan import PostgresPlan
from failover_agent.adapters.postgres.sql import Ask, LocalSql
from failover_agent.adapters.systemd import Unit, looks
from failover_agent.core.model import Unknown
from failover_agent.core.seals import Position
from failover_agent.errors import PostgresFailed

COMMAND_TIMEOUT_S = 2.0
RECEIVER_GONE_S = 2.0
SHOWN_S = 2.0
SEAL_TIMEOUT_S = RECEIVER_GONE_S + COMMAND_TIMEOUT_S
POLL_S = 0.01

_RECEIVER = re.compile(rb"^postgres: (?:[^:]+: )?walreceiver\b")

_POSITION = """
SELECT pg_is_in_recovery() AS in_recovery, pg_last_wal_receive_lsn() - '0/0'::pg_lsn AS received,
       pg_last_wal_replay_lsn() - '0/0'::pg_lsn AS replayed,
       greatest(c.timeline_id, m.min_recovery_end_timeline) AS timeline
  FROM pg_control_checkpoint() c, pg_control_recovery() m
"""


class Sealing:
    def __init__(self, plan: PostgresPlan, unit: Unit, sql: LocalSql) -> None:
        self._plan = plan
        self._unit = unit
        self._sql = sql
        self.cut_from = ""  # empty: nobody
        self._lock = threading.Lock()  # between a look at it and writing whom to follow nobody seals

    def keep_cut(self, name: str) -> None:
        """The kernel's part, as often as wished. Raises PostgresFailed."""
        address = self._address(name)
        known, self.cut_from = self.cut_from == name, name
        if not known or not cut.stands(address):  # a first cut replaces whatever stands there
            cut.cut(address, (self._plan.port, self._plan.replication_port))

    def end_cut(self) -> None:
        cut.uncut()
        self.cut_from = ""

    def _address(self, name: str) -> str:
        address = self._plan.members.get(name)
        if address is None:
            raise PostgresFailed(
                f"{name!r} is not among the members {', '.join(sorted(self._plan.members))}",
                hint="Run the playbook so that every node knows every other.",
            )
        return address

    @contextlib.contextmanager
    def not_cut_from(self, upstream: str) -> Iterator[None]:
        """For writing that this node follows `upstream`. Raises PostgresFailed where it is sealed against it.

        → the loop had looked, a member asked for the seal, the setting was emptied, and written once more.
        """
        with self._lock:
            self.refuse_if_cut(upstream)
            yield

    def refuse_if_cut(self, upstream: str) -> None:
        if upstream and upstream == self.cut_from:
            raise PostgresFailed(
                f"this node is sealed against {upstream} and does not follow it",
                hint="The seal ends when the lease shows a later version or epoch; nothing is to be done.",
            )

    def seal(self, name: str, timeline: int) -> Position:
        """See `ports.Postgres.cut_from`."""
        with self._lock:
            self.keep_cut(name)
            settings.write_agent_config(self._plan, "")
        self._sql.do("SELECT pg_reload_conf()", COMMAND_TIMEOUT_S)
        for left in looks(SHOWN_S, POLL_S):
            # On a fresh connection each time; the one that shows it also tells the position.
            emptied, row = self._sql.together("seal", self._end_where_emptied, SEAL_TIMEOUT_S)
            if emptied:
                return self._position(timeline, row)
            if left <= 0:
                break
        raise PostgresFailed(
            "primary_conninfo is not empty after it was emptied",
            hint="Something sets it after the agent's file: ALTER SYSTEM, or the command line.",
        )

    def _end_where_emptied(self, ask: Ask) -> tuple[bool, tuple[object, ...] | None]:
        """False: this connection began before the postmaster had read the emptied setting."""
        if ask("SELECT current_setting('primary_conninfo')") != ("",):
            return False, None
        self._end_receiver()
        return True, ask(_POSITION)

    def _end_receiver(self) -> None:
        """One may have been asked for just before; it finds no way out of this host, and is ended as well."""
        for left in looks(RECEIVER_GONE_S, POLL_S):
            receivers = self._receivers()
            if not receivers:
                return
            for pid in receivers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)
                process.wait_for_end(pid, max(left, POLL_S))
            if left <= 0:
                break
        raise PostgresFailed(
            f"the WAL receiver {self._receivers()} does not end",
            hint="It most likely hangs on the disk; this node gives no seal.",
        )

    def _receivers(self) -> list[int]:
        found = []
        for pid in self._unit.processes():
            with contextlib.suppress(OSError):
                if _RECEIVER.match(Path(f"/proc/{pid}/cmdline").read_bytes()):
                    found.append(pid)
        return found

    def _position(self, timeline: int, row: tuple[object, ...] | None) -> Position:
        if row is None or not row[0]:
            raise PostgresFailed("only a standby can be sealed", hint="PostgreSQL here is no standby.")
        received, replayed = int(str(row[1] or 0)), int(str(row[2] or 0))
        timeline = max(timeline, int(str(row[3] or 0)))
        if row[1] is None:
            timeline = max(timeline, self._line_replayed_to_its_end(replayed))
        return Position(timeline, max(received, replayed))

    def _line_replayed_to_its_end(self, replayed: int) -> int:
        """Since this start nothing was received: what counts is what lies on the disk, and all of it.

        The timeline it is on, which the control file may not know yet.
        """
        end = local_line.line_end(self._plan)
        if isinstance(end, Unknown):
            raise PostgresFailed(f"the end of the local WAL: {end.why}", hint="It is asked again.")
        if replayed < end.lsn:
            raise PostgresFailed(
                f"local WAL is replayed up to {replayed} and ends at {end.lsn}", hint="It is asked again."
            )
        return end.timeline
