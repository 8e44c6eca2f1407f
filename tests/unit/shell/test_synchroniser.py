"""The holder brings the lease item and PostgreSQL to the wanted sync set, whatever interrupts it.

Nothing calls it in a running agent yet: each test makes the rounds itself, on the holder's own parts.
"""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.support.world import World

from failover_agent.core.model import Mode, SyncSet
from failover_agent.core.quorum import NOBODY, complaint, of_item, waits
from failover_agent.core.seals import Seal
from failover_agent.shell.synchroniser import Outcome, Synchroniser

LEAVE_AFTER_S = 5.0
BOTH = waits(["db2", "db3"], 1)


class Holder:
    """db1, which serves, and its synchroniser; `orders` are the changes in the order they came true."""

    def __init__(self, mode: Mode = "quorum", names: tuple[str, ...] = ("db1", "db2", "db3")) -> None:
        self.world = World(*names)
        assert self.world.bring_up() == "db1"
        self.mode: Mode = mode
        self.world.run(2)
        self.begin()

    def begin(self) -> None:
        """A life of the agent: nothing is known of the one before."""
        body = self.world.nodes["db1"].agent.body
        self.synchroniser = Synchroniser(
            body.keeper, body.ports.postgres, body.ports.clock, body.journal, LEAVE_AFTER_S
        )

    def round(self) -> Outcome:
        seen = self.world.nodes["db1"].agent.loop.seen
        assert seen is not None
        outcome = self.synchroniser.round(seen, self.mode, promoted_at=0)
        assert complaint(self.item, self.world.postgres("db1").waits) == ""
        return outcome

    def rounds(self, seconds: float) -> Outcome:
        for _ in range(int(seconds / 0.5)):
            self.world.run(0.5)
            outcome = self.round()
        return outcome

    @property
    def item(self) -> SyncSet:
        return self.world.lease().sync

    @property
    def orders(self) -> list[str]:
        told = []
        for _, _, event, values in self.world.events:
            if event == "waits-for":
                told.append(f"postgres {values['members']}/{values['k']}")
            elif event == "sync-set":
                told.append(f"item {values['members']}/{values['k']}")
        return told


def test_everybody_who_streams_vouches_and_the_item_says_so() -> None:
    holder = Holder()

    assert holder.round() == Outcome(in_place=True, waiting_for="")

    assert of_item(holder.item) == holder.world.postgres("db1").waits == BOTH
    assert holder.world.lease().may_claim == ("db1", "db2", "db3")
    incarnations = [holder.world.nodes[name].agent.report().incarnation for name in ("db2", "db3")]
    assert list(holder.item.incarnations) == incarnations
    assert holder.orders == ["postgres db2,db3/1", "item db2,db3/1"]


def test_a_second_round_changes_nothing() -> None:
    holder = Holder()
    holder.round()
    version, orders = holder.item.version, holder.orders

    assert holder.rounds(5).in_place
    assert (holder.item.version, holder.orders) == (version, orders)


def test_a_silent_member_leaves_after_the_stated_delay_postgres_first() -> None:
    holder = Holder()
    holder.round()
    holder.world.power_off("db3")

    holder.rounds(LEAVE_AFTER_S - 1)
    assert of_item(holder.item) == BOTH
    holder.rounds(3)

    assert of_item(holder.item) == waits(["db2"], 1)
    assert holder.orders[2:] == ["postgres db2/1", "item db2/1"]


def test_a_member_that_returns_enters_through_the_store_first() -> None:
    holder = Holder()
    holder.round()
    holder.world.power_off("db3")
    holder.rounds(8)
    holder.world.power_on("db3")
    holder.world.run_until(holder.world.is_whole)
    holder.rounds(2)

    assert of_item(holder.item) == BOTH
    assert holder.orders[-2:] == ["item db2,db3/1", "postgres db2,db3/1"]


def test_with_nobody_left_quorum_goes_on_alone_and_only_the_holder_may_claim() -> None:
    holder = Holder()
    holder.round()
    holder.world.power_off("db2")
    holder.world.power_off("db3")

    assert holder.rounds(8).in_place
    assert of_item(holder.item) == holder.world.postgres("db1").waits == NOBODY
    assert holder.world.lease().may_claim == ("db1",)
    assert holder.orders[-2:] == ["item /0", "postgres /0"]


