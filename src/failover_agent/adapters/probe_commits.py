"""Reads how many transactions were committed, with all the patience in the world (N4).

A look of the decision round is given up after a second, and a loaded server may miss every one of
them while its clients commit. This reader keeps a session open, so that it goes on when no new one can
be had, and waits as long as an answer takes.
"""

from __future__ import annotations

import contextlib
import threading
from typing import Any

import psycopg

from failover_agent.adapters.postgres.plan import SUPERUSER, PostgresPlan

EVERY_S = 1.0
# PostgreSQL counts a transaction when it has touched a table; a client that only says SELECT 1 shows
# itself by its session. What our looks do is rolled back and not counted here (sql.LocalSql).
_COUNT = "SELECT coalesce(sum(xact_commit), 0)::bigint FROM pg_stat_database"


class CommitReader:
    """Reads on a thread of its own while told to; a read that hangs holds nobody."""

    def __init__(self, plan: PostgresPlan) -> None:
        self._plan = plan
        self._wanted = threading.Event()
        self.commits: int | None = None

    def start(self) -> None:
        threading.Thread(target=self._read_for_ever, name="commit-reader", daemon=True).start()

    def want(self, wanted: bool) -> None:
        if wanted:
            self._wanted.set()
        else:
            self._wanted.clear()
            self.commits = None

    def _read_for_ever(self) -> None:
        pause = threading.Event()
        while True:
            self._wanted.wait()
            with contextlib.suppress(psycopg.Error), contextlib.closing(self._connect()) as connection:
                while self._wanted.is_set():
                    row = connection.execute(_COUNT).fetchone()
                    connection.rollback()
                    if row is not None and self._wanted.is_set():
                        self.commits = int(row[0])
                    pause.wait(EVERY_S)
            pause.wait(EVERY_S)

    def _connect(self) -> psycopg.Connection[Any]:
        return psycopg.connect(
            host=str(self._plan.socket_dir),
            port=self._plan.port,
            user=SUPERUSER,
            dbname="postgres",
            application_name="failover-probe",
        )
