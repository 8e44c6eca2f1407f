"""The store is away: the primary goes on by promises of all who may claim, by nothing else (P1 to P3)."""

from __future__ import annotations

import pytest
from tests.support.safety import overlapping_gates
from tests.support.world import World

from failover_agent.core.model import Holder, LeaseItem, ServerState, SyncSet, Version
from failover_agent.core.promises import Promise
from failover_agent.core.seals import Seal
from failover_agent.errors import CarriedByPromises

NAMES = ("db1", "db2", "db3", "db4", "db5")


def cluster(nodes: int = 3) -> World:
    """db1 serves, every agent has run for longer than a ttl, and the lease names who may claim."""
    world = World(*NAMES[:nodes], failsafe=True)
    assert world.bring_up() == "db1"
    world.run(8)
    assert world.lease().may_claim == NAMES[:nodes]
    return world


def promise_of(world: World, ttl_s: float | None = None) -> Promise:
    item = world.lease()
    assert item.holder is not None
    return Promise("c", item.epoch, item.holder, item.sync.version, ttl_s or world.timings.ttl_s)


def carries(world: World, seconds: float) -> bool:
    """Whether db1 lets clients write at every moment of `seconds`."""
    end = world.clock.time + seconds
    while world.clock.time < end:
        world.run(0.05)
        if not world.acknowledges("db1"):
            return False
    return True


@pytest.mark.parametrize("nodes", [2, 3, 5])
def test_a_store_that_is_away_for_two_minutes_changes_nothing(nodes: int) -> None:
    world = cluster(nodes)
    before = world.lease()

    world.store.silence("away")
    assert carries(world, 120)
    world.store.answer()
    assert carries(world, 20)

    assert world.lease().epoch == before.epoch
    assert world.primary() == "db1"
    assert world.said("lease-lost") == []
    assert [name for name, _ in world.said("carried")] == ["db1"]
    assert [name for name, _ in world.said("store-back")] == ["db1"]


def test_the_primary_says_that_it_is_carried_and_by_whom_until_the_store_is_back() -> None:
    world = cluster()
    world.store.silence("away")
    world.run(10)

    told = [e for e in world.nodes["db1"].agent.problems() if isinstance(e, CarriedByPromises)]
    assert [e.value for e in told] == ["the store is away; carried by promises of db2, db3"]
    assert world.nodes["db1"].agent.cluster()["lease"]["carried_by"] == ["db2", "db3"]  # type: ignore[index]

    world.store.answer()
    world.run(3)
    assert not any(isinstance(e, CarriedByPromises) for e in world.nodes["db1"].agent.problems())
    assert world.nodes["db1"].agent.cluster()["lease"]["carried_by"] == []  # type: ignore[index]


def test_a_renewal_that_landed_only_after_promises_is_no_calm_one() -> None:
    world = cluster()
    misses = world.nodes["db1"].agent.keeper.renewals().near_misses
    world.store.silence("away")
    world.run(20)
    world.store.answer()
    world.run(3)

    renewals = world.nodes["db1"].agent.keeper.renewals()
    assert (renewals.near_misses, renewals.used_most) == (misses + 1, 1.0)


def test_one_member_that_does_not_answer_ends_the_lease_in_time() -> None:
    world = cluster()
    world.power_off("db3")
    world.run(1)
    world.store.silence("away")
    world.run(world.timings.ttl_s)

    assert world.postgres("db1").state is not ServerState.PRIMARY
    assert not world.nodes["db1"].gate.is_open()
    assert overlapping_gates(world) == []
    # and those who could be heard are not bound for nothing
    assert world.nodes["db2"].agent.keeper.promises.bound() is None


def test_a_member_that_stops_answering_meanwhile_ends_it_within_one_ttl() -> None:
    world = cluster()
    world.store.silence("away")
    assert carries(world, 30)
    world.cut_links.add(frozenset(("db1", "db3")))

    world.run(world.timings.ttl_s)

    assert not world.acknowledges("db1")
    assert overlapping_gates(world) == []


def test_a_cluster_without_failsafe_goes_down_with_its_store() -> None:
    world = World("db1", "db2", failsafe=False)
    world.bring_up()
    world.store.silence("away")
    world.run(world.timings.ttl_s)

    assert not world.acknowledges("db1")
    world.store.answer()
    assert world.lease().may_claim == ()


