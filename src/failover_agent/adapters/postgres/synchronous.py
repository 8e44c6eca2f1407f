"""Making the running primary wait for standbys, and knowing since when every commit obeys (PROTOCOL S3).

`pg_reload_conf` is asynchronous, and three kinds of processes must have read the new list before no commit
is acknowledged by the old one. Each is seen by what it cannot do otherwise:

  postmaster     a *fresh* connection inherits its settings: it shows the new list, and by then every child
                 was signalled, because the postmaster does both in one go.
  checkpointer   it tells backends whether anybody is to be waited for at all. Where nobody was before, the
                 list first names somebody who does not exist, and a commit of ours is seen to wait.
  walsenders     each releases commits by the list it last read, once per turn of its loop. A record written
                 after the signal can only have been sent in that turn or a later one, and acknowledged in a
                 later one still: a walsender whose standby has flushed it has read the new list. One that
                 does not get there is ended; its standby connects again.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from failover_agent.adapters import files
from failover_agent.adapters.postgres import settings
from failover_agent.adapters.postgres.plan import PostgresPlan
from failover_agent.adapters.postgres.sql import Ask, LocalSql
from failover_agent.adapters.postgres.standby_names import parsed, standby_names
from failover_agent.adapters.systemd import looks
from failover_agent.core.model import Unknown
from failover_agent.core.quorum import SyncSeen, Waits, waits
from failover_agent.errors import AgentError, PostgresFailed

COMMAND_TIMEOUT_S = 3.0
SHOWN_S = 3.0  # from the reload to a fresh connection that shows it
SENDERS_S = 1.0  # for a walsender to have its standby flush the barrier, before it is ended
GONE_S = 2.0
PROBE_S = 10.0
POLL_S = 0.01

NO_SUCH_STANDBY = "primacy-nobody"

_SHOW = "SELECT current_setting('synchronous_standby_names')"
_SINCE = "SELECT pg_postmaster_start_time()::text"
_SENDERS = """
SELECT coalesce(json_agg(json_build_array(pid, application_name, state, flush_lsn - '0/0'::pg_lsn)), '[]')
  FROM pg_stat_replication
"""
_CLIENTS_WAIT = """
SELECT json_build_array(count(*), coalesce(extract(epoch FROM max(clock_timestamp() - query_start)), 0))
  FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND application_name <> 'primacy-probe'
