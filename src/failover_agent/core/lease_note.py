"""The lease item as JSON values, for the note an agent leaves to its next life."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from failover_agent.core.model import LEASE_SCHEMA_VERSION, Fork, Holder, LeaseItem, SyncSet

_FIELDS = tuple(field.name for field in fields(LeaseItem))


def to_note(item: LeaseItem) -> dict[str, object]:
    note: dict[str, object] = {name: getattr(item, name) for name in _FIELDS}
    if not item.paused:
        del note["paused"]  # else agents that know no pause take up no lease, and relay none
    if not item.suspect_after_s:
        del note["suspect_after_s"]  # an older agent's item is relayed as it is
    return note | {
        "holder": _plain(item.holder) if item.holder else None,
        "sync": _plain(item.sync),
        "history": [_plain(fork) for fork in item.history],
        "unfenced": [_plain(old) for old in item.unfenced],
    }


def _plain(part: Holder | SyncSet | Fork) -> dict[str, object]:
    return {field.name: getattr(part, field.name) for field in fields(part)}


def from_note(note: Mapping[str, Any]) -> LeaseItem:
    """The item `to_note` was given. Raises KeyError, TypeError or ValueError on anything else."""
    plain = dict(note)
    if plain["schema_version"] > LEASE_SCHEMA_VERSION:
        raise ValueError(f"a note of schema version {plain['schema_version']}")
    holder = plain.pop("holder")
    sync = plain.pop("sync")
    return LeaseItem(
        **{
            **plain,
            "may_claim": tuple(plain["may_claim"]),
            "history": tuple(Fork(**fork) for fork in plain.get("history", ())),
            "unfenced": tuple(Holder(**old) for old in plain.get("unfenced", ())),
        },
        holder=Holder(**holder) if holder else None,
        sync=SyncSet(tuple(sync["members"]), sync["k"], sync["version"], tuple(sync.get("incarnations", ()))),
    )
