"""pg_rewind, made safe: proven possible first, marked while it overwrites, the diverged WAL kept.

Order: crash recovery of the own data (nothing is lost by it) → a dry run (everything that can be
refused is refused here, and may be tried again) → keep the WAL that only this node has → the mark,
durable → pg_rewind → standby.signal → the mark goes. Interrupted after the mark: clone.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path

import psycopg

from failover_agent.adapters import files, programs
from failover_agent.adapters.postgres import diverged, on_disk, settings
from failover_agent.adapters.postgres.interrupted import forget_rewind, note_rewind, refuse_half_rewound
from failover_agent.adapters.postgres.logins import is_wrong_password, refused
from failover_agent.adapters.postgres.make import utc_name
from failover_agent.adapters.postgres.plan import REWINDER, PostgresPlan
from failover_agent.core import lsn
from failover_agent.errors import AgentError, PostgresFailed, RewindNotBegun
from failover_agent.killpoints import at
from failover_agent.ports import Progress

RECOVERY_TIMEOUT_S = 3600.0
REWIND_TIMEOUT_S = 6 * 3600.0
SOURCE_TIMEOUT_S = 10


def rewind(plan: PostgresPlan, upstream: str, progress: Progress) -> Mapping[str, object]:
    """What was kept of the diverged WAL.

    Raises RewindNotBegun while nothing was overwritten, PostgresFailed when `clone` is the way.
    """
    refuse_half_rewound(plan)
    try:
        kept, note = _prepare(plan, upstream, progress)
        note_rewind(plan, upstream, str(kept))
    except AgentError as error:
        settings.put_standby_signal(plan)
        raise RewindNotBegun(
            str(error.args[0]),
            hint=error.hint,
            object=error.object,
            value=error.value,
            expected=error.expected,
        ) from error
    at("marked-before-overwrite")
    _pg_rewind(plan, upstream, progress)
    at("overwritten-before-unmark")
    settings.put_standby_signal(plan)
    forget_rewind(plan)
    return {"kept": str(kept), **note}


def _prepare(plan: PostgresPlan, upstream: str, progress: Progress) -> tuple[Path, dict[str, object]]:
    """Everything that changes nothing of what the data directory means. Raises AgentError."""
    settings.write_passfile(plan)
    # A single-user server refuses to start as a standby; nothing else can start without our leave.
    settings.take_standby_signal(plan)
    progress("rewind: recovering")
    _recover(plan)
    progress("rewind: looking for the fork")
    _pg_rewind(plan, upstream, progress, "--dry-run")
    return _keep_diverged(plan, upstream, progress)


def _recover(plan: PostgresPlan) -> None:
    """pg_rewind wants a server that was shut down cleanly. It would do this itself, without fsync."""
    if on_disk.read_control(plan).clean:
        return
    argv = (
        plan.program("postgres"),
        "--single",
        "-D",
        str(plan.data_dir),
        "-c",
        f"config_file={plan.config_file}",
        "template1",
    )
    done = _run(plan, argv, RECOVERY_TIMEOUT_S)
    if not done.ok:
        raise PostgresFailed(f"crash recovery: {done.last_words()}", hint="The agent clones instead.")


def _pg_rewind(plan: PostgresPlan, upstream: str, progress: Progress, *more: str) -> None:
    source = plan.conninfo(
        upstream, user=REWINDER, application_name=f"rewind-{plan.node}", database="postgres"
    )
    argv = (
        plan.program("pg_rewind"),
        f"--target-pgdata={plan.data_dir}",
        f"--source-server={source} options='-c statement_timeout=0 -c lock_timeout=0'",
        *plan.rewind_option,
        "--progress",
        *plan.sync_option,
        *more,
    )

    def tell(line: str) -> None:
        if found := re.search(r"\((\d+)%\)", line):
            progress(f"rewind {found.group(1)} %")

    try:
        done = programs.run(argv, timeout_s=REWIND_TIMEOUT_S, user=plan.user, on_line=tell)
    except programs.TookTooLong as error:
        raise PostgresFailed(f"pg_rewind: {error}", hint="The agent clones instead.") from error
    if is_wrong_password(done.err):
        raise refused(REWINDER, upstream, plan.rewind_secret, done.err)
    if not done.ok:
        raise PostgresFailed(
            f"pg_rewind against {upstream}: {done.last_words()}", hint="The agent clones instead."
        )


def _keep_diverged(plan: PostgresPlan, upstream: str, progress: Progress) -> tuple[Path, dict[str, object]]:
    """Copy the WAL from the fork on to diverged/<time>/ on the data volume, with a note of what it is."""
    control = on_disk.read_control(plan)
    fork = _fork(plan, upstream, control.timeline)
    end = on_disk.wal_end(plan)  # before the catalog is asked, which writes a checkpoint
    place = plan.data_dir.parent / "diverged" / utc_name()
    try:
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
        names = []
        for segment in on_disk.segments_from(plan, control, fork):
            progress(f"rewind: keeping {segment.path.name}")
            shutil.copy2(segment.path, place / segment.path.name)
            names.append(segment.path.name)
        for history in plan.wal_dir.glob("*.history"):
            shutil.copy2(history, place / history.name)
        progress("rewind: reading what was kept")
        note: dict[str, object] = {
            "node": plan.node,
            "system_identifier": control.system_identifier,
            "timeline": control.timeline,
            "fork": lsn.show(fork),
            "rewound_against": upstream,
            "segments": names,
            "lost": diverged.report(plan, place, control, fork, end if isinstance(end, int) else 0),
        }
        files.write_durably(place / "diverged.json", json.dumps(note, indent=2) + "\n")
        for copied in place.iterdir():
            _sync(copied)
        files.sync_directory(place)
    except OSError as error:
        raise PostgresFailed(
            f"the diverged WAL could not be kept in {place}: {error}", hint="Make space on the data volume."
        ) from error
    return place, note


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _fork(plan: PostgresPlan, upstream: str, timeline: int) -> int:
    """Where `upstream` left our timeline; 0 (keep everything) when its history does not say."""
    source = plan.conninfo(
        upstream, user=REWINDER, application_name=f"rewind-{plan.node}", database="postgres"
    )
    try:
        # root reads the passfile as well as PostgreSQL's user does
        with psycopg.connect(source, connect_timeout=SOURCE_TIMEOUT_S, autocommit=True) as connection:
            row = connection.execute("SELECT pg_walfile_name(pg_current_wal_insert_lsn())").fetchone()
            theirs = int(row[0][:8], 16) if row else 0
            if theirs <= 1:
                return 0
            row = connection.execute(
                "SELECT convert_from(pg_read_binary_file(%s), 'UTF8')", (f"pg_wal/{theirs:08X}.history",)
            ).fetchone()
    except psycopg.Error as error:
        raise PostgresFailed(
            f"the history of {upstream} cannot be read: {str(error).strip()}", hint="The agent tries again."
        ) from error
    forks = on_disk.parse_history(row[0]) if row else ()
    return next((fork.lsn for fork in forks if fork.timeline == timeline), 0)


def _run(plan: PostgresPlan, argv: tuple[str, ...], timeout_s: float) -> programs.Finished:
    try:
        return programs.run(argv, timeout_s=timeout_s, user=plan.user)
    except (programs.TookTooLong, OSError) as error:
        raise PostgresFailed(f"{Path(argv[0]).name}: {error}", hint="The agent clones instead.") from error
