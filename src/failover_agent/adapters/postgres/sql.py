"""Talking SQL to the server of this node, over its Unix socket, never longer than told."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg
from psycopg import errors as pg_errors
from psycopg.rows import namedtuple_row

from failover_agent.adapters.bounded import Bounded, GaveUp
from failover_agent.adapters.postgres.plan import SUPERUSER, PostgresPlan
from failover_agent.adapters.postgres.required import held_column
from failover_agent.errors import PostgresFailed

T = TypeVar("T")
Ask = Callable[[str], "tuple[Any, ...] | None"]

CONNECT_TIMEOUT_S = 2
# Looking must not wait behind a lock, nor for a standby's acknowledgement, nor grow old.
_LOOK_TIMEOUT_MS = 700

LOOK = """
SELECT s.system_identifier::text AS system_identifier, r.yes AS in_recovery,
       CASE WHEN r.yes THEN greatest(pg_last_wal_receive_lsn(), pg_last_wal_replay_lsn())
            ELSE pg_current_wal_flush_lsn() END - '0/0'::pg_lsn AS received,
       r.yes AND pg_last_wal_receive_lsn() IS NULL AS received_nothing,
       CASE WHEN r.yes THEN pg_last_wal_replay_lsn()
            ELSE pg_current_wal_flush_lsn() END - '0/0'::pg_lsn AS replayed,
       CASE WHEN r.yes THEN NULL ELSE pg_walfile_name(pg_current_wal_insert_lsn()) END AS walfile,
       c.timeline_id AS checkpoint_timeline, m.min_recovery_end_timeline AS recovery_timeline,
       w.status AS receiver, coalesce(w.received_tli, 0) AS received_timeline,
       current_setting('primary_conninfo') AS conninfo,
       current_setting('primary_slot_name') AS slot, pg_postmaster_start_time()::text AS since,
       ARRAY(SELECT application_name FROM pg_stat_replication
             WHERE state = 'streaming' ORDER BY application_name) AS replicas,
       {held} AS held,
       CASE WHEN r.yes THEN pg_is_wal_replay_paused() OR current_setting('recovery_min_apply_delay') <> '0'
            ELSE false END AS replay_waits
  FROM pg_control_system() s, pg_control_checkpoint() c, pg_control_recovery() m,
       (SELECT pg_is_in_recovery() AS yes) r
  LEFT JOIN pg_stat_wal_receiver w ON true
"""


@dataclass(frozen=True, slots=True)
class NotYet:
    """The server runs and does not take connections yet."""

    why: str


class LocalSql:
    """One kept connection for looking, fresh ones for commands."""

    def __init__(self, plan: PostgresPlan) -> None:
        self._plan = plan
        self._look_at = LOOK.format(held=held_column(plan.version))
        self._bounded = Bounded("postgres", most=4)
        self._kept: psycopg.Connection[Any] | None = None

    def look(self, timeout_s: float) -> Any:  # a row of LOOK, or NotYet
        """One row of LOOK. Raises GaveUp when the server hangs, psycopg.Error when it says no."""
        try:
            return self._bounded.call(self._look, timeout_s)
        except GaveUp:
            self._kept = None  # the worker that hangs on it closes it when it comes back
            raise

    def _look(self) -> Any:
        connection, self._kept = self._kept, None
        try:
            if connection is None or connection.closed:
                connection = self._connect(f"-c statement_timeout={_LOOK_TIMEOUT_MS}", autocommit=False)
            row = connection.execute(self._look_at).fetchone()
            connection.rollback()  # a look must not count as a commit: commits show that clients live (N4)
        except psycopg.Error as error:
            if connection is not None:
                connection.close()
            if not_yet := _not_yet(error):
                return not_yet
            raise
        self._kept = connection
        return row

    def forget(self) -> None:
        """The server is gone: so is the kept connection."""
        connection, self._kept = self._kept, None
        if connection is not None:
            with contextlib.suppress(psycopg.Error):
                connection.close()

    def do(self, statement: str, timeout_s: float) -> tuple[Any, ...] | None:
        """Run one statement on a fresh connection; its first row. Raises PostgresFailed."""
        return self.together(statement.split()[0], lambda ask: ask(statement), timeout_s)

    def together(self, what: str, steps: Callable[[Ask], T], timeout_s: float, *, commits: bool = True) -> T:
        """Run several statements on one fresh connection in autocommit. Raises PostgresFailed.

        Where nothing `commits`, they are rolled back: what is asked all the time must not count as a client's
        commit (N4). What a function does outside of transactions, as those of slots do, stays.
        """

        def run() -> T:
            with contextlib.closing(
                self._connect(f"-c statement_timeout={int(timeout_s * 1000)}", autocommit=commits)
            ) as connection:

                def ask(statement: str) -> tuple[Any, ...] | None:
                    cursor = connection.execute(statement)  # only ever text of ours
                    return tuple(row) if cursor.description and (row := cursor.fetchone()) else None

                return steps(ask)

        try:
            return self._bounded.call(run, timeout_s + CONNECT_TIMEOUT_S)
        except GaveUp as error:
            raise PostgresFailed(f"{what}: PostgreSQL gave {error}", hint="See its log.") from error
        except psycopg.Error as error:
            raise PostgresFailed(f"{what}: {str(error).strip()}", hint="See its log.") from error

    def _connect(self, options: str, *, autocommit: bool = True) -> psycopg.Connection[Any]:
        return psycopg.connect(
            host=str(self._plan.socket_dir),
            port=self._plan.port,
            user=SUPERUSER,
            dbname="postgres",
            application_name="failover-agent",
            connect_timeout=CONNECT_TIMEOUT_S,
            options=f"{options} -c synchronous_commit=local",
            autocommit=autocommit,
            row_factory=namedtuple_row,
        )


def _not_yet(error: psycopg.Error) -> NotYet | None:
    """Starting up, or its socket is not there yet; not: shutting down, which is no beginning."""
    text = str(error)
    if isinstance(error, pg_errors.CannotConnectNow) or "starting up" in text or "not yet accepting" in text:
        return None if "shutting down" in text else NotYet(text.strip())
    if "No such file or directory" in text or "Connection refused" in text:
        return NotYet("it does not listen yet")
    return None
