"""Reports as JSON, between agents that may be a version apart: unknown fields are left out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from failover_agent.core.health import Health, Renewals
from failover_agent.core.model import Fork, NodeReport, Server, ServerState, SyncProgress, Unknown
from failover_agent.core.slots import Kept, Slot


class NotAReport(Exception):
    """The answer cannot be understood."""


def encode(report: NodeReport) -> dict[str, Any]:
    plain = dataclasses.asdict(report)
    server = report.server
    if isinstance(server, Unknown):
        plain["server"] = {"unknown": server.why}
    else:
        plain["server"]["state"] = server.state.value
    return plain


def decode(plain: object) -> NodeReport:
    """Raises NotAReport."""
    if not isinstance(plain, Mapping):
        raise NotAReport("not an object")
    try:
        return NodeReport(**{**_known(NodeReport, plain), **_parts(plain)})
    except (KeyError, TypeError, ValueError) as error:
        raise NotAReport(f"{type(error).__name__}: {error}") from error


def _parts(plain: Mapping[str, Any]) -> dict[str, Any]:
    health = plain.get("health") or {}  # an older agent does not tell it
    renewals = _known(Renewals, health.get("renewals") or {})
    renewals["buckets"] = tuple(int(n) for n in renewals.get("buckets", ()))
    epoch, version = plain.get("sealed", (0, 0))
    return {
        "server": _server(plain["server"]),
        "sync": _sync(plain.get("sync")),
        "sealed": (int(epoch), int(version)),
        "kept": _kept(plain.get("kept") or {}),  # an older agent does not tell it
        "health": Health(
            **{
                **_known(Health, health),
                "renewals": Renewals(**renewals),
                "alarms": tuple(str(name) for name in health.get("alarms", ())),
            }
        ),
    }


def _kept(plain: Mapping[str, Any]) -> Kept:
    slots = tuple(Slot(**_known(Slot, slot)) for slot in plain.get("slots", ()))
    return Kept(slots, int(plain.get("oldest_wal", 0)))


def _sync(plain: Mapping[str, Any] | None) -> SyncProgress | None:
    if plain is None:
        return None
    fields = _known(SyncProgress, plain)
    return SyncProgress(**{**fields, "away": tuple(str(name) for name in plain.get("away", ()))})


def _server(plain: Mapping[str, Any]) -> Server | Unknown:
    if "unknown" in plain:
        return Unknown(str(plain["unknown"]))
    fields = _known(Server, plain)
    fields["state"] = ServerState(plain["state"])
    fields["history"] = tuple(Fork(int(f["timeline"]), int(f["lsn"])) for f in plain.get("history", ()))
    fields["replicas"] = tuple(str(name) for name in plain.get("replicas", ()))
    return Server(**fields)


def _known(kind: type, plain: Mapping[str, Any]) -> dict[str, Any]:
    names = {field.name for field in dataclasses.fields(kind)}
    return {name: value for name, value in plain.items() if name in names}
