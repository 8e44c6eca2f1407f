"""Making a data directory that exists ready to be a cluster's first (PROTOCOL L6, N1).

Done before the agent is given leave to adopt it, while no server runs on it. Every step may be done twice.
What is replaced is kept beside the data directory.
"""

from __future__ import annotations

import re

from failover_agent.adapters import files
from failover_agent.adapters.postgres import make, on_disk, settings
from failover_agent.adapters.postgres.plan import REPLICATOR, REWINDER, PostgresPlan
from failover_agent.errors import DataDirectoryRefused

AUTO_CONFIG = "postgresql.auto.conf"
_EMPTY_AUTO_CONFIG = (
    "# Emptied when Primacy adopted this directory: settings stand in /etc/primacy/postgresql.\n"
    "# What stood here is kept beside the data directory.\n"
)
_SETTING = re.compile(r"^\s*[A-Za-z_]", re.MULTILINE)


def prepare(plan: PostgresPlan, system_identifier: str) -> bool:
    """Whether anything had to be done.

    Raises DataDirectoryRefused for another directory or one that was not shut down, PostgresFailed when a
    program fails.
    """
    control = on_disk.read_control(plan)
    if control.system_identifier != system_identifier:
        raise DataDirectoryRefused(
            f"{plan.data_dir} is of the system {control.system_identifier}, not of {system_identifier}",
            hint="Nothing was changed. Look at postgresql_adopt_data_dir and at the host.",
        )
    if plan.standby_signal.exists():
        return False  # the last step of this was done
    begun = plan.data_dir.with_name(f"{plan.data_dir.name}.adopting")
    if not control.clean and not begun.exists():
        raise DataDirectoryRefused(
            f"{plan.data_dir} of the system {system_identifier} is {control.state!r}, not shut down",
            hint="Nothing was changed. Start it as it was run before, and stop it by `pg_ctl stop -m fast`.",
        )
    # Where a power loss ends this, PostgreSQL's recovery in the next attempt is all that is needed.
    files.write_durably(begun, system_identifier)
    _set_auto_config_aside(plan)
    make.single_user(plan, plan.data_dir, _role_statements(plan), plan.config_file)
    # From here on every start is a standby's: nobody writes to it without the lease.
    settings.put_standby_signal(plan)
    files.remove_durably(begun)
    return True


def _set_auto_config_aside(plan: PostgresPlan) -> None:
    """ALTER SYSTEM's file is read last and would win over the agent's (PROTOCOL S7)."""
    path = plan.data_dir / AUTO_CONFIG
    try:
        text = path.read_text() if path.exists() else ""
        if _SETTING.search(text):
            kept = plan.data_dir.with_name(f"{plan.data_dir.name}.adopted-{make.utc_name()}.{AUTO_CONFIG}")
            files.write_durably(kept, text, owner=plan.user)
            files.write_durably(path, _EMPTY_AUTO_CONFIG, owner=plan.user)
    except OSError as error:
        raise DataDirectoryRefused(
            f"{path}: {error.strerror or error}", hint="Look at the disk of the data directory."
        ) from error


def _role_statements(plan: PostgresPlan) -> list[str]:
    """The cluster's own roles; a role of that name that is there already gets our password and rights."""
    create, grants = make.role_statements(plan)
    there = [
        f"DO $$ BEGIN {statement}; EXCEPTION WHEN duplicate_object THEN {_altered(statement)}; END $$"
        for statement in create
    ]
    return [*there, *grants]


def _altered(create: str) -> str:
    assert create.startswith((f"CREATE ROLE {REPLICATOR} ", f"CREATE ROLE {REWINDER} ")), create
    return create.replace("CREATE ROLE", "ALTER ROLE", 1)