"""
_WAITING = """
SELECT count(*) FROM pg_stat_activity WHERE application_name = 'primacy-probe' AND wait_event = 'SyncRep'
"""
_CANCEL = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'primacy-probe'"
_NOTHING = "SELECT pg_logical_emit_message(true, 'primacy', '')"


class Synchronous:
    def __init__(self, plan: PostgresPlan, sql: LocalSql) -> None:
        self._plan = plan
        self._sql = sql
        # Named by some list whose barrier was not waited for to its end: such a walsender may release by it
        # still. A life of the agent before this one may have left off anywhere.
        self._may_release = set(plan.members)

    @property
    def _proof(self) -> Path:
        return self._plan.run_dir / "waits-proved"

    def look(self) -> SyncSeen | Unknown:
        written = settings.written_waits(self._plan)
        if isinstance(written, Unknown):
            return written
        try:
            text, senders, since, waiting = self._sql.together(
                "look",
                lambda ask: tuple(_one(ask, q) for q in (_SHOW, _SENDERS, _SINCE, _CLIENTS_WAIT)),
                COMMAND_TIMEOUT_S,
            )
        except PostgresFailed as error:
            return Unknown(str(error.args[0]))
        shown = parsed(str(text))
        if isinstance(shown, Unknown):
            return shown
        flushed: dict[str, int] = {}
        for _pid, name, state, position in senders:  # type: ignore[attr-defined]  # json, parsed by psycopg
            if state == "streaming" and position is not None:
                # Of two connections under one name the lesser counts: one may be of a disk that is gone.
                flushed[name] = min(int(position), flushed.get(name, int(position)))
        count, longest_s = (float(x) for x in waiting)  # type: ignore[attr-defined]  # json, too
        proved = self._noted() == str(since)
        return SyncSeen(shown, written, flushed, proved, int(count), max(0.0, longest_s))

    def wait_for(self, wait: Waits) -> int:
        """See `ports.Postgres.set_sync`."""
        before = self.look()
        if wait.k == 0:
            self._forget_proof()
        elif isinstance(before, Unknown) or before.shown.k == 0 or not self._is_proved():
            self._prove_that_commits_wait()
        if not isinstance(before, Unknown):
            self._may_release |= {*before.shown.members, *before.written.members, *wait.members}
        self._write(wait)
        if isinstance(before, Unknown):  # somebody else's list: any walsender may release by it
            return self._barrier(None)
        barrier = self._barrier(self._may_release)
        self._may_release = set()
        return barrier

    def _write(self, wait: Waits) -> None:
        """agent.conf, a reload, and a fresh connection that shows it. Raises PostgresFailed."""
        settings.write_agent_config(self._plan, "", wait)
        self._sql.do("SELECT pg_reload_conf()", COMMAND_TIMEOUT_S)
        wanted, shown = standby_names(wait), ""
        for left in looks(SHOWN_S, POLL_S):
            row = self._sql.do(_SHOW, COMMAND_TIMEOUT_S)
            shown = str(row[0]) if row else ""
            if shown == wanted:
                return
            if left <= 0:
                break
        raise PostgresFailed(
            f"synchronous_standby_names is {shown!r} after it was set to {wanted!r}",
            hint="Something sets it after the agent's file: ALTER SYSTEM, or the command line.",
        )

    # The checkpointer

    def _is_proved(self) -> bool:
        """Whether this very postmaster was seen to let commits wait, and was not told otherwise since."""
        with contextlib.suppress(AgentError):
            row = self._sql.do(_SINCE, COMMAND_TIMEOUT_S)
            return row is not None and self._noted() == str(row[0])
        return False

    def _noted(self) -> str:
        """The start of the postmaster that was proved last; empty: of none."""
        with contextlib.suppress(OSError):
            return self._proof.read_text()
        return ""

    def _forget_proof(self) -> None:
        try:
            files.remove_durably(self._proof)
        except OSError as error:
            raise PostgresFailed(f"{self._proof}: {error.strerror}", hint="Look at /run.") from error

    def _prove_that_commits_wait(self) -> None:
        row = self._sql.do(_SINCE, COMMAND_TIMEOUT_S)
        self._write(waits([NO_SUCH_STANDBY], 1))
        for left in looks(SHOWN_S, POLL_S):
            with self._a_commit_under_way():
                if any(self._a_commit_waits() for _look in looks(0.2, POLL_S)):
                    files.write_durably(self._proof, str(row[0]) if row else "")
                    return
            if left <= 0:
                break
        raise PostgresFailed(
            f"commits do not wait {SHOWN_S:g} s after a synchronous standby was named",
            hint="Is the checkpointer of PostgreSQL stuck? Nobody is let in before it has read the list.",
        )

    @contextlib.contextmanager
    def _a_commit_under_way(self) -> Iterator[None]:
        """One that waits as a client's would, on a thread of its own; cancelled at the end."""

        def commit() -> None:
            def steps(ask: Ask) -> None:
                ask("SET application_name = 'primacy-probe'")
                ask("SET synchronous_commit = 'on'")
                ask(_NOTHING)

            with contextlib.suppress(PostgresFailed):
                self._sql.together("probe", steps, PROBE_S)

        thread = threading.Thread(target=commit, name="commit-probe", daemon=True)
        thread.start()
        try:
            yield
        finally:
            with contextlib.suppress(PostgresFailed):
                self._sql.do(_CANCEL, COMMAND_TIMEOUT_S)
            thread.join(COMMAND_TIMEOUT_S)

    def _a_commit_waits(self) -> bool:
        row = self._sql.do(_WAITING, COMMAND_TIMEOUT_S)
        return row is not None and int(row[0]) > 0

    # The walsenders

    def _barrier(self, names: set[str] | None) -> int:
        def record(ask: Ask) -> int:
            ask(_NOTHING)  # committed here alone: the connection's synchronous_commit is local
            return int(str(_one(ask, "SELECT pg_current_wal_flush_lsn() - '0/0'::pg_lsn")))

        barrier = self._sql.together("barrier", record, COMMAND_TIMEOUT_S)
        first = {pid for pid, _ in self._behind(names, barrier)}
        for left in looks(SENDERS_S, POLL_S):
            if not first or left <= 0:
                break
            first &= {pid for pid, _ in self._behind(names, barrier)}
        if first:
            self._end(first, names, barrier)
        return barrier

    def _behind(self, names: set[str] | None, barrier: int) -> list[tuple[int, str]]:
        """Walsenders of `names` (None: of anybody) whose standby has not flushed the barrier yet."""
        row = self._sql.do(_SENDERS, COMMAND_TIMEOUT_S)
        return [
            (int(pid), str(name))
            for pid, name, _state, position in (row[0] if row else ())
            if (names is None or name in names) and (position is None or int(position) < barrier)
        ]

    def _end(self, pids: set[int], names: set[str] | None, barrier: int) -> None:
        for pid in sorted(pids):
            self._sql.do(f"SELECT pg_terminate_backend({pid})", COMMAND_TIMEOUT_S)
        for left in looks(GONE_S, POLL_S):
            pids &= {pid for pid, _ in self._behind(names, barrier)}
            if not pids:
                return
            if left <= 0:
                break
        raise PostgresFailed(
            f"walsenders {sorted(pids)} neither read the new list nor end",
            hint="They may still release commits by the old one; look at them in pg_stat_activity.",
        )


def _one(ask: Callable[[str], tuple[object, ...] | None], statement: str) -> object:
    row = ask(statement)
    if row is None:
        raise PostgresFailed(f"no row for {statement!r}", hint="See PostgreSQL's log.")
    return row[0]
