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
        "suspect_after_s": _number(item.suspect_after_s),
    }


def from_attributes(found: Attributes) -> LeaseItem:
    """Raises NotReadable: a form we do not know must never look like a lease, nor like none."""
    try:
        version = int(found["schema_version"]["N"])
        if version > LEASE_SCHEMA_VERSION:
            raise OfNewerSchema(
                f"the lease has schema version {version}, this agent knows {LEASE_SCHEMA_VERSION}"
            )
        return _item(found, version)
    except (KeyError, ValueError, TypeError) as error:
        raise NotReadable(f"the lease cannot be read: {type(error).__name__}: {error}") from error


def _item(found: Attributes, version: int) -> LeaseItem:
    """What stands there only since some release may be missing. Raises KeyError, ValueError or TypeError."""
    name = _text(found, "holder_name")
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
            incarnations=_later_tuple(found, "sync_incarnations"),
        ),
        may_claim=_tuple(found, "may_claim"),
        claim_needs=cast(Any, _one_of(("any", "majority"), "claim_needs", _text(found, "claim_needs"))),
        offered_to=_text(found, "offered_to"),
        schema_version=version,
        history=tuple(map(_fork, _later_tuple(found, "history"))),
        agent=_later_text(found, "agent"),
        mode=cast(Mode, _one_of(get_args(Mode), "mode", _later_text(found, "mode", "async"))),
        released_by=_later_text(found, "released_by"),
        unfenced=tuple(map(_holder, _later_tuple(found, "unfenced"))),
        paused=_later_text(found, "paused"),
        suspect_after_s=float(found["suspect_after_s"]["N"]) if "suspect_after_s" in found else 0.0,
    )


def _one_of(known: tuple[str, ...], name: str, value: str) -> str:
    if value not in known:
        raise NotReadable(f"the lease's {name} is {value!r}, none of {', '.join(known)}")
    return value


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


def _later_text(found: Attributes, name: str, before: str = "") -> str:
    """`before` where an agent wrote it that did not know the attribute."""
    return _text(found, name) if name in found else before


def _later_tuple(found: Attributes, name: str) -> tuple[str, ...]:
    return _tuple(found, name) if name in found else ()
