"""A lease store in memory: the same contract as DynamoDB's.

tests/contract/test_lease_store.py holds it to the same promises as the real one.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping

from failover_agent.core.model import (
    LEASE_SCHEMA_VERSION,
    Absent,
    Landed,
    LeaseItem,
    Refused,
    TooNew,
    Unknown,
    Version,
    WriteOutcome,
)
from failover_agent.errors import AgentError


class MemoryLeaseStore:
    """Implements `ports.LeaseStore`. One instance is one cluster's item; share it between nodes."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._item: LeaseItem | None = None
        self._notes: dict[str, dict[str, str]] = {}
        self._silent: Unknown | None = None

    def silence(self, why: str, cause: AgentError | None = None) -> None:
        """From now on every call is `Unknown`, as if the store could not be reached."""
        self._silent = Unknown(why, cause)

    def answer(self) -> None:
        """End `silence`."""
        self._silent = None

    def delete(self) -> None:
        """What an operator's mistake does (L6)."""
        with self._lock:
            self._item = None

    def read(self) -> LeaseItem | Unknown | None:
        if self._silent is not None:
            return self._silent
        with self._lock:
            return _readable(self._item)

    def write(self, item: LeaseItem, *, only_if: Absent | Version) -> WriteOutcome:
        if self._silent is not None:
            return self._silent
        with self._lock:
            if not _holds(only_if, self._item):
                current = _readable(self._item)
                return current if isinstance(current, Unknown) else Refused(current)
            self._item = item
            return Landed()

    def note(self, key: str, value: Mapping[str, str]) -> Unknown | None:
        if self._silent is not None:
            return self._silent
        with self._lock:
            self._notes[key] = dict(value)
        return None

    def notes(self, prefix: str) -> Mapping[str, Mapping[str, str]] | Unknown:
        if self._silent is not None:
            return self._silent
        with self._lock:
            return {key: dict(value) for key, value in self._notes.items() if key.startswith(prefix)}


def _readable(item: LeaseItem | None) -> LeaseItem | Unknown | None:
    if item is not None and item.schema_version > LEASE_SCHEMA_VERSION:
        return TooNew(
            f"the lease has schema version {item.schema_version}, this agent knows {LEASE_SCHEMA_VERSION}"
        )
    return item


def _holds(condition: Absent | Version, current: LeaseItem | None) -> bool:
    if isinstance(condition, Absent):
        return current is None
    return current is not None and (current.epoch, current.token) == (condition.epoch, condition.token)
