"""Starting, following, promoting and stopping PostgreSQL (PROTOCOL N1, N3, S7)."""

from __future__ import annotations

import os
import signal

from failover_agent.adapters import files
from failover_agent.adapters.postgres import on_disk, process, promote, settings, timelines
from failover_agent.adapters.postgres.interrupted import refuse_half_rewound
from failover_agent.adapters.postgres.plan import PostgresPlan
from failover_agent.adapters.postgres.sql import Ask, LocalSql
from failover_agent.adapters.systemd import Unit, looks
from failover_agent.core.model import Unknown
from failover_agent.core.promotion import Beginning
from failover_agent.core.quorum import NOBODY, Waits
from failover_agent.errors import AgentError, PostgresFailed
from failover_agent.killpoints import at

# Crash recovery replays at most what lies between two checkpoints.
START_TIMEOUT_S = 300.0
KILL_TIMEOUT_S = 10.0
COMMAND_TIMEOUT_S = 5.0
CHECKPOINT_TIMEOUT_S = 600.0
POLL_S = 0.01


class Control:
    def __init__(self, plan: PostgresPlan, unit: Unit, sql: LocalSql) -> None:
        self._plan = plan
        self._unit = unit
        self._sql = sql

    def settle(self) -> None:
        """The caller knows that no other life of this agent is in the middle of a start."""
        try:
            files.remove_durably(self._plan.may_start)
            if (self._plan.data_dir / "PG_VERSION").exists():
                settings.put_standby_signal(self._plan)
        except OSError as error:
            raise PostgresFailed(
                f"what an earlier start left could not be taken back: {error}", hint="Look at the disk."
            ) from error

    def start_standby(self, upstream: str) -> None:
        settings.write_passfile(self._plan)
        settings.write_agent_config(self._plan, upstream)
        settings.put_standby_signal(self._plan)
        self._start()

    def start_primary(self) -> None:
        settings.write_passfile(self._plan)
        # In place, in the epoch in which it is primary: whom it waits for is part of what the lease promises.
        wait = settings.written_waits(self._plan)
        settings.write_agent_config(self._plan, "", wait if isinstance(wait, Waits) else NOBODY)
        settings.take_standby_signal(self._plan)
        try:
            self._start()
            self._sql.together(
                "start", lambda ask: _wait_for_recovery(ask, False, START_TIMEOUT_S), START_TIMEOUT_S
            )
        finally:
            settings.put_standby_signal(self._plan)

    def _start(self) -> None:
        refuse_half_rewound(self._plan)
        timelines.tidy(self._plan)
        if self._unit.processes():
            if self._postmaster() is not None:
                raise PostgresFailed("PostgreSQL runs already", hint="Stop it first.")
            self.kill()  # orphans of a dead postmaster hold its shared memory
        try:
            files.write_durably(self._plan.may_start, "", mode=0o644)
            try:
                at("allowed-before-start")
                self._unit.start(START_TIMEOUT_S)
                at("started-before-signal")
            finally:
                files.remove_durably(self._plan.may_start)
        except OSError as error:
            raise PostgresFailed(
                f"{self._plan.may_start}: {error.strerror or error}", hint="Is /run full?"
            ) from error
        self._wait_for_connections()

    def _wait_for_connections(self) -> None:
        for left in looks(START_TIMEOUT_S, POLL_S):
            try:
                self._sql.do("SELECT 1", COMMAND_TIMEOUT_S)
                return
            except AgentError:
                if left <= 0 or self._postmaster() is None:
                    raise

    def follow(self, upstream: str) -> None:
        settings.write_passfile(self._plan)
        settings.write_agent_config(self._plan, upstream)
        # Reloaded also when the file said so before: a reload may have been lost with an earlier agent.
        self._sql.do("SELECT pg_reload_conf()", COMMAND_TIMEOUT_S)

    def promote(self, timeout_s: float, deadline: float, above: int) -> int:
        postmaster = self._postmaster()
        if postmaster is None:
            raise PostgresFailed("promotion: PostgreSQL does not run", hint="See its log.")

        def steps(ask: Ask) -> int:
            self._confirm_nobody_is_waited_for(ask)
            timelines.pass_over(self._plan, above)
            promote.tell(self._plan, postmaster, deadline)
            _wait_for_recovery(ask, False, timeout_s)
            row = ask("SELECT pg_walfile_name(pg_current_wal_insert_lsn())")
            if row is None:
                raise PostgresFailed("the promoted server shows no timeline", hint="See its log.")
            if ask("SELECT current_setting('archive_mode')") != ("off",):
                timelines.tell_archiver(self._plan)
            return int(row[0][:8], 16)

        try:
            return self._sql.together("promotion", steps, timeout_s + COMMAND_TIMEOUT_S)
        finally:
            settings.put_standby_signal(self._plan)

    def beginning(self) -> Beginning | Unknown:
        try:
            row = self._sql.do("SELECT pg_walfile_name(pg_current_wal_insert_lsn())", COMMAND_TIMEOUT_S)
        except PostgresFailed as error:
            return Unknown(str(error.args[0]))
        if row is None or row[0] is None:
            return Unknown("PostgreSQL shows no timeline")
        return on_disk.beginning(self._plan, int(row[0][:8], 16))

    def _confirm_nobody_is_waited_for(self, ask: Ask) -> None:
        """S7: the list of a standby-to-be-primary is set and confirmed before it is promoted."""
        show = "SELECT current_setting('synchronous_standby_names')"
        if ask(show) == ("",):
            return
        settings.write_agent_config(self._plan, "")
        ask("SELECT pg_reload_conf()")
        for left in looks(COMMAND_TIMEOUT_S, POLL_S):
            # A fresh connection each time: what an old one shows is no proof for new ones.
            if (value := self._sql.do(show, COMMAND_TIMEOUT_S)) == ("",):
                return
            if left <= 0:
                raise PostgresFailed(
                    f"synchronous_standby_names is {value!r} after it was emptied",
                    hint="Something sets it after the agent's file: ALTER SYSTEM, or the command line.",
                )

    def stop(self, timeout_s: float) -> None:
        """Fast shutdown by signal: systemd's way down may be configured otherwise."""
        pid = self._postmaster()
        if pid is not None:
            try:
                os.kill(pid, signal.SIGINT)
            except ProcessLookupError:
                pid = None
        if pid is not None and not process.wait_for_end(pid, timeout_s):
            self.kill()
            return
        if self._unit.processes():
            self.kill()
        self._sql.forget()

    def kill(self, timeout_s: float = KILL_TIMEOUT_S) -> None:
        self._unit.kill(timeout_s)
        self._sql.forget()

    def checkpoint(self) -> None:
        self._sql.do("CHECKPOINT", CHECKPOINT_TIMEOUT_S)

    def _postmaster(self) -> int | None:
        return process.postmaster(self._unit, self._plan.program("postgres"))


def _wait_for_recovery(ask: Ask, wanted: bool, timeout_s: float) -> None:
    for left in looks(timeout_s, POLL_S):
        if ask("SELECT pg_is_in_recovery()") == (wanted,):
            return
        if left <= 0:
            raise PostgresFailed(
                f"PostgreSQL is {'not ' if wanted else ''}in recovery after {timeout_s:g} s",
                hint="See its log.",
            )
