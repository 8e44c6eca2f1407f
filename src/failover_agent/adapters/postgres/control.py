"""Starting, following, promoting and stopping PostgreSQL (PROTOCOL N1, N3, S7)."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager

from failover_agent.adapters import files
from failover_agent.adapters.postgres import on_disk, process, promote, required, settings, timelines
from failover_agent.adapters.postgres.interrupted import refuse_half_rewound
from failover_agent.adapters.postgres.plan import PostgresPlan
from failover_agent.adapters.postgres.sql import Ask, LocalSql
from failover_agent.adapters.systemd import Unit, looks
from failover_agent.core.model import SyncSet, Unknown
from failover_agent.core.promotion import Beginning
from failover_agent.core.quorum import NOBODY, at_start
from failover_agent.errors import AgentError, PostgresFailed
from failover_agent.killpoints import at

# Crash recovery replays at most what lies between two checkpoints.
START_TIMEOUT_S = 300.0
KILL_TIMEOUT_S = 10.0
# After the shutdown checkpoint only walsenders and the archiver are waited for; one to a dead standby, or a
# command that never ends, would be waited for for ever. A logical consumer that takes nothing holds already
# the checkpoint, until its socket is destroyed: whoever hands over dismisses clients before the stop.
DRAIN_S = 4.0
LOOK_AT_CONTROL_S = 0.25
IMMEDIATE_S = 1.0  # of an immediate shutdown, before the cgroup is killed
COMMAND_TIMEOUT_S = 5.0
CHECKPOINT_TIMEOUT_S = 600.0
POLL_S = 0.01


Guard = Callable[[str], AbstractContextManager[None]]


class Control:
    def __init__(self, plan: PostgresPlan, unit: Unit, sql: LocalSql, not_cut_from: Guard) -> None:
        self._plan = plan
        self._unit = unit
        self._sql = sql
        self._not_cut_from = not_cut_from

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
        settings.write_slots_config(self._plan, settings.slots_config(self._plan))
        self._lead(upstream)
        raised = self._raised()
        if raised:
            self._lead(upstream, raised)
        settings.put_standby_signal(self._plan)
        self._start()
        if raised:
            # For this start alone: the next one as primary takes what people wrote, and until then
            # PostgreSQL shows that it waits for a restart.
            try:
                self._lead(upstream)
            except PostgresFailed:
                self._lead("")  # sealed while it started (F2)
            self._sql.do("SELECT pg_reload_conf()", COMMAND_TIMEOUT_S)

    def _lead(self, upstream: str, raised: Mapping[str, int] = settings.NOTHING_RAISED) -> None:
        """Write whom to follow. Raises PostgresFailed, also where this node is sealed against it."""
        with self._not_cut_from(upstream):
            settings.write_agent_config(self._plan, upstream, raised=raised)

    def _raised(self) -> dict[str, int]:
        """What the files say too low for a standby of the WAL that lies here."""
        least = on_disk.read_control(self._plan).required
        return required.raised(least, settings.in_files(self._plan, least))

    def start_primary(self, counts_on: Iterable[SyncSet]) -> None:
        settings.write_passfile(self._plan)
        # In place, in the epoch in which it is primary: whom it waits for is part of what the lease promises.
        versions = tuple(counts_on)
        wait = at_start(settings.written_waits(self._plan), versions)
        if wait is None:
            raise PostgresFailed(
                f"no list of standbys permits what the lease may say: {'; '.join(map(str, versions))}",
                hint="A write of the lease is unsettled; it starts when that has landed or not.",
            )
        settings.write_agent_config(self._plan, "", wait)
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

    def follow(self, upstream: str, slot: str = "") -> None:
        settings.write_passfile(self._plan)
        logical = self._is_logical() if slot and self._plan.brings_logical_slots else False
        # Before the upstream: the new one may not have the slot of the last.
        settings.write_slots_config(self._plan, settings.slots_config(self._plan, slot, logical))
        self._lead(upstream)
        # Reloaded also when the file said so before: a reload may have been lost with an earlier agent.
        self._sql.do("SELECT pg_reload_conf()", COMMAND_TIMEOUT_S)

    def _is_logical(self) -> bool:
        return self._sql.do("SELECT current_setting('wal_level')", COMMAND_TIMEOUT_S) == ("logical",)

    def promote(self, timeout_s: float, deadline: float, above: int) -> int:
        postmaster = self._postmaster()
        if postmaster is None:
            raise PostgresFailed("promotion: PostgreSQL does not run", hint="See its log.")

        def steps(ask: Ask) -> int:
            self._refuse_held_replay(ask)
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

    def _refuse_held_replay(self, ask: Ask) -> None:
        """PostgreSQL would take the order and never carry it out; `start_standby` raises what is too low."""
        row = ask(f"SELECT {required.held_column(self._plan.version)}")
        if row and (why := required.held(self._plan, row[0])):
            raise PostgresFailed(
                f"promotion: replay is held, {why}",
                hint="The agent starts PostgreSQL anew with the primary's.",
            )

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
        if settings.written_waits(self._plan) == NOBODY and ask(show) == ("",):
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
        """Fast, then immediate, then kill; by signal: systemd's way down may be configured otherwise."""
        pid = self._postmaster()
        if pid is not None and _signals(pid, signal.SIGINT) and not self._ends_in_time(pid, timeout_s):
            # Tidier than a kill: children end by themselves, and shared memory is given back.
            if _signals(pid, signal.SIGQUIT):
                process.wait_for_end(pid, IMMEDIATE_S)
            self.kill()
            return
        if self._unit.processes():
            self.kill()
        self._sql.forget()

    def _ends_in_time(self, pid: int, timeout_s: float) -> bool:
        """Whether it ends; given up early when all is written and somebody keeps it from ending."""
        written_at: float | None = None  # time that was left when the control file said so
        for left in looks(timeout_s, every_s=0.0):
            if process.wait_for_end(pid, min(LOOK_AT_CONTROL_S, max(left, 0.0))):
                return True
            if written_at is None and on_disk.is_shut_down(self._plan):
                written_at = left
            if written_at is not None and written_at - left >= DRAIN_S:
                return False
        return False

    def kill(self, timeout_s: float = KILL_TIMEOUT_S) -> None:
        self._unit.kill(timeout_s)
        self._sql.forget()

    def checkpoint(self) -> None:
        self._sql.do("CHECKPOINT", CHECKPOINT_TIMEOUT_S)

    def _postmaster(self) -> int | None:
        return process.postmaster(self._unit, self._plan.program("postgres"))


def _signals(pid: int, number: int) -> bool:
    """Whether there was anybody to hear it."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return False
    return True


def _wait_for_recovery(ask: Ask, wanted: bool, timeout_s: float) -> None:
    for left in looks(timeout_s, POLL_S):
        if ask("SELECT pg_is_in_recovery()") == (wanted,):
            return
        if left <= 0:
            raise PostgresFailed(
                f"PostgreSQL is {'not ' if wanted else ''}in recovery after {timeout_s:g} s",
                hint="See its log.",
            )
