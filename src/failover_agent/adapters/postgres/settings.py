"""The files of ours that PostgreSQL reads: its upstream, its password, its signals.

agent.conf lies outside the data directory, so that neither pg_rewind nor a base backup can bring
another node's settings along (PROTOCOL S7).
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from failover_agent.adapters import files, programs
from failover_agent.adapters.postgres.plan import REPLICATOR, REWINDER, PostgresPlan
from failover_agent.adapters.postgres.standby_names import parsed, standby_names
from failover_agent.core.model import Unknown
from failover_agent.core.quorum import NOBODY, Waits
from failover_agent.errors import PostgresFailed

ASK_FILES_S = 5.0
NOTHING_RAISED: Mapping[str, int] = MappingProxyType({})


def agent_config(
    plan: PostgresPlan, upstream: str, wait: Waits = NOBODY, raised: Mapping[str, int] = NOTHING_RAISED
) -> str:
    """The whole text of agent.conf for a server that follows `upstream` (empty: nobody).

    Only a primary waits for anybody: every other rewriting empties the list (PROTOCOL S7). `raised` is for
    one start in recovery, see `required`.
    """
    # Streaming asks no database; who brings logical slots over logs in to one.
    database = "postgres" if plan.brings_logical_slots else ""
    conninfo = (
        plan.conninfo(upstream, user=REPLICATOR, application_name=plan.node, database=database)
        if upstream
        else ""
    )
    return (
        "# Written by failover-agent; changes are lost. Settings of people belong into postgresql.conf.\n"
        f"primary_conninfo = '{quoted(conninfo)}'\n"
        "recovery_target_timeline = 'latest'\n"
        f"synchronous_standby_names = '{quoted(standby_names(wait))}'\n"
        f"include_if_exists '{plan.slots_config_file.name}'\n"
        + "".join(f"{name} = {value}\n" for name, value in raised.items())
    )


def slots_config(plan: PostgresPlan, slot: str = "", logical: bool = False, held: Sequence[str] = ()) -> str:
    """The whole text of slots.conf: by which slot a standby streams, whom a primary's consumers wait for.

    `logical`: bring the primary's logical slots over. It needs the standby's feedback, and costs the primary
    what a long query here would cost it there.
    """
    lines = ["# Written by failover-agent; changes are lost.", f"primary_slot_name = '{quoted(slot)}'"]
    if plan.brings_logical_slots:
        lines += ["hot_standby_feedback = on", "sync_replication_slots = on"] if slot and logical else []
        lines.append(f"synchronized_standby_slots = '{quoted(', '.join(held))}'")
    return "".join(f"{line}\n" for line in lines)


def write_slots_config(plan: PostgresPlan, text: str) -> bool:
    """Whether it had to be written. Raises PostgresFailed."""
    try:
        return files.write_if_other(plan.slots_config_file, text, owner=plan.user)
    except OSError as error:
        raise _not_written(plan.slots_config_file, error) from error


def quoted(value: str) -> str:
    """Inside single quotes of a PostgreSQL configuration file."""
    return value.replace("\\", "\\\\").replace("'", "''")


def write_agent_config(
    plan: PostgresPlan, upstream: str, wait: Waits = NOBODY, raised: Mapping[str, int] = NOTHING_RAISED
) -> bool:
    """Whether it had to be written. Raises PostgresFailed."""
    text = agent_config(plan, upstream, wait, raised)
    try:
        return files.write_if_other(plan.agent_config_file, text, owner=plan.user)
    except OSError as error:
        raise _not_written(plan.agent_config_file, error) from error


def in_files(plan: PostgresPlan, names: Iterable[str]) -> dict[str, int]:
    """What a start would take from the files now; without those of which PostgreSQL cannot tell."""
    found = {}
    for name in names:
        argv = (plan.program("postgres"), "-C", name, "-D", str(plan.data_dir))
        with contextlib.suppress(programs.TookTooLong, OSError, ValueError):
            done = programs.run(
                (*argv, "-c", f"config_file={plan.config_file}"), timeout_s=ASK_FILES_S, user=plan.user
            )
            if done.ok:
                found[name] = int(done.out)
    return found


def written_waits(plan: PostgresPlan) -> Waits | Unknown:
    """Whom agent.conf waits for; nobody where it does not exist."""
    try:
        text = plan.agent_config_file.read_text()
    except FileNotFoundError:
        return NOBODY
    except OSError as error:
        return Unknown(f"{plan.agent_config_file} cannot be read: {error.strerror}")
    found = re.findall(r"(?m)^synchronous_standby_names = '(.*)'$", text)
    if len(found) != 1:
        return Unknown(f"{plan.agent_config_file} is not as the agent writes it")
    return parsed(found[0])


def written_upstream(plan: PostgresPlan) -> str:
    """The conninfo of agent.conf; empty where it follows nobody. Raises OSError where it cannot be read."""
    try:
        text = plan.agent_config_file.read_text()
    except FileNotFoundError:
        return ""
    found = re.search(r"(?m)^primary_conninfo = '(.*)'$", text)
    return found.group(1) if found else ""


def write_passfile(plan: PostgresPlan) -> None:
    """From the secrets of the playbook; belongs to PostgreSQL's user. Raises PostgresFailed."""
    lines = []
    for user, secret in ((REPLICATOR, plan.replication_secret), (REWINDER, plan.rewind_secret)):
        password = read_secret(secret).replace("\\", "\\\\").replace(":", "\\:")
        lines.append(f"*:*:*:{user}:{password}\n")
    try:
        files.write_if_other(plan.passfile, "".join(lines), owner=plan.user)
    except OSError as error:
        raise _not_written(plan.passfile, error) from error


def read_secret(path: Path) -> str:
    """Raises PostgresFailed; never says what is in it."""
    try:
        secret = path.read_text().strip()
    except OSError as error:
        raise PostgresFailed(f"{path} cannot be read: {error.strerror}", hint="Run the playbook.") from error
    if not secret:
        raise PostgresFailed(f"{path} is empty", hint="Run the playbook.")
    return secret


def put_standby_signal(plan: PostgresPlan, data_dir: Path | None = None) -> None:
    """From now on every start is a standby's (PROTOCOL N1). Raises PostgresFailed."""
    path = (data_dir or plan.data_dir) / plan.standby_signal.name
    try:
        files.write_if_other(path, "", owner=plan.user)
    except OSError as error:
        raise _not_written(path, error) from error


def take_standby_signal(plan: PostgresPlan) -> None:
    """Raises PostgresFailed."""
    try:
        files.remove_durably(plan.standby_signal)
    except OSError as error:
        raise _not_written(plan.standby_signal, error) from error


def give_to_postgres(plan: PostgresPlan, path: Path, mode: int) -> None:
    entry = pwd.getpwnam(plan.user)
    path.chmod(mode)
    os.chown(path, entry.pw_uid, entry.pw_gid)


def _not_written(path: Path, error: OSError) -> PostgresFailed:
    return PostgresFailed(
        f"{path} could not be changed: {error.strerror or error}",
        hint="Is its disk full, or mounted read-only?",
    )
