"""The lease item as JSON values, for the note an agent leaves to its next life."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from failover_agent.core.model import LEASE_SCHEMA_VERSION, Fork, Holder, LeaseItem, SyncSet


def to_note(item: LeaseItem) -> dict[str, object]:
    return asdict(item)


def from_note(note: Mapping[str, Any]) -> LeaseItem:
    """The item `to_note` was given. Raises KeyError, TypeError or ValueError on anything else."""
    fields = dict(note)
    if fields["schema_version"] > LEASE_SCHEMA_VERSION:
        raise ValueError(f"a note of schema version {fields['schema_version']}")
    holder = fields.pop("holder")
    sync = fields.pop("sync")
    return LeaseItem(
        **{
            **fields,
            "may_claim": tuple(fields["may_claim"]),
            "history": tuple(Fork(**fork) for fork in fields.get("history", ())),
        },
        holder=Holder(**holder) if holder else None,
        sync=SyncSet(tuple(sync["members"]), sync["k"], sync["version"], tuple(sync.get("incarnations", ()))),
    )