def test_with_nobody_left_strict_goes_on_waiting_and_says_for_whom() -> None:
    holder = Holder("strict")
    holder.round()
    holder.world.power_off("db2")
    holder.world.power_off("db3")

    assert holder.rounds(8) == Outcome(in_place=True, waiting_for="db2, db3")
    assert holder.world.postgres("db1").waits.k == 1


def test_strict_is_not_in_place_before_enough_are_there() -> None:
    holder = Holder("strict")
    holder.world.power_off("db2")
    holder.world.power_off("db3")
    holder.world.run(2)

    assert holder.rounds(2) == Outcome(in_place=False, waiting_for="db2, db3")


def test_who_has_not_flushed_the_barrier_is_named_and_the_item_waits() -> None:
    holder = Holder()
    holder.world.run(1)
    for name in ("db2", "db3"):
        holder.world.postgres(name).replays = False  # connected, and its disk takes nothing
    holder.world.run(1)

    outcome = holder.round()

    assert not outcome.in_place
    assert "db2" in outcome.waiting_for
    assert "db3" in outcome.waiting_for
    assert holder.world.postgres("db1").waits == BOTH
    assert holder.item.k == 0
    for name in ("db2", "db3"):
        holder.world.postgres(name).replays = True
    assert holder.rounds(1).in_place


def test_a_life_that_ends_between_postgres_and_the_store_is_continued_by_the_next() -> None:
    holder = Holder()
    holder.world.no_api.add("db1")
    assert not holder.round().in_place, "PostgreSQL waits, the store does not say so"
    assert holder.world.postgres("db1").waits == BOTH
    holder.world.no_api.clear()

    holder.begin()
    holder.rounds(2)

    assert of_item(holder.item) == BOTH


def test_nothing_moves_while_a_write_is_unsettled() -> None:
    holder = Holder()
    holder.round()
    holder.world.power_off("db3")
    holder.rounds(4)
    holder.world.lost_answers.add("db1")
    holder.world.nodes["db1"].agent.keeper.renew_now()
    before = holder.world.postgres("db1").waits

    outcome = holder.rounds(2)

    assert outcome == Outcome(False, "a write of the lease to be settled")
    assert holder.world.postgres("db1").waits == before


def test_a_data_directory_is_clear_only_when_it_is_out_of_both() -> None:
    holder = Holder()
    holder.round()
    assert not holder.synchroniser.is_clear_of("db3")

    holder.synchroniser.leaves("db3")
    assert not holder.synchroniser.is_clear_of("db3")
    holder.round()

    assert holder.synchroniser.is_clear_of("db3")
    assert "db3" not in {*holder.item.members, *holder.world.postgres("db1").waits.members}
    holder.synchroniser.returns("db3")
    holder.rounds(1)
    assert of_item(holder.item) == BOTH
    assert not holder.synchroniser.is_clear_of("db3")


def test_a_member_with_another_data_directory_leaves_and_enters_as_what_it_is() -> None:
    holder = Holder()
    holder.round()
    before = holder.item
    holder.world.nodes["db3"].agent.body.incarnation.end()
    holder.rounds(2)

    assert of_item(holder.item) == BOTH
    assert holder.item.incarnations[0] == before.incarnations[0]
    assert holder.item.incarnations[1] == holder.world.nodes["db3"].agent.report().incarnation
    assert holder.item.incarnations[1] != before.incarnations[1]


def test_a_sealed_member_gets_a_new_version_of_the_same_set() -> None:
    """F4: else it would stay cut off from a primary that lives."""
    holder = Holder()
    holder.world.run(10)
    holder.round()
    before = holder.item
    holder.world.freeze("db1")
    holder.world.run(3)
    item = holder.world.lease()
    asked = Seal("c", item.epoch, item.sync.version, "", against="db1")
    assert holder.world.nodes["db2"].agent.seal(asked).lsn > 0
    holder.world.thaw("db1")
    holder.rounds(2)

    assert holder.item == replace(before, version=before.version + 1)
    assert holder.world.postgres("db2").cut == ""


@pytest.mark.parametrize("mode", ["quorum", "strict"])
def test_back_to_async_the_store_is_told_first(mode: Mode) -> None:
    holder = Holder(mode)
    holder.round()
    holder.mode = "async"

    assert holder.rounds(1).in_place
    assert holder.orders[-2:] == ["item /0", "postgres /0"]
