"""The lease as DynamoDB holds it: one attribute per field, typed, readable in the console."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast, get_args

from failover_agent.core import lsn
from failover_agent.core.model import LEASE_SCHEMA_VERSION, Fork, Holder, LeaseItem, Mode, SyncSet

Attributes = Mapping[str, Mapping[str, Any]]

PARTITION_KEY, SORT_KEY, LEASE_KEY = "cluster", "item", "lease"


class NotReadable(Exception):
    """The item is not one this agent may judge: damaged, or of a newer schema."""


class OfNewerSchema(NotReadable):
    """A newer agent wrote it, and this one would read it wrongly."""


def to_attributes(item: LeaseItem) -> dict[str, dict[str, Any]]:
    holder = item.holder or Holder("", "", "")
    return {
        PARTITION_KEY: {"S": item.cluster},
        SORT_KEY: {"S": LEASE_KEY},
        "schema_version": _number(item.schema_version),
        "system_identifier": {"S": item.system_identifier},
        "holder_name": {"S": holder.name},
        "holder_instance_id": {"S": holder.instance_id},
        "holder_nonce": {"S": holder.nonce},
        "epoch": _number(item.epoch),
        "token": {"S": item.token},
        "ttl_s": _number(item.ttl_s),
        "timeline": _number(item.timeline),
        "lsn": _number(item.lsn),
        "sync_members": _names(item.sync.members),
        "sync_k": _number(item.sync.k),
        "sync_version": _number(item.sync.version),
        "sync_incarnations": _names(item.sync.incarnations),
        "may_claim": _names(item.may_claim),
        "claim_needs": {"S": item.claim_needs},
        "offered_to": {"S": item.offered_to},
        "history": _names(tuple(f"{fork.timeline} {lsn.show(fork.lsn)}" for fork in item.history)),
        "agent": {"S": item.agent},
        "mode": {"S": item.mode},
        "released_by": {"S": item.released_by},
        "unfenced": _names(tuple(f"{h.name} {h.instance_id} {h.nonce}" for h in item.unfenced)),
        "paused": {"S": item.paused},
    }


def from_attributes(found: Attributes) -> LeaseItem:
    """Raises NotReadable: a form we do not know must never look like a lease, nor like none."""
    try:
        version = int(found["schema_version"]["N"])
        if version > LEASE_SCHEMA_VERSION:
            raise OfNewerSchema(
                f"the lease has schema version {version}, this agent knows {LEASE_SCHEMA_VERSION}"
            )
        name = _text(found, "holder_name")
        needs = _text(found, "claim_needs")
        if needs not in ("any", "majority"):
            raise NotReadable(f"the lease's claim_needs is {needs!r}, neither any nor majority")
        mode = _text(found, "mode") if "mode" in found else "async"
        if mode not in get_args(Mode):
            raise NotReadable(f"the lease's mode is {mode!r}, none of {', '.join(get_args(Mode))}")
        return LeaseItem(
            cluster=_text(found, PARTITION_KEY),
            system_identifier=_text(found, "system_identifier"),
            holder=Holder(name, _text(found, "holder_instance_id"), _text(found, "holder_nonce"))
            if name
            else None,
            epoch=int(found["epoch"]["N"]),
            token=_text(found, "token"),
            ttl_s=float(found["ttl_s"]["N"]),
            timeline=int(found["timeline"]["N"]),
            lsn=int(found["lsn"]["N"]),
            sync=SyncSet(
                members=_tuple(found, "sync_members"),
                k=int(found["sync_k"]["N"]),
                version=int(found["sync_version"]["N"]),
                incarnations=_tuple(found, "sync_incarnations") if "sync_incarnations" in found else (),
            ),
            may_claim=_tuple(found, "may_claim"),
            claim_needs=cast(Any, needs),
            offered_to=_text(found, "offered_to"),
            schema_version=version,
            history=tuple(_fork(line) for line in _tuple(found, "history")) if "history" in found else (),
            agent=_text(found, "agent") if "agent" in found else "",
            mode=cast(Mode, mode),
            released_by=_text(found, "released_by") if "released_by" in found else "",
            unfenced=tuple(_holder(line) for line in _tuple(found, "unfenced"))
            if "unfenced" in found
            else (),
            paused=_text(found, "paused") if "paused" in found else "",
        )
    except (KeyError, ValueError, TypeError) as error:
        raise NotReadable(f"the lease cannot be read: {type(error).__name__}: {error}") from error


def _fork(line: str) -> Fork:
    timeline, _, position = line.partition(" ")
    return Fork(int(timeline), lsn.parse(position))


def _holder(line: str) -> Holder:
    name, instance_id, nonce = line.split(" ")
    return Holder(name, instance_id, nonce)


def _number(value: float) -> dict[str, Any]:
    return {"N": repr(value)}


def _names(values: tuple[str, ...]) -> dict[str, Any]:
    return {"L": [{"S": value} for value in values]}


def _text(found: Attributes, name: str) -> str:
    value = found[name]["S"]
    if not isinstance(value, str):
        raise TypeError(f"{name} is no string")
    return value


def _tuple(found: Attributes, name: str) -> tuple[str, ...]:
    return tuple(str(entry["S"]) for entry in found[name]["L"])