def test_where_anybody_may_claim_nobody_is_asked() -> None:
    """An item of an older agent: whoever could claim is not known."""
    world = cluster()
    item = world.lease()
    world.no_api.add("db1")
    world.store.write(item.but(may_claim=()), only_if=Version(item.epoch, item.token))
    desk = world.nodes["db1"].agent.keeper._desk
    assert desk.mine is not None
    desk.mine = type(desk.mine)(item.but(may_claim=()), desk.mine.valid_until, was_primary=True)
    world.run(1.0 + world.timings.ttl_s)

    assert world.said("promised") == []
    assert not world.acknowledges("db1")


def test_a_refused_renewal_ends_it_at_once_and_no_promise_helps() -> None:
    """P3: somebody's item stands there."""
    world = cluster()
    world.store.silence("away")
    assert carries(world, 30)

    world.store.answer()
    item = world.lease()
    stranger = item.but(epoch=item.epoch + 1, token="stranger", holder=Holder("db9", "i-9", "n"))
    world.store.write(stranger, only_if=Version(item.epoch, item.token))
    world.run(0.2)

    assert not world.acknowledges("db1")
    assert world.nodes["db1"].agent.keeper.mine() is None


def test_the_write_under_way_keeps_its_token_while_promises_carry() -> None:
    """L3: if it landed long ago and its answer was lost, only the same token can tell."""
    world = cluster()
    world.store.silence("away")
    world.run(3)
    pending = world.nodes["db1"].agent.keeper._desk.pending
    world.run(60)

    still = world.nodes["db1"].agent.keeper._desk.pending
    assert pending is not None
    assert still == pending


# A member


def test_a_promise_forbids_claiming_for_one_ttl() -> None:
    """db2 reaches the store all the time, and sees db1's lease end."""
    world = cluster(2)
    world.no_api.add("db1")
    world.run(world.timings.ttl_s / 2)
    promised_at = world.clock.time
    assert world.nodes["db2"].agent.promise(promise_of(world)) == ""
    world.power_off("db1")

    world.run(world.timings.ttl_s - 0.1)
    assert world.lease().epoch == 1
    assert "promised" in world.rules_of("db2")
    world.run_until(lambda: world.acknowledges("db2"))

    assert world.clock.time >= promised_at + world.timings.ttl_s
    assert overlapping_gates(world) == []


def missing_its_primary() -> tuple[World, Seal]:
    """db2 of a sync set, ready to seal: its primary is gone. And what it may be asked for."""
    world = cluster()
    item = world.lease()
    sync = item.but(sync=SyncSet(("db2", "db3"), 1, item.sync.version + 1), mode="quorum", token="by hand")
    world.no_api.add("db1")
    world.store.write(sync, only_if=Version(item.epoch, item.token))
    world.run(0.6)
    world.power_off("db1")
    world.cut_links.add(frozenset(("db2", "db3")))  # so that neither gathers the other's seal
    world.run(world.timings.suspect_after_s + 0.6)
    return world, Seal("c", item.epoch, sync.sync.version, "", against="db1")


def test_a_promise_forbids_votes_and_seals() -> None:
    world, asked = missing_its_primary()
    assert world.nodes["db2"].agent.vote(asked) == ""

    assert world.nodes["db2"].agent.promise(promise_of(world)) == ""

    assert "promised db1 not to" in world.nodes["db2"].agent.vote(asked)


def test_a_sealed_member_does_not_promise() -> None:
    world, asked = missing_its_primary()
    world.nodes["db2"].agent.seal(asked)

    assert "is sealed for epoch" in world.nodes["db2"].agent.promise(promise_of(world))


def test_a_promise_forgotten_by_a_restart_is_kept_all_the_same() -> None:
    """P1: the new life remembers nothing, and no claim, vote or seal of it comes within a ttl."""
    world = cluster(2)
    world.no_api.add("db1")
    world.run(world.timings.ttl_s - 1.2)
    assert world.nodes["db2"].agent.promise(promise_of(world)) == ""
    promised_at = world.clock.time
    world.power_off("db1")
    world.stop_agent("db2")
    world.start_agent("db2")
    assert world.nodes["db2"].agent.keeper.promises.bound() is None

    world.run(world.timings.ttl_s - 0.1)
    assert world.lease().epoch == 1
    world.run_until(lambda: world.acknowledges("db2"))
    assert world.clock.time >= promised_at + world.timings.ttl_s


