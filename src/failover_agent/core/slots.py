"""Which replication slots a server must have, and what stands in the way of the WAL or a slot. Pure.

Every member keeps a physical slot for every other, named after it, so that whoever is promoted has them
already:

  primary   a standby streams by its slot, which moves along with it. One that streams without (yet) has its
            slot moved to what it has flushed.
  standby   moved to what the primary shows for that member. The primary's own stands at this node's last
            restart point: from there on a rewound primary may need WAL.

Invariant: WAL is kept for nobody beyond `max_slot_wal_keep_size`; a slot that was invalidated by it is made
anew. A slot that has our prefix and belongs to no other member goes, unless somebody uses it. Slots of other
names are people's and never touched, but for one: a failover slot that a former primary made itself and that
keeps PostgreSQL from bringing it the primary's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

PREFIX = "primacy_"
_NAME_LENGTH_MAX = 63  # NAMEDATALEN - 1


@dataclass(frozen=True, slots=True)
class Slot:
    """A replication slot as its server shows it. What a server is too old to know is False."""

    name: str
    lsn: int = 0  # WAL is kept from here on; 0: none yet
    logical: bool = False
    active: bool = False
    lost: bool = False  # invalidated: it keeps nothing any more
    pins_rows: bool = False  # it holds an xmin
    temporary: bool = False
    failover: bool = False  # logical: to be brought to standbys
    synced: bool = False  # logical: brought here from the primary


@dataclass(frozen=True, slots=True)
class Kept:
    """What WAL a running server keeps, and for whom; told to the others."""

    slots: tuple[Slot, ...] = ()
    oldest_wal: int = 0  # where the oldest WAL on its disk begins; 0: not told (an older agent, or at rest)

    def of(self, member: str) -> Slot | None:
        """The slot of a member, if it is there and of use."""
        wanted = slot_name(member)
        return next((s for s in self.slots if s.name == wanted and not s.logical and not s.lost), None)


NOTHING_TOLD = Kept()


@dataclass(frozen=True, slots=True)
class SlotsSeen:
    """What the server of this node shows of its slots."""

    primary: bool
    kept: Kept
    flushed: Mapping[str, int] = field(default_factory=dict)  # primary: by streaming standby
    restart_point: int = 0  # where recovery would begin, were it restarted now
    awaited: tuple[str, ...] = ()  # members whom commits wait for
    consumers_wait_for: tuple[str, ...] | None = None  # synchronized_standby_slots; None: the server has none


@dataclass(frozen=True, slots=True)
class CreateSlot:
    name: str


@dataclass(frozen=True, slots=True)
class DropSlot:
    name: str


@dataclass(frozen=True, slots=True)
class AdvanceSlot:
    name: str
    lsn: int


@dataclass(frozen=True, slots=True)
class HoldConsumers:
    """Logical consumers get nothing that these physical slots have not confirmed."""

    slots: tuple[str, ...]


Change = CreateSlot | DropSlot | AdvanceSlot | HoldConsumers


def slot_name(member: str) -> str:
    """Lower case letters, digits and underscores are all that PostgreSQL allows."""
    name = PREFIX + member.replace("-", "_")
    if len(name) <= _NAME_LENGTH_MAX:
        return name
    digest = hashlib.sha256(member.encode()).hexdigest()[:8]
    return f"{name[: _NAME_LENGTH_MAX - 9]}_{digest}"


def plan(seen: SlotsSeen, others: Iterable[str], holder: str, theirs: Kept | None) -> tuple[Change, ...]:
    """What to change on this node, in order; nothing where everything is as it must be.

    `theirs` is what the primary `holder` tells, where that is another node. On a standby nothing is made or
    moved while it tells nothing: what is kept may be needed, and nobody could say since when it is not.
    """
    names = list(others)
    if not seen.primary and (theirs is None or not theirs.oldest_wal):
        return ()
    goals = _on_primary(seen, names) if seen.primary else _on_standby(seen, names, holder, theirs)
    changes: list[Change] = [*_drops(seen, names), *_in_the_way(seen, theirs)]
    for name in names:
        changes += _for_member(seen, slot_name(name), goals.get(name, 0))
    return (*changes, *_consumers(seen))


def _on_primary(seen: SlotsSeen, others: list[str]) -> dict[str, int]:
    return {name: seen.flushed.get(name, 0) for name in others}


def _on_standby(seen: SlotsSeen, others: list[str], holder: str, theirs: Kept | None) -> dict[str, int]:
    goals = {holder: seen.restart_point}
    for name in others:
        slot = theirs.of(name) if theirs else None
        if slot is not None and name != holder:
            goals[name] = slot.lsn
    return goals


def _for_member(seen: SlotsSeen, name: str, goal: int) -> Iterator[Change]:
    slot = next((s for s in seen.kept.slots if s.name == name), None)
    if slot is None:
        yield CreateSlot(name)
    elif slot.active or slot.logical:
        return
    elif slot.lost or (slot.pins_rows and not seen.primary):
        # Nobody's feedback comes in on a standby: an xmin left from its time as primary would stay for ever,
        # and through this standby's own feedback on the primary.
        yield DropSlot(name)
        yield CreateSlot(name)
    elif slot.lsn and goal > slot.lsn:
        yield AdvanceSlot(name, goal)


def _drops(seen: SlotsSeen, others: list[str]) -> Iterator[Change]:
    """This node's own, and those of nodes that are members no more."""
    wanted = {slot_name(name) for name in others}
    for slot in seen.kept.slots:
        ours = slot.name.startswith(PREFIX) and not slot.logical
        if ours and slot.name not in wanted and not slot.active:
            yield DropSlot(slot.name)


def _in_the_way(seen: SlotsSeen, theirs: Kept | None) -> Iterator[Change]:
    """A former primary's own failover slot: PostgreSQL brings none of that name over it."""
    if seen.primary or theirs is None:
        return
    there = {slot.name for slot in theirs.slots if slot.logical and slot.failover}
    for slot in seen.kept.slots:
        stale = slot.logical and slot.failover and not slot.synced and not slot.active
        if stale and slot.name in there:
            yield DropSlot(slot.name)


def _consumers(seen: SlotsSeen) -> Iterator[Change]:
    """Those whom commits wait for, as far as they stream by their slot at this moment.

    A slot of a member that is gone would stop every consumer until somebody changes the list: so only slots
    in use are named, and who falls silent is taken out within a round.
    """
    if not seen.primary or seen.consumers_wait_for is None:
        return
    slots = (seen.kept.of(member) for member in seen.awaited)
    wanted = tuple(sorted(slot.name for slot in slots if slot is not None and slot.active))
    if wanted != seen.consumers_wait_for:
        yield HoldConsumers(wanted)


def lost_by_promotion(primary: Kept, target: Kept) -> tuple[str, ...]:
    """Logical slots of the primary that its consumers would not find on `target`, by name."""
    ready = {s.name for s in target.slots if s.logical and s.synced and not s.temporary and not s.lost}
    return tuple(
        sorted(
            s.name
            for s in primary.slots
            if s.logical and not s.temporary and not s.lost and s.name not in ready
        )
    )
