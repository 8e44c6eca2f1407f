"""Promises, and what one node carries for another, as JSON between agents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

from failover_agent.core.lease_note import from_note, to_note
from failover_agent.core.model import (
    Holder,
    Landed,
    LeaseItem,
    Refused,
    Unknown,
    Version,
    WriteOutcome,
)
from failover_agent.core.promises import Promise, is_silence
from failover_agent.core.relay import RouteChange
from failover_agent.errors import LeaseUnreadable


class NotUnderstood(Exception):
    """What came is none of ours: nothing is done for it, and it is no answer."""


def encode_promise(promise: Promise) -> dict[str, Any]:
    return asdict(promise)


def decode_promise(plain: Mapping[str, Any]) -> Promise:
    """Raises NotUnderstood."""
    holder = plain.get("holder")
    if not isinstance(holder, Mapping):
        raise NotUnderstood("holder is no object")
    return Promise(
        cluster=_text(plain, "cluster"),
        epoch=_whole(plain, "epoch"),
        holder=Holder(_text(holder, "name"), _text(holder, "instance_id"), _text(holder, "nonce")),
        version=_whole(plain, "version"),
        ttl_s=_seconds(plain, "ttl_s"),
        early=plain.get("early") is not False,
    )


def encode_write(item: LeaseItem, only_if: Version) -> dict[str, Any]:
    return {"item": to_note(item), "only_if": asdict(only_if)}


def decode_write(plain: Mapping[str, Any]) -> tuple[LeaseItem, Version]:
    """Raises NotUnderstood: an item of a newer form is not ours to write."""
    condition = plain.get("only_if")
    if not isinstance(condition, Mapping):
        raise NotUnderstood("only_if is no object")
    return _item(plain.get("item")), Version(_whole(condition, "epoch"), _text(condition, "token"))


def encode_outcome(outcome: WriteOutcome) -> dict[str, Any]:
    if isinstance(outcome, Refused):
        return {"outcome": "refused", "current": to_note(outcome.current) if outcome.current else None}
    if isinstance(outcome, Unknown):
        return {"outcome": "unknown", "unreadable": not is_silence(outcome), "reason": outcome.why}
    return {"outcome": "landed"}


def decode_outcome(plain: Mapping[str, Any]) -> WriteOutcome:
    """What is not understood is Unknown, never a yes or a no."""
    kind = plain.get("outcome")
    if kind == "landed":
        return Landed()
    try:
        if kind == "refused":
            current = plain.get("current")
            return Refused(None if current is None else _item(current))
    except NotUnderstood as error:
        return _refused_unread(str(error))  # refused it was
    why = str(plain.get("reason") or plain.get("why") or plain)
    return _refused_unread(why) if plain.get("unreadable") is True else Unknown(why)


def _refused_unread(why: str) -> Unknown:
    return Unknown(
        why,
        LeaseUnreadable.about(
            "the lease item, as a peer found it",
            value=why,
            expected="one that this agent can read",
            hint="Upgrade the agent of this node.",
        ),
    )


def encode_change(change: RouteChange) -> dict[str, Any]:
    return asdict(change)


def decode_change(plain: Mapping[str, Any]) -> RouteChange:
    """Raises NotUnderstood."""
    return RouteChange(
        _text(plain, "table_id"),
        _text(plain, "vip"),
        _text(plain, "interface_id"),
        _whole(plain, "epoch"),
        _seconds(plain, "within_s"),
    )


def decode_targets(plain: Mapping[str, Any]) -> Mapping[str, str] | Unknown:
    targets = plain.get("targets")
    if not isinstance(targets, Mapping) or not all(isinstance(v, str) for v in targets.values()):
        return Unknown(str(plain.get("why", "no targets")))
    return {str(table): target for table, target in targets.items()}


def _item(plain: object) -> LeaseItem:
    known = {field.name for field in fields(LeaseItem)}
    if not isinstance(plain, Mapping) or not known >= set(plain):
        raise NotUnderstood("the item has fields that this agent does not know")
    try:
        return from_note(plain)
    except (KeyError, TypeError, ValueError) as error:
        raise NotUnderstood(f"{type(error).__name__}: {error}") from error


def _text(plain: Mapping[str, Any], name: str) -> str:
    value = plain.get(name)
    if not isinstance(value, str):
        raise NotUnderstood(f"{name} is {value!r}")
    return value


def _whole(plain: Mapping[str, Any], name: str) -> int:
    value = plain.get(name)
    if not isinstance(value, int) or isinstance(value, bool):
        raise NotUnderstood(f"{name} is {value!r}")
    return value


def _seconds(plain: Mapping[str, Any], name: str) -> float:
    value = plain.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise NotUnderstood(f"{name} is {value!r}")
    return float(value)
