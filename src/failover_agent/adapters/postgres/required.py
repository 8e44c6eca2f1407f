"""Settings that a standby must not have lower than the primary whose WAL it replays.

"Hot Standby", Administrator's Overview: with a lower one recovery aborts at a start ("insufficient
parameter settings"), and is held in a standby that runs (since 14). The control file holds the primary's
values: replay of the primary's change writes it there before it stops.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from failover_agent.adapters.postgres import on_disk
from failover_agent.adapters.postgres.plan import PostgresPlan
from failover_agent.errors import DataDirectoryRefused

_TELLS_SINCE = 14  # before, replay is not held: the server ends, and its next start is told more
_RUNNING = ", ".join(f"current_setting('{name}')::int" for name in on_disk.REQUIRED.values())


def raised(required: Mapping[str, int], files: Mapping[str, int]) -> dict[str, int]:
    """What a start in recovery must be told beside its files: each required value that they do not reach.

    A setting of which nobody could say what the files hold is told as required: it comes up with that.
    """
    return {name: least for name, least in required.items() if files.get(name, least - 1) < least}


def held_column(version: int) -> str:
    """SQL: the running values, in the order of REQUIRED, of a standby whose replay is paused; else NULL."""
    if version < _TELLS_SINCE:
        return "NULL::int[]"
    return (
        "CASE WHEN pg_is_in_recovery() THEN CASE pg_get_wal_replay_pause_state()"
        f" WHEN 'paused' THEN ARRAY[{_RUNNING}] END END"
    )


def held(plan: PostgresPlan, running: Sequence[int] | None) -> str:
    """By which settings replay is held, in words; empty: it is not, or a person paused it.

    `running` is the answer to `held_column`. Where the control file cannot be read now, it is asked again
    at the next look.
    """
    if running is None:
        return ""
    try:
        required = on_disk.read_control(plan).required
    except (DataDirectoryRefused, OSError):
        return ""
    return short(required, dict(zip(on_disk.REQUIRED.values(), running, strict=True)))


def short(required: Mapping[str, int], running: Mapping[str, int]) -> str:
    """Each required value that `running` does not reach, in words; empty where it reaches all."""
    return ", ".join(
        f"{name} is {running[name]}, the primary's {least}"
        for name, least in required.items()
        if running[name] < least
    )
