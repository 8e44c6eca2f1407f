"""Replication slots of the server of this node: what they are, and making them what they must be.

It has sessions of its own, so that a server that hangs does not use up those by which it is looked at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from failover_agent.adapters.postgres import settings
from failover_agent.adapters.postgres.plan import PostgresPlan
from failover_agent.adapters.postgres.sql import Ask, LocalSql
from failover_agent.core import lsn
from failover_agent.core.model import Unknown
from failover_agent.core.quorum import Waits
from failover_agent.core.slots import (
    AdvanceSlot,
    Change,
    CreateSlot,
    DropSlot,
    HoldConsumers,
    Kept,
    Slot,
    SlotsSeen,
)
from failover_agent.errors import PostgresFailed

LOOK_TIMEOUT_S = 2.0
CHANGE_TIMEOUT_S = 10.0

# Whole rows, as the columns differ from version to version. Names of segments sort by position when their
# timeline is left out; those made in advance stand at the end.
_LOOK = """
SELECT pg_is_in_recovery() AS in_recovery,
       (SELECT coalesce(jsonb_agg(to_jsonb(s)), '[]') FROM pg_replication_slots s) AS slots,
       (SELECT coalesce(jsonb_agg(jsonb_build_array(application_name, flush_lsn)), '[]')
          FROM pg_stat_replication WHERE state = 'streaming') AS senders,
       (SELECT min(substr(name, 9)) FROM pg_ls_waldir() WHERE name ~ '^[0-9A-F]{24}$') AS oldest,
       pg_size_bytes(current_setting('wal_segment_size')) AS segment_bytes,
       (SELECT redo_lsn::text FROM pg_control_checkpoint()) AS redo,
       current_setting('synchronized_standby_slots', true) AS held
"""


class Slots:
    def __init__(self, plan: PostgresPlan) -> None:
        self._plan = plan
        self._sql = LocalSql(plan)

    def look(self) -> SlotsSeen | Unknown:
        try:
            row = self._sql.together("slots", lambda ask: ask(_LOOK), LOOK_TIMEOUT_S, commits=False)
        except PostgresFailed as error:
            return Unknown(str(error.args[0]), cause=error)
        if row is None:
            return Unknown("PostgreSQL shows no slots")
        in_recovery, slots, senders, oldest, segment_bytes, redo, held = row
        awaited = settings.written_waits(self._plan)
        return SlotsSeen(
            primary=not in_recovery,
            kept=Kept(tuple(_slot(shown) for shown in slots), _oldest(oldest, int(segment_bytes))),
            flushed=_flushed(senders),
            restart_point=lsn.parse(redo),
            awaited=awaited.members if isinstance(awaited, Waits) else (),
            consumers_wait_for=_names(held) if self._plan.brings_logical_slots else None,
        )

    def change(self, changes: Sequence[Change]) -> None:
        """See `ports.Postgres.change_slots`."""

        def carry_out(ask: Ask) -> None:
            for change in changes:
                ask(self._statement(change))

        if changes:
            self._sql.together("slots", carry_out, CHANGE_TIMEOUT_S, commits=False)

    def _statement(self, change: Change) -> str:
        match change:
            case CreateSlot(name):
                return f"SELECT pg_create_physical_replication_slot({_quoted(name)}, true)"
            case DropSlot(name):
                return f"SELECT pg_drop_replication_slot({_quoted(name)})"
            case AdvanceSlot(name, position):
                return f"SELECT pg_replication_slot_advance({_quoted(name)}, '{lsn.show(position)}')"
            case HoldConsumers(slots):
                settings.write_slots_config(self._plan, settings.slots_config(self._plan, held=slots))
                return "SELECT pg_reload_conf()"


def _quoted(name: str) -> str:
    return "'" + name.replace("'", "''") + "'"


def _slot(shown: Mapping[str, Any]) -> Slot:
    return Slot(
        name=str(shown["slot_name"]),
        lsn=lsn.parse(shown["restart_lsn"]) if shown["restart_lsn"] else 0,
        logical=shown["slot_type"] == "logical",
        active=bool(shown["active"]),
        lost=shown["wal_status"] == "lost" or bool(shown.get("invalidation_reason")),
        pins_rows=shown["xmin"] is not None or shown["catalog_xmin"] is not None,
        temporary=bool(shown["temporary"]),
        failover=bool(shown.get("failover")),
        synced=bool(shown.get("synced")),
    )


def _oldest(name: str | None, segment_bytes: int) -> int:
    """Where the segment begins whose name, less its timeline, this is."""
    return (int(name[:8], 16) << 32) + int(name[8:], 16) * segment_bytes if name else 0


def _flushed(senders: Sequence[tuple[str, str | None]]) -> dict[str, int]:
    """By standby; of two connections under one name the lesser counts."""
    found: dict[str, int] = {}
    for name, position in senders:
        if position:
            found[name] = min(lsn.parse(position), found.get(name, 1 << 64))
    return found


def _names(held: str | None) -> tuple[str, ...]:
    return tuple(name.strip().strip('"') for name in (held or "").split(",") if name.strip())
