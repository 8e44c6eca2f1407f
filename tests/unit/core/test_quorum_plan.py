"""Goal: no interrupted prefix of any change of (S, k) breaks what the lease item promises.

Method: every item, every state of PostgreSQL and every wish over three standbys; walk the plan to its end and
look at the invariant before and after each step, at both values while a reload is under way.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

import pytest

from failover_agent.core.model import SyncSet, Unknown
from failover_agent.core.quorum import (
    NOBODY,
    AwaitBarrier,
    Barrier,
    InPlace,
    LookAgain,
    SetPostgres,
    Settle,
    Step,
    SyncStanding,
    Waits,
    WriteItem,
    complaint,
    is_clear_of,
    next_step,
    of_item,
    permits,
    seals_needed,
    waits,
)

STANDBYS = ("b", "c", "d")
MOST_STEPS = 7
END = 500
CAUGHT_UP = dict.fromkeys(STANDBYS, END)


def every_wait() -> Iterator[Waits]:
    yield NOBODY
    for size in range(1, len(STANDBYS) + 1):
        for members in itertools.combinations(STANDBYS, size):
            for k in range(1, size + 1):
                yield waits(members, k)


EVERY = tuple(every_wait())


def item_of(wait: Waits, version: int = 1) -> SyncSet:
    return SyncSet(wait.members, wait.k, version)


def settled(item: Waits, shown: Waits, wanted: Waits) -> SyncStanding:
    return SyncStanding(item_of(item), False, shown, shown, None, CAUGHT_UP, wanted)


def after(at: SyncStanding, step: Step) -> Iterator[SyncStanding]:
    """Every state the world can be in once `step` was begun: a reload may be over or not."""
    if isinstance(step, WriteItem):
        yield replace(at, sync=step.sync)
    if isinstance(step, SetPostgres):
        yield replace(at, written=step.wait, barrier=None)
        yield replace(at, written=step.wait, shown=step.wait, barrier=Barrier(step.wait, END))


def obeyed(at: SyncStanding) -> tuple[Waits, ...]:
    """What commits may be acknowledged by at this moment."""
    assert isinstance(at.shown, Waits)
    assert isinstance(at.written, Waits)
    return at.shown, at.written


def test_no_interrupted_prefix_of_any_change_lets_a_commit_escape_the_seals() -> None:
    seen: set[tuple[object, ...]] = set()
    begun = [
        settled(item, shown, wanted)
        for item, shown, wanted in itertools.product(EVERY, repeat=3)
        if permits(item_of(item), shown)
    ]
    todo = list(begun)
    while todo:
        at = todo.pop()
        key = (at.sync.members, at.sync.k, at.shown, at.written, at.barrier, at.wanted)
        if key in seen:
            continue
        seen.add(key)
        for wait in obeyed(at):
            assert not complaint(at.sync, wait), at
        todo += after(at, next_step(at))
        todo += [replace(at, wanted=other) for other in EVERY]  # somebody changes his mind half-way

    assert len(seen) > 5000, "the test looked at next to nothing"


def test_every_change_ends_whatever_was_wanted_before() -> None:
    for item, shown, wanted in itertools.product(EVERY, repeat=3):
        if not permits(item_of(item), shown):
            continue
        at = settled(item, shown, wanted)
        for _step in range(MOST_STEPS):
            step = next_step(at)
            if isinstance(step, InPlace):
                break
            at = list(after(at, step))[-1]
        assert isinstance(next_step(at), InPlace), (item, shown, wanted)
        assert (of_item(at.sync), at.shown) == (wanted, wanted)


def test_what_k_members_held_is_held_by_k_members_of_every_laxer_item() -> None:
    """The laxer write needs no barrier: it keeps S whole and k no larger."""
    for item, shown, wanted in itertools.product(EVERY, repeat=3):
        at = settled(item, shown, wanted)
        step = next_step(at)
        if permits(at.sync, shown) and isinstance(step, WriteItem) and of_item(step.sync) != shown:
            assert step.sync.k <= item.k, at
            assert step.sync.k == 0 or set(item.members) <= set(step.sync.members), at


def test_any_seals_needed_meet_any_acknowledgers() -> None:
    """The meaning of the invariant, counted out: no claim without a member that has the commit."""
    for item, wait in itertools.product(EVERY, repeat=2):
        if item.k == 0:
            continue
        needed = seals_needed(item_of(item))
        acks = [set(a) for a in itertools.combinations(wait.members, wait.k)]
        seals = [set(s) for s in itertools.combinations(item.members, needed)]
        meet = all(a & s for a in acks for s in seals)
        assert permits(item_of(item), wait) == meet, (item, wait)


B, C, BC, BC2 = waits("b", 1), waits("c", 1), waits("bc", 1), waits("bc", 2)


@pytest.mark.parametrize(
    ("item", "wanted", "orders"),
    [
        (BC, B, ["postgres b/1", "item b/1"]),  # stricter: C's word alone no longer counts
        (B, BC, ["item bc/1", "postgres bc/1"]),  # laxer
        (BC, BC2, ["postgres bc/2", "item bc/2"]),
        (BC2, BC, ["item bc/1", "postgres bc/1"]),
        (NOBODY, BC, ["postgres bc/1", "item bc/1"]),
        (BC, NOBODY, ["item /0", "postgres /0"]),
        (B, C, ["item bc/1", "postgres c/1", "item c/1"]),
    ],
)
def test_stricter_goes_through_postgres_first_and_laxer_through_the_store_first(
    item: Waits, wanted: Waits, orders: list[str]
) -> None:
    at, told = settled(item, item, wanted), []
    while not isinstance(step := next_step(at), InPlace):
        at = list(after(at, step))[-1]
        if isinstance(step, WriteItem):
            told.append(f"item {''.join(step.sync.members)}/{step.sync.k}")
        elif isinstance(step, SetPostgres):
            told.append(f"postgres {''.join(step.wait.members)}/{step.wait.k}")
    assert told == orders


def test_the_item_grows_stricter_only_when_the_new_quorum_has_flushed_the_barrier() -> None:
    ready = replace(settled(BC, BC2, BC2), barrier=Barrier(BC2, END))

    assert next_step(ready) == WriteItem(SyncSet(("b", "c"), 2, 2))
    behind = replace(ready, flushed={"b": END, "c": END - 1})
    assert next_step(behind) == AwaitBarrier(END, ("c",))
    assert next_step(replace(ready, flushed={"b": END})) == AwaitBarrier(END, ("c",))


def test_a_barrier_of_another_rule_is_no_barrier() -> None:
    at = settled(NOBODY, BC2, BC2)

    assert next_step(replace(at, barrier=Barrier(BC, END))) == SetPostgres(BC2)
    assert isinstance(next_step(replace(at, barrier=Barrier(BC2, END))), WriteItem)


def test_nothing_moves_before_an_unsettled_write_is_settled() -> None:
    for item, shown, wanted in itertools.product(EVERY, repeat=3):
        assert next_step(replace(settled(item, shown, wanted), unsettled=True)) == Settle()


def test_a_reload_that_was_begun_is_finished_before_the_item_moves() -> None:
    at = replace(settled(BC, BC2, BC2), written=BC, barrier=Barrier(BC2, END))

    assert next_step(at) == SetPostgres(BC)


def test_silence_of_postgres_moves_nothing() -> None:
    at, silent = settled(BC, BC, B), Unknown("timed out")

    assert next_step(replace(at, shown=silent)) == LookAgain("timed out")
    assert next_step(replace(at, written=silent)) == LookAgain("timed out")


def test_a_list_that_somebody_else_loosened_is_put_back_first() -> None:
    at = settled(BC2, B, B)

    assert complaint(at.sync, B)
    assert next_step(at) == SetPostgres(BC2)


def test_a_sealed_member_gets_a_new_version_though_nothing_else_changes() -> None:
    at = settled(BC, BC, BC)

    assert next_step(at) == InPlace()
    assert next_step(replace(at, sealed=("c",))) == WriteItem(SyncSet(("b", "c"), 1, 2))


@pytest.mark.parametrize("sealed", [("b",), ("b", "c")])
def test_who_is_sealed_is_not_waited_for_at_a_barrier(sealed: tuple[str, ...]) -> None:
    """F4. → b and c sealed while c was on its way out; the primary lived on, and no commit ever came back."""
    nobody_streams = replace(
        settled(waits("bc", 1), waits("b", 1), waits("b", 1)), barrier=Barrier(waits("b", 1), END), flushed={}
    )

    assert next_step(nobody_streams) == AwaitBarrier(END, ("b",))
    assert next_step(replace(nobody_streams, sealed=sealed)) == WriteItem(SyncSet(("b", "c"), 1, 2))
    caught_up = replace(nobody_streams, sealed=sealed, flushed={"b": END})
    assert next_step(caught_up) == WriteItem(SyncSet(("b",), 1, 2))


def test_a_data_directory_may_be_touched_only_when_nothing_counts_on_it() -> None:
    clear = settled(B, B, B)

    assert is_clear_of("c", clear)
    assert not is_clear_of("b", clear)
    assert not is_clear_of("c", replace(clear, sync=item_of(BC)))
    assert not is_clear_of("c", replace(clear, shown=BC))
    assert not is_clear_of("c", replace(clear, written=BC))
    assert not is_clear_of("c", replace(clear, unsettled=True))
    assert not is_clear_of("c", replace(clear, shown=Unknown("timed out")))


def test_what_could_never_be_fulfilled_is_refused() -> None:
    for members, k in ((("b",), 2), (("b",), 0), ((), 1), (("b",), -1)):
        with pytest.raises(ValueError, match="cannot be waited for"):
            waits(members, k)


def test_a_process_that_was_not_seen_to_let_commits_wait_is_seen_to_first() -> None:
    """Restarted in place it shows the list at once; until its checkpointer has read it, no commit waits."""
    wait = waits(["b", "c"], 1)
    at = settled(wait, wait, wait)

    assert next_step(replace(at, proved=False)) == SetPostgres(wait)
    assert next_step(at) == InPlace()
    nobody = settled(NOBODY, NOBODY, NOBODY)
    assert next_step(replace(nobody, proved=False)) == InPlace()
