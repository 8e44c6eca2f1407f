"""Every member's slot on every node, moved along, dropped when it is nobody's; nothing else is touched."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failover_agent.core.slots import (
    AdvanceSlot,
    Change,
    CreateSlot,
    DropSlot,
    HoldConsumers,
    Kept,
    Slot,
    SlotsSeen,
    lost_by_promotion,
    plan,
    slot_name,
)

DB1, DB2, DB3 = (Slot(f"primacy_db{i}", 100) for i in (1, 2, 3))
TELLS = Kept((replace(DB2, lsn=500), replace(DB3, lsn=400)), oldest_wal=1)
OTHERS = ["db2", "db3"]  # of db1


def on_primary(*slots: Slot, **more: object) -> SlotsSeen:
    return replace(SlotsSeen(True, Kept(slots, 1)), **more)  # type: ignore[arg-type]  # checked by replace


def on_standby(*slots: Slot) -> SlotsSeen:
    return SlotsSeen(False, Kept(slots, 1), restart_point=300)


def plan_of_standby(*slots: Slot, told: Kept | None = TELLS) -> tuple[Change, ...]:
    """On db2, a standby of db1, with db3 the third."""
    return plan(on_standby(*slots), ["db1", "db3"], "db1", told)


def test_a_primary_has_a_slot_for_every_other_member_and_none_for_itself() -> None:
    assert plan(on_primary(), OTHERS, "", None) == (CreateSlot("primacy_db2"), CreateSlot("primacy_db3"))
    assert plan(on_primary(DB2, DB3), OTHERS, "", None) == ()
    assert plan(on_primary(DB1, DB2, DB3), OTHERS, "", None) == (DropSlot("primacy_db1"),)


def test_a_standby_has_them_too_before_anything_happens() -> None:
    assert plan_of_standby() == (CreateSlot("primacy_db1"), CreateSlot("primacy_db3"))


def test_a_standby_moves_them_to_what_the_primary_shows_and_its_own_to_the_restart_point() -> None:
    assert plan_of_standby(DB1, DB3) == (AdvanceSlot("primacy_db1", 300), AdvanceSlot("primacy_db3", 400))
    ahead = replace(DB1, lsn=300), replace(DB3, lsn=401)
    assert plan_of_standby(*ahead) == (), "nothing is moved back"


@pytest.mark.parametrize("told", [None, Kept(), Kept((DB3,), oldest_wal=0)])
def test_a_standby_changes_nothing_while_the_primary_tells_nothing(told: Kept | None) -> None:
    assert plan_of_standby(DB1, told=told) == ()


def test_a_slot_of_somebody_who_streams_without_it_does_not_hoard() -> None:
    seen = on_primary(DB2, replace(DB3, active=True), flushed={"db2": 900, "db3": 900})

    assert plan(seen, OTHERS, "", None) == (AdvanceSlot("primacy_db2", 900),)


def test_a_slot_that_was_invalidated_is_made_anew() -> None:
    lost = replace(DB2, lost=True)

    assert plan(on_primary(lost, DB3), OTHERS, "", None) == (
        DropSlot("primacy_db2"),
        CreateSlot("primacy_db2"),
    )


def test_slots_of_nodes_that_are_members_no_more_go_unless_somebody_uses_them() -> None:
    gone = Slot("primacy_db9", 5)

    assert plan(on_primary(DB2, DB3, gone), OTHERS, "", None) == (DropSlot("primacy_db9"),)
    assert plan(on_primary(DB2, DB3, replace(gone, active=True)), OTHERS, "", None) == ()


@pytest.mark.parametrize("name", ["backup", "db9", "cdc", "primac_db9"])
def test_slots_of_other_names_are_never_touched(name: str) -> None:
    for slot in (Slot(name, 5), Slot(name, 5, lost=True), Slot(name, 5, logical=True)):
        assert plan(on_primary(DB2, DB3, slot), OTHERS, "", None) == ()
    assert plan(on_primary(DB2, DB3, Slot("primacy_db9", logical=True)), OTHERS, "", None) == ()


def test_rows_that_a_slot_pinned_in_another_life_are_let_go_on_a_standby() -> None:
    """A slot's xmin stays when its owner goes; a standby's own feedback would hand it on to the primary."""
    pinned = replace(DB3, pins_rows=True, lsn=400)

    assert plan_of_standby(replace(DB1, lsn=300), pinned) == (
        DropSlot("primacy_db3"),
        CreateSlot("primacy_db3"),
    )
    assert plan(on_primary(DB2, pinned), OTHERS, "", None) == ()


def test_consumers_wait_for_whom_commits_wait_for_as_long_as_they_stream_by_their_slot() -> None:
    streams, away = replace(DB2, active=True), DB3
    seen = on_primary(streams, away, awaited=("db2", "db3"), consumers_wait_for=())

    assert plan(seen, OTHERS, "", None) == (HoldConsumers(("primacy_db2",)),)
    held = replace(seen, consumers_wait_for=("primacy_db2",))
    assert plan(held, OTHERS, "", None) == ()
    nobody = replace(held, kept=Kept((DB2, DB3), 1))
    assert plan(nobody, OTHERS, "", None) == (HoldConsumers(()),), "a dead member stops no consumer"
    assert plan(replace(seen, consumers_wait_for=None), OTHERS, "", None) == (), "older than 17"
    assert plan(replace(seen, awaited=()), OTHERS, "", None) == (), "async: nobody is waited for"


CDC = Slot("cdc", 50, logical=True, failover=True)


def test_a_former_primarys_own_failover_slot_gives_way_to_the_primarys() -> None:
    others = replace(DB1, lsn=300), replace(DB3, lsn=400)
    told = replace(TELLS, slots=(*TELLS.slots, CDC))

    assert plan_of_standby(*others, CDC, told=told) == (DropSlot("cdc"),)
    for kept in (replace(CDC, synced=True), replace(CDC, failover=False), replace(CDC, active=True)):
        assert plan_of_standby(*others, kept, told=told) == ()
    assert plan_of_standby(*others, CDC) == (), "the primary has none of that name: it may be all there is"


@pytest.mark.parametrize(
    ("there", "lost"),
    [
        ((), ("cdc",)),
        ((replace(CDC, synced=True),), ()),
        ((replace(CDC, synced=True, temporary=True),), ("cdc",)),
        ((replace(CDC, synced=True, lost=True),), ("cdc",)),
        ((CDC,), ("cdc",)),
        ((Slot("cdc", 50),), ("cdc",)),
    ],
)
def test_a_logical_slot_is_lost_by_a_promotion_unless_it_is_ready_there(
    there: Sequence[Slot], lost: tuple[str, ...]
) -> None:
    primary = Kept((CDC, DB2, replace(CDC, name="mine", temporary=True)), 1)

    assert lost_by_promotion(primary, Kept(tuple(there), 1)) == lost


def test_any_members_name_becomes_a_slots_name_that_postgresql_takes_and_no_other_has() -> None:
    names = ["db1", "db-1", "a" * 63, "a" * 62 + "b"]
    made = [slot_name(name) for name in names]

    assert len(set(made)) == len(names)
    assert all(re.fullmatch(r"[a-z0-9_]{1,63}", name) for name in made)


SLOTS = st.builds(
    Slot,
    name=st.sampled_from(["primacy_db1", "primacy_db2", "primacy_db3", "primacy_db9", "cdc", "backup"]),
    lsn=st.integers(0, 1000),
    active=st.booleans(),
    lost=st.booleans(),
    pins_rows=st.booleans(),
)


@given(
    st.lists(SLOTS, unique_by=lambda s: s.name),
    st.lists(SLOTS, unique_by=lambda s: s.name),
    st.dictionaries(st.sampled_from(OTHERS), st.integers(0, 2000)),
    st.booleans(),
)
def test_one_pass_makes_everything_as_it_must_be(
    here: list[Slot], there: list[Slot], flushed: dict[str, int], primary: bool
) -> None:
    """Method: carry the plan out as PostgreSQL would; the next plan asks for nothing."""
    seen = SlotsSeen(primary, Kept(tuple(here), 1), flushed if primary else {}, restart_point=700)
    told = None if primary else Kept(tuple(there), 1)
    holder = "" if primary else "db2"

    slots = {slot.name: slot for slot in here}
    for change in plan(seen, OTHERS, holder, told):
        match change:
            case CreateSlot(name):
                assert name not in slots
                slots[name] = Slot(name, 5000)  # at the server's own restart point, wherever that is
            case DropSlot(name):
                assert not slots.pop(name).active
            case AdvanceSlot(name, lsn):
                assert not slots[name].active
                assert lsn > slots[name].lsn
                slots[name] = replace(slots[name], lsn=lsn)

    after = replace(seen, kept=Kept(tuple(slots.values()), 1))
    assert plan(after, OTHERS, holder, told) == ()
    assert {"primacy_db2", "primacy_db3"} <= set(slots)
