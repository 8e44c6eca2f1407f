"""Clusters that begin, or begin again: bootstrap, a lost lease item, power lost everywhere."""

from __future__ import annotations

import pytest
from tests.support.safety import assert_safe, serving
from tests.support.world import World

from failover_agent.core.other_facts import READY_WAIT_S


def test_a_fresh_cluster_initialises_one_node_and_clones_the_others(world: World) -> None:
    assert world.postgres("db1").starts[:2] == ["init", "primary"]
    for name in set(world.nodes) - {"db1"}:
        assert world.postgres(name).starts[0] == "clone db1"
    assert world.lease().epoch == 1
    assert world.lease().system_identifier == "made by db1"
    assert not any(node.token.here for node in world.nodes.values())
    assert set(world.tables.values()) == {"eni-db1"}


def test_a_deleted_lease_item_is_an_alarm_and_nothing_is_touched(world: World) -> None:
    world.run(5)
    world.power_off("db1")
    world.store.delete()
    for node in world.nodes.values():
        node.token.here = True
    world.run(60)

    assert serving(world) == []
    assert world.rules_of("db2")[-1] == "lease-missing"
    assert "init" not in world.postgres("db2").starts


def test_nobody_bootstraps_while_a_member_is_silent() -> None:
    world = World("db1", "db2")
    world.power_off("db2")
    world.run(60)

    assert world.store.read() is None
    assert world.rules_of("db1") == ["bootstrap-wait"]


def test_a_node_that_dies_while_it_bootstraps_is_replaced_by_the_next() -> None:
    world = World("db1", "db2", "db3")
    world.postgres("db1").refuse_start = True
    world.run_until(lambda: "init" in world.postgres("db1").starts)
    assert not world.lease().system_identifier
    world.power_off("db1")

    world.run_until(world.is_whole)

    assert serving(world) == ["db2"]
    world.power_on("db1")
    world.run(10)
    assert world.rules_of("db1")[-1] == "foreign-data", "its data was never written to; a person removes it"


def test_all_hosts_off_and_on_again_serve_the_last_primary_which_has_most_wal(world: World) -> None:
    others = set(world.nodes) - {"db1"}
    world.lagging |= others
    world.run(5)
    for name in world.nodes:
        world.power_off(name)
    world.lagging.clear()
    assert all(world.postgres(n).disk.end < world.postgres("db1").disk.end for n in others)
    world.run(5)
    for name in world.nodes:
        world.power_on(name)

    world.run_until(world.is_whole)

    assert serving(world) == ["db1"]
    assert_safe(world)


@pytest.mark.parametrize("apart_s", [0.0, 0.05, 0.5, 2.9])
@pytest.mark.parametrize(("lags", "serves"), [("db2", "db3"), ("db3", "db2")])
def test_where_the_last_primary_stays_off_hosts_that_come_back_serve_the_one_with_most_wal(
    lags: str, serves: str, apart_s: float
) -> None:
    """Whoever lags is back first, and may see the lease free while the other has yet to start (S9)."""
    world = World("db1", "db2", "db3")
    world.bring_up()
    world.lagging.add(lags)
    world.run(5)
    for name in world.nodes:
        world.power_off(name)
    world.lagging.clear()
    for name in (lags, serves):
        world.power_on(name)
        world.run(apart_s)

    world.run_until(lambda: bool(serving(world)))

    assert serving(world) == [serves]
    world.power_on("db1")
    world.run_until(world.is_whole)
    assert_safe(world)


def test_a_member_that_cannot_start_is_waited_for_a_moment_only() -> None:
    world = World("db1", "db2", "db3")
    world.bring_up()
    world.lagging.add("db2")
    world.run(5)
    for name in world.nodes:
        world.power_off(name)
    world.postgres("db3").refuse_start = True
    for name in ("db2", "db3"):
        world.power_on(name)

    took = world.run_until(lambda: bool(serving(world)))

    assert serving(world) == ["db2"]
    assert took < world.timings.ttl_s + 2 * READY_WAIT_S


@pytest.mark.parametrize("replays_for_s", [8.0, 60.0])
def test_after_a_power_loss_of_all_the_node_that_still_replays_is_waited_for_a_while(
    replays_for_s: float,
) -> None:
    world = World("db1", "db2")
    world.bring_up()
    world.run(5)
    world.lagging.add("db2")
    world.run(1)
    world.postgres("db1").replays_for_s = replays_for_s
    for name in world.nodes:
        world.power_off(name)
    world.lagging.clear()
    world.run(5)
    for name in world.nodes:
        world.power_on(name)

    world.run_until(lambda: bool(serving(world)))

    assert serving(world) == (["db1"] if replays_for_s < 30 else ["db2"])
    world.run_until(world.is_whole, limit_s=120)
    assert_safe(world)