def test_a_claim_that_is_under_way_refuses_a_promise() -> None:
    """→ it promises, its claim lands, it acts: two nodes write."""
    world = cluster(2)
    asked = promise_of(world)
    world.lost_answers.add("db2")
    world.power_off("db1")
    world.run_until(lambda: world.nodes["db2"].agent.keeper.claiming())

    assert "a claim of its own is under way" in world.nodes["db2"].agent.promise(asked)


def test_a_claim_decided_before_the_promise_is_not_sent_after_it() -> None:
    world = cluster(2)
    world.power_off("db1")
    world.run(world.timings.ttl_s - 0.5)
    db2 = world.nodes["db2"].agent
    seen = db2.observer._lease
    assert db2.promise(promise_of(world)) == ""

    db2.keeper.claim(seen)

    assert not db2.keeper.claiming()
    assert world.lease().epoch == 1


def test_a_claim_that_landed_after_it_was_given_up_is_not_acted_on() -> None:
    """It was sent before the promise; whoever sent it has forgotten it, and does not go on with it."""
    world = cluster(2)
    item = world.lease()
    world.store.silence("away")
    assert carries(world, 10)
    claim = item.but(epoch=item.epoch + 1, token="late", holder=Holder("db2", "i-db2", "t2"))

    world.store.answer()
    world.no_api.add("db1")
    standing = world.lease()
    world.store.write(claim, only_if=Version(standing.epoch, standing.token))
    world.run(3)

    assert world.postgres("db2").state is ServerState.STANDBY
    world.run(20)
    assert overlapping_gates(world) == []


def test_a_release_that_was_read_ends_the_promise() -> None:
    world = cluster(2)
    assert world.nodes["db2"].agent.promise(promise_of(world, ttl_s=60.0)) == ""

    world.nodes["db1"].agent.body.orders.place("db2")
    world.nodes["db1"].agent.wake()

    assert world.run_until(lambda: world.acknowledges("db2")) < world.timings.ttl_s


def test_two_askers_bind_a_member_twice_and_the_earlier_epoch_is_refused() -> None:
    world = cluster()
    first = promise_of(world)
    later = Promise("c", first.epoch + 1, Holder("db3", "i-db3", "n"), first.version + 1, first.ttl_s)
    db2 = world.nodes["db2"].agent
    world.store.silence("away")

    assert db2.promise(first) == ""
    assert db2.promise(later) == ""
    assert "was asked for epoch" in db2.promise(first)


# The holder


def test_a_holder_that_was_paused_past_its_promises_drops_before_it_asks_again() -> None:
    world = cluster()
    world.store.silence("away")
    assert carries(world, 20)
    world.freeze("db1")
    world.run(world.timings.ttl_s + 1)
    world.thaw("db1")
    world.run(0.2)

    assert not world.nodes["db1"].gate.is_open()
    assert world.nodes["db1"].agent.keeper.mine() is None


def test_the_next_life_of_the_holders_agent_goes_on_by_promises() -> None:
    world = cluster()
    world.store.silence("away")
    assert carries(world, 20)
    world.stop_agent("db1")
    world.start_agent("db1")
    assert carries(world, 30)
    world.store.answer()
    assert carries(world, 10)

    assert world.lease().epoch == 1
    assert overlapping_gates(world) == []


def test_a_new_member_may_claim_only_once_the_holder_has_named_it() -> None:
    """P2: → db4 registers where the holder cannot see it, and claims while the others keep their promises."""
    world = cluster()
    item = world.lease()
    only_two: LeaseItem = item.but(may_claim=("db1", "db2"), token="by hand")
    world.no_api.update(["db1", "db2"])
    world.store.write(only_two, only_if=Version(item.epoch, item.token))
    world.power_off("db1")
    world.run(2 * world.timings.ttl_s)

    assert world.lease().epoch == 1
    assert "only db1, db2 may claim" in str([v for _, n, _, v in world.events if n == "db3"])
