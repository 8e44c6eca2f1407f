"""The holder brings the lease item and PostgreSQL to the sync set of the mode, whatever interrupts it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.support.world import World

from failover_agent.core.lease_writes import switched
from failover_agent.core.model import (
    Absent,
    LeaseItem,
    Mode,
    NodeReport,
    Server,
    ServerState,
    SyncProgress,
    SyncSet,
    Unknown,
    Version,
)
from failover_agent.core.quorum import NOBODY, SyncSeen, complaint, of_item, waits
from failover_agent.core.seals import Seal
from failover_agent.shell.lease_desk import SyncPromise
from failover_agent.shell.synchroniser import Synchroniser, is_on_line

LEAVE_AFTER_S = 5.0
BOTH = waits(["db2", "db3"], 1)
IN_PLACE = SyncProgress()


class Holder:
    """db1, which serves; `orders` are the changes of its sync set in the order they came true."""

    def __init__(self, mode: Mode = "quorum", names: tuple[str, ...] = ("db1", "db2", "db3")) -> None:
        self.world = World(*names, mode=mode, leave_after_s=LEAVE_AFTER_S)
        assert self.world.bring_up() == "db1"
        self.rounds(3)
        self.world.events.clear()

    def rounds(self, seconds: float) -> SyncProgress:
        for _ in range(int(seconds / 0.25)):
            self.world.run(0.25)
            assert complaint(self.item, self.world.postgres("db1").waits) == ""
        return self.synchroniser.progress

    @property
    def synchroniser(self) -> Synchroniser:
        return self.world.nodes["db1"].agent.body.synchroniser

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


@pytest.mark.parametrize("mode", ["quorum", "strict"])
def test_everybody_who_streams_vouches_and_the_item_says_so(mode: Mode) -> None:
    holder = Holder(mode)

    assert holder.synchroniser.progress == IN_PLACE

    item = holder.world.lease()
    assert of_item(item.sync) == holder.world.postgres("db1").waits == BOTH
    assert (item.mode, item.schema_version) == (mode, 2)
    assert item.may_claim == ("db1", "db2", "db3")
    incarnations = [holder.world.nodes[name].agent.report().incarnation for name in ("db2", "db3")]
    assert list(holder.item.incarnations) == incarnations


def test_in_mode_async_nobody_vouches_and_older_agents_read_the_item() -> None:
    holder = Holder("async")

    item = holder.world.lease()
    assert (item.mode, item.schema_version, item.may_claim) == ("async", 1, ())
    assert of_item(item.sync) == holder.world.postgres("db1").waits == NOBODY
    assert holder.orders == []


def test_in_mode_async_postgresql_is_not_asked_again_once_it_waits_for_nobody() -> None:
    holder = Holder("async")
    looks = holder.world.postgres("db1").looks
    holder.rounds(5)
    assert holder.world.postgres("db1").looks == looks


def test_a_second_round_changes_nothing() -> None:
    holder = Holder()
    version = holder.item.version

    assert holder.rounds(5) == IN_PLACE
    assert (holder.item.version, holder.orders) == (version, [])


def test_a_silent_member_leaves_after_the_stated_delay_postgres_first() -> None:
    holder = Holder()
    holder.world.power_off("db3")

    holder.rounds(LEAVE_AFTER_S - 1)
    assert of_item(holder.item) == BOTH
    holder.rounds(3)

    assert of_item(holder.item) == waits(["db2"], 1)
    assert holder.orders == ["postgres db2/1", "item db2/1"]


def test_a_member_that_returns_enters_through_the_store_first() -> None:
    holder = Holder()
    holder.world.power_off("db3")
    holder.rounds(8)
    holder.world.power_on("db3")
    holder.world.run_until(holder.world.is_whole)
    holder.rounds(2)

    assert of_item(holder.item) == BOTH
    assert holder.orders[-2:] == ["item db2,db3/1", "postgres db2,db3/1"]


def test_with_nobody_left_quorum_goes_on_alone_and_only_the_holder_may_claim() -> None:
    holder = Holder()
    holder.world.power_off("db2")
    holder.world.power_off("db3")

    assert holder.rounds(8) == IN_PLACE
    assert of_item(holder.item) == holder.world.postgres("db1").waits == NOBODY
    assert holder.world.lease().may_claim == ("db1",)
    assert holder.orders[-2:] == ["item /0", "postgres /0"]


def test_with_nobody_left_strict_goes_on_waiting_and_says_for_whom() -> None:
    holder = Holder("strict")
    holder.world.power_off("db2")
    holder.world.power_off("db3")

    assert holder.rounds(8) == SyncProgress(True, "db2, db3", away=("db2", "db3"))
    assert holder.world.postgres("db1").waits.k == 1
    assert holder.world.acknowledges("db1"), "once open, the gate stays open; commits wait"


def test_who_has_not_flushed_the_barrier_is_named_and_the_item_waits() -> None:
    holder = Holder("async")
    for name in ("db2", "db3"):
        holder.world.postgres(name).replays = False  # connected, and its disk takes nothing
    holder.world.run(1)
    keeper, item = holder.world.nodes["db1"].agent.keeper, holder.world.lease()
    assert keeper.write_sync(item.epoch, SyncPromise(*switched(item, "quorum", "db1"), "quorum"))

    progress = holder.rounds(2)

    assert not progress.in_place
    assert "db2" in progress.waiting_for
    assert "db3" in progress.waiting_for
    assert holder.world.postgres("db1").waits == BOTH
    assert holder.item.k == 0
    for name in ("db2", "db3"):
        holder.world.postgres(name).replays = True
    assert holder.rounds(1).in_place
    assert of_item(holder.item) == BOTH


def test_a_life_that_ends_between_postgres_and_the_store_is_continued_by_the_next() -> None:
    holder = Holder()
    holder.world.die_at("waits-before-item", with_host=False)
    holder.world.power_off("db3")

    holder.world.run_until(lambda: holder.world.died == ["db1"])
    assert holder.world.postgres("db1").waits == waits(["db2"], 1)
    assert of_item(holder.item) == BOTH
    holder.rounds(LEAVE_AFTER_S + 4)

    assert of_item(holder.item) == waits(["db2"], 1)


def test_nothing_moves_while_a_write_is_unsettled() -> None:
    holder = Holder()
    holder.world.power_off("db3")
    holder.rounds(4)
    holder.world.lost_answers.add("db1")
    holder.world.nodes["db1"].agent.keeper.renew_now()
    before = holder.world.postgres("db1").waits

    progress = holder.rounds(2)

    assert (progress.in_place, progress.waiting_for) == (False, "a write of the lease to be settled")
    assert holder.world.postgres("db1").waits == before


def test_a_write_that_lands_between_two_looks_is_not_overlooked(monkeypatch: pytest.MonkeyPatch) -> None:
    """S4, the counter-example: the old item, nothing unsettled; db3 entered before the item counted on it."""
    holder = Holder()
    postgres, keeper = holder.world.postgres("db1"), holder.world.nodes["db1"].agent.keeper
    desk, alone, silent = keeper._desk, waits(["db2"], 1), True
    write, sync = desk.store.write, postgres.sync

    def answer_lost(_store: object, item: LeaseItem, *, only_if: Absent | Version) -> object:
        outcome = write(item, only_if=only_if)
        return Unknown("no answer in time") if silent and of_item(item.sync) == alone else outcome

    def lands_meanwhile(_postgres: object) -> SyncSeen | Unknown:
        nonlocal silent
        assert complaint(holder.item, postgres.waits) == ""
        looked = sync()
        if isinstance(looked, SyncSeen) and "db3" in looked.flushed:
            silent, desk.retry_at = False, 0.0
            keeper.round()
        return looked

    monkeypatch.setattr(type(desk.store), "write", answer_lost)
    holder.world.power_off("db3")
    holder.world.run_until(keeper.unsettled, LEAVE_AFTER_S + 4)
    assert postgres.waits == of_item(holder.item) == alone
    monkeypatch.setattr(type(postgres), "sync", lands_meanwhile)
    holder.world.power_on("db3")
    holder.rounds(4)

    assert not silent
    assert postgres.waits == of_item(holder.item) == BOTH


def test_a_data_directory_is_clear_only_when_it_is_out_of_both() -> None:
    holder = Holder()
    assert not holder.synchroniser.is_clear_of("db3")

    holder.synchroniser.leaves("db3")
    assert not holder.synchroniser.is_clear_of("db3")
    holder.rounds(1)

    assert holder.synchroniser.is_clear_of("db3")
    assert "db3" not in {*holder.item.members, *holder.world.postgres("db1").waits.members}
    holder.synchroniser.returns("db3")
    holder.rounds(1)
    assert of_item(holder.item) == BOTH
    assert not holder.synchroniser.is_clear_of("db3")


def test_a_member_with_another_data_directory_leaves_and_enters_as_what_it_is() -> None:
    holder = Holder()
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
    before = holder.item
    holder.world.power_off("db3")  # alone, db2 has too few votes to claim by itself
    holder.world.freeze("db1")
    holder.world.run(3)
    item = holder.world.lease()
    asked = Seal("c", item.epoch, item.sync.version, "", against="db1")
    assert holder.world.nodes["db2"].agent.seal(asked).lsn > 0
    holder.world.thaw("db1")
    holder.rounds(2)

    assert holder.item == replace(before, version=before.version + 1)
    assert holder.world.postgres("db2").cut == ""


@pytest.mark.parametrize(
    ("of_standby", "of_primary", "fits"),
    [
        (Server(ServerState.STANDBY, timeline=3), Server(ServerState.PRIMARY, timeline=3), True),
        (Server(ServerState.STANDBY, timeline=2), Server(ServerState.PRIMARY, timeline=3), False),
        (Unknown("no answer"), Server(ServerState.PRIMARY, timeline=3), False),
        (Server(ServerState.STANDBY, timeline=3), Unknown("no answer"), False),
    ],
)
def test_who_enters_says_that_it_is_on_the_primarys_timeline(
    of_standby: Server | Unknown, of_primary: Server | Unknown, fits: bool
) -> None:
    """A walreceiver of an earlier line is taken at a position of that line for a moment (S2)."""
    report = NodeReport("db4", "az-4", "i-4", of_standby, 7, holds_lease=False)

    assert is_on_line(report, of_primary) is fits
    assert not is_on_line(None, of_primary)
