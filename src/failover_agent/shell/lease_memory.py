"""What an agent leaves to its next life in the same boot (run_dir, gone after a reboot)."""

from __future__ import annotations

from dataclasses import dataclass

from failover_agent.core.lease_note import from_note, to_note
from failover_agent.core.model import Absent, Holder, LeaseItem, Version
from failover_agent.core.snapshot import Mine
from failover_agent.ports import Notebook

NOTE = "lease"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who renews: written into the lease item (L2) and into the note."""

    cluster: str
    holder: Holder
    boot_id: str
    agent: str = ""  # its version
    fences: bool = False  # it has a method: whom it claims from is named in the item
    claimants: tuple[str, ...] = ()  # who may claim after it in mode async (P2); empty: anybody


@dataclass(frozen=True, slots=True)
class Pending:
    """A write that was sent, or is about to be, and is not settled. Retried unchanged."""

    item: LeaseItem
    only_if: Absent | Version
    first_sent: float


class LeaseMemory:
    def __init__(self, notes: Notebook, identity: Identity) -> None:
        self._notes = notes
        self._id = identity

    def save(self, mine: Mine | None, pending: Pending | None) -> None:
        """Durable when it returns. Raises AgentError."""
        self._notes.save(
            NOTE,
            {
                "boot_id": self._id.boot_id,
                "cluster": self._id.cluster,
                "name": self._id.holder.name,
                "instance_id": self._id.holder.instance_id,
                "item": to_note(mine.item) if mine else None,
                "valid_until": mine.valid_until if mine else 0.0,
                "was_primary": mine.was_primary if mine else False,
                "beat_sent": mine.beat_sent if mine else 0.0,
                "promised": dict(mine.promised) if mine else {},
                "pending": to_note(pending.item) if pending else None,
                "first_sent": pending.first_sent if pending else 0.0,
            },
        )

    def forget(self) -> None:
        self._notes.forget(NOTE)

    def load(self) -> tuple[Mine, Pending | None] | None:
        """The lease of an earlier life of this agent, same boot, same instance (L2); else None."""
        note = self._notes.load(NOTE)
        if note is None or not isinstance(item := note.get("item"), dict):
            return None
        ours = (self._id.boot_id, self._id.cluster, self._id.holder.name, self._id.holder.instance_id)
        if ours != tuple(note.get(key) for key in ("boot_id", "cluster", "name", "instance_id")):
            return None
        try:
            mine = Mine(
                from_note(item),
                float(str(note["valid_until"])),
                bool(note["was_primary"]),
                float(str(note.get("beat_sent", 0.0))),
                _promised(note.get("promised")),
            )
            if not isinstance(sent := note["pending"], dict):
                return mine, None
            version = Version(mine.epoch, mine.item.token)
            return mine, Pending(from_note(sent), version, float(str(note["first_sent"])))
        except (KeyError, TypeError, ValueError):  # written by another version: not ours to read
            return None


def _promised(noted: object) -> tuple[tuple[str, float], ...]:
    """Raises ValueError. An older agent noted none."""
    plain = noted if isinstance(noted, dict) else {}
    return tuple(sorted((str(name), float(str(until))) for name, until in plain.items()))
