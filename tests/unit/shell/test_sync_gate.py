"""Nobody is let in before enough standbys vouch, and no data is touched that commits count on (S2, S5)."""

from __future__ import annotations

import pytest
from tests.support.quorum import three
from tests.support.safety import overlapping_gates
from tests.support.world import World

from failover_agent.core.model import Mode
from failover_agent.core.quorum import NOBODY, complaint, of_item, waits
from failover_agent.core.sync_choice import MOST_MEMBERS


def test_a_new_strict_cluster_lets_nobody_in_before_its_majority_has_the_data() -> None:
    world = World("db1", "db2", "db3", mode="strict")
    for name in ("db2", "db3"):
        world.lagging.add(name)  # cloned, and cannot stream

    world.run(15)
    assert world.postgres("db1").state.value == "primary"
    assert not any(world.acknowledges(name) for name in world.nodes)
    assert world.rules_of("db1")[-1] == "await-sync-set"
    told = [v["because"] for _, n, e, v in world.events if n == "db1" and e == "decision"][-1]
    assert str(told).endswith("waiting for db2, db3")

    world.lagging.discard("db2")
    world.run_until(lambda: world.acknowledges("db1"))
    assert of_item(world.lease().sync) == waits(["db2"], 1)


def test_a_new_quorum_cluster_goes_on_with_whom_there_is() -> None:
    world = World("db1", "db2", "db3", mode="quorum")
    for name in ("db2", "db3"):
        world.lagging.add(name)

    world.run_until(lambda: world.acknowledges("db1"))
    assert of_item(world.lease().sync) == world.postgres("db1").waits == NOBODY
    assert world.lease().may_claim == ("db1",)


@pytest.mark.parametrize("mode", ["quorum", "strict"])
def test_after_a_switchover_the_others_vouch_for_the_new_primary(mode: Mode) -> None:
    world = three(mode)
    world.nodes["db1"].agent.body.orders.place("db2")
    world.run_until(lambda: world.acknowledges("db2"))
    world.run_until(world.is_whole)
    world.run(3)

    item = world.lease()
    assert (item.holder and item.holder.name, item.mode) == ("db2", mode)
    assert of_item(item.sync) == world.postgres("db2").waits == waits(["db1", "db3"], 1)
    assert item.may_claim == ("db2", "db1", "db3")
    assert world.postgres("db1").waits == NOBODY, "who follows waits for nobody (S7)"


@pytest.mark.parametrize("mode", ["quorum", "strict"])
def test_a_restart_in_place_goes_on_waiting_for_whom_the_lease_counts_on(mode: Mode) -> None:
    world = three(mode)
    for name in ("db2", "db3"):
        world.lagging.add(name)  # nobody has everything, so nobody inherits
    world.run(1)
    world.postgres("db1").disk.end += 500
    world.postgres("db1").waits = NOBODY  # whatever the file says, the lease counts
    world.postmaster_dies("db1")
    world.run_until(lambda: world.postgres("db1").state.value == "primary")

    assert world.postgres("db1").waits == waits(["db2", "db3"], 1)
    world.run_until(lambda: world.acknowledges("db1"))
    assert complaint(world.lease().sync, world.postgres("db1").waits) == ""
    assert world.lease().epoch == 1


def test_of_four_nodes_two_standbys_vouch_and_the_third_takes_the_place_of_one_that_is_gone() -> None:
    world = World("db1", "db2", "db3", "db4", mode="quorum", most_members=MOST_MEMBERS)
    world.bring_up()
    world.run(3)
    assert of_item(world.lease().sync) == waits(["db2", "db3"], 1)

    world.power_off("db2")
    world.run(8)
    assert of_item(world.lease().sync) == world.postgres("db1").waits == waits(["db3", "db4"], 1)


def test_a_node_leaves_the_sync_set_before_it_is_granted_what_cannot_be_undone() -> None:
    world = three("quorum")
    world.run(30)
    holder = world.nodes["db1"].agent
    assert "db3" in world.lease().sync.members

    assert not holder.grant_rejoin("db3"), "something counts on its data yet"
    world.run(0.1)
    assert "db3" not in world.lease().sync.members
    assert "db3" not in world.postgres("db1").waits.members
    assert holder.grant_rejoin("db3")

    world.run(5)
    assert "db3" in world.lease().sync.members, "whole as it is, it vouches again"


def test_who_cannot_stream_is_kept_out_while_it_rests_between_two_questions() -> None:
    world = three("quorum")
    world.run(30)
    holder = world.nodes["db1"].agent
    world.lagging.add("db3")
    assert not holder.grant_rejoin("db3")
    world.run(3)

    assert holder.grant_rejoin("db3")


def test_a_node_that_rejoins_is_kept_out_until_it_is_whole() -> None:
    world = three("quorum")
    world.run(30)
    holder, rejoins = world.nodes["db1"].agent, world.nodes["db3"].agent.body.jobs
    holder.grant_rejoin("db3")
    world.run(0.1)
    assert holder.grant_rejoin("db3")

    rejoins.turn_from = "db1"
    world.run(20)
    assert "db3" not in world.lease().sync.members
    rejoins.turn_from = ""
    world.run(5)
    assert "db3" in world.lease().sync.members


def test_the_old_primary_is_rewound_and_vouches_again() -> None:
    world = three("quorum")
    world.postgres("db1").disk.end += 500  # written, and nobody heard of it
    world.power_off("db1")
    world.run_until(lambda: any(world.acknowledges(n) for n in ("db2", "db3")))
    world.power_on("db1")
    world.run_until(world.is_whole)
    world.run(5)

    assert "rewind" in " ".join(world.postgres("db1").starts)
    assert "db1" in world.lease().sync.members
    assert overlapping_gates(world) == []


def test_who_lost_its_data_gives_the_lease_away_and_may_not_come_back() -> None:
    world = three("quorum")
    world.nodes["db1"].postgres.disk.system = ""
    world.run_until(lambda: world.lease().holder is None or world.lease().epoch > 1)

    if world.lease().holder is None:
        assert world.lease().may_claim == ("db2", "db3")
        assert world.lease().released_by == "db1"
