"""The replication slots of a PostgreSQL in memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from failover_agent.core.model import Unknown
from failover_agent.core.slots import AdvanceSlot, Change, CreateSlot, DropSlot, Kept, Slot, SlotsSeen
from failover_agent.errors import PostgresFailed
from tests.support.waiting import Waiting


@dataclass(slots=True, kw_only=True)
class MemorySlots(Waiting):
    """The part of `ports.Postgres` that keeps WAL for others, over what the world says."""

    has_slots: dict[str, int] = field(default_factory=dict)  # name → from where on WAL is kept
    logical: tuple[Slot, ...] = ()
    slot: str = ""  # by which it streams
    oldest_wal: int = 1
    refuse_slots: bool = False  # all that the server may have are in use

    def is_primary(self) -> bool:
        raise NotImplementedError

    def slots(self) -> SlotsSeen | Unknown:
        flushed = self.flushed()
        physical = tuple(
            Slot(name, lsn, active=self.streams_by(name)) for name, lsn in self.has_slots.items()
        )
        return SlotsSeen(
            primary=self.is_primary(),
            kept=Kept((*physical, *self.logical), self.oldest_wal),
            flushed=flushed,
            restart_point=self.position().lsn,
        )

    def streams_by(self, name: str) -> bool:
        raise NotImplementedError

    def change_slots(self, changes: Sequence[Change]) -> None:
        if self.refuse_slots:
            raise PostgresFailed("all replication slots are in use", hint="It is a test.")
        for change in changes:
            match change:
                case CreateSlot(name):
                    assert name not in self.has_slots, f"{name} is there"
                    self.has_slots[name] = self.position().lsn
                case DropSlot(name):
                    del self.has_slots[name]
                case AdvanceSlot(name, lsn):
                    assert lsn >= self.has_slots[name], f"{name} cannot go back"
                    self.has_slots[name] = min(lsn, self.position().lsn)
                case _:
                    raise AssertionError(f"{change} is of newer servers")
