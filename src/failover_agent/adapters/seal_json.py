"""Seals as JSON, between agents."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from failover_agent.core.seals import Seal, Sealed


class NotASeal(Exception):
    """What came cannot be understood: never to be counted."""


def encode(value: Seal | Sealed) -> dict[str, Any]:
    return asdict(value)


def decode_seal(plain: object) -> Seal:
    """Raises NotASeal."""
    return Seal(**_fields(plain, ("cluster", "incarnation", "against"), ("epoch", "version")))


def decode(plain: object) -> Sealed:
    """Raises NotASeal."""
    fields = _fields(plain, ("name",), ("timeline", "lsn"))
    assert isinstance(plain, Mapping), "checked by _fields"
    return Sealed(**fields, seal=decode_seal(plain.get("seal")))


def _fields(plain: object, texts: tuple[str, ...], numbers: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(plain, Mapping):
        raise NotASeal("not an object")
    for names, kind in ((texts, str), (numbers, int)):
        for name in names:
            value = plain.get(name)
            if not isinstance(value, kind) or isinstance(value, bool):
                raise NotASeal(f"{name} is {value!r}")
    return {name: plain[name] for name in (*texts, *numbers)}
