"""The old holder is fenced before another is promoted: by whom, how often, and what when nobody answers."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.safety import overlapping_gates
from tests.support.world import World

from failover_agent.core.fencing import Fencing
from failover_agent.core.model import ServerState
from failover_agent.core.timings import PROFILES
from failover_agent.errors import FencePending, FenceRefused, NodeFenced

WAIT = Fencing("stop-instance", "wait")
PROMOTE = Fencing("stop-instance", "promote", timeout_s=20.0)
TTL_S = PROFILES["balanced"].ttl_s


def cluster(*names: str, fencing: Fencing = WAIT) -> World:
    world = World(*names, fencing=fencing)
    assert world.bring_up() == "db1"
    world.run(5)
    return world


def serves(world: World, name: str) -> bool:
    return world.acknowledges(name)


def problems(world: World, name: str) -> set[type]:
    return {type(error) for error in world.nodes[name].agent.problems()}


def test_the_old_holder_is_stopped_before_another_is_promoted() -> None:
    world = cluster("db1", "db2")
    order: list[str] = []
    world.postgres("db2").when_promoted = lambda: order.append(f"stopped: {sorted(world.cloud.stopped)}")
    world.stop_agent("db1")  # its PostgreSQL runs on

    world.run_until(lambda: serves(world, "db2"))

    assert order == ["stopped: ['i-db1']"]
    assert world.cloud.asked == [("db2", "i-db1")]
    world.run(TTL_S)
    assert world.lease().unfenced == ()
    assert overlapping_gates(world) == []


def test_a_handover_fences_nobody() -> None:
    world = cluster("db1", "db2")
    world.nodes["db1"].agent.body.orders.place("db2")
    world.nodes["db1"].agent.wake()

    world.run_until(lambda: serves(world, "db2"))
    world.run_until(world.is_whole)

    assert world.cloud.asked == []


def test_without_a_method_nobody_is_fenced() -> None:
    world = cluster("db1", "db2", fencing=Fencing())
    world.power_off("db1")

    world.run_until(lambda: serves(world, "db2"))

    assert world.cloud.asked == []
    assert world.lease().unfenced == ()


def test_that_the_request_was_taken_is_no_fence() -> None:
    world = cluster("db1", "db2")
    world.cloud.late.add("i-db1")
    world.stop_agent("db1")
    world.run(120)
    assert world.cloud.asked, "it was taken"
    assert not serves(world, "db2")
    assert world.lease().holder is not None, "the lease is kept meanwhile"

    world.cloud_stops("i-db1")

    assert world.run_until(lambda: serves(world, "db2")) < 5


def test_with_policy_wait_a_silent_cloud_keeps_the_cluster_waiting_and_it_says_so() -> None:
    world = cluster("db1", "db2")
    world.cloud.silent = True
    world.stop_agent("db1")

    world.run(300)

    assert not serves(world, "db2")
    assert world.nodes["db2"].agent.loop.rule == "fence-first"
    assert FencePending in problems(world, "db2")
    told = world.nodes["db2"].agent.cluster()["fencing"]
    assert told == {
        "method": "stop-instance",
        "when_unanswered": "wait",
        "waits_for": ["db1"],
        "fenced": [],
    }


def test_with_policy_promote_a_silent_cloud_is_waited_for_and_then_passed_over() -> None:
    world = cluster("db1", "db2", fencing=PROMOTE)
    world.cloud.silent = True
    world.power_off("db1")
    world.run_until(lambda: world.nodes["db2"].agent.loop.rule == "fence-first")

    took = world.run_until(lambda: serves(world, "db2"))

    assert PROMOTE.timeout_s - 1 <= took <= PROMOTE.timeout_s + 3
    world.run(TTL_S)
    assert world.lease().unfenced == (), "the wish ends with the promotion"
    assert any(event == "fence-passed-over" for _, _, event, _ in world.events)


@pytest.mark.parametrize("cloud", [{"refuses": {"i-db1"}}, {"hides": True}])
def test_with_policy_promote_a_refusal_is_not_waited_for(cloud: dict[str, Any]) -> None:
    """Neither that of the fence itself nor that of a look at it."""
    world = cluster("db1", "db2", fencing=PROMOTE)
    for name, value in cloud.items():
        setattr(world.cloud, name, value)
    world.power_off("db1")
    world.run_until(lambda: world.nodes["db2"].agent.loop.rule == "fence-first")

    assert world.run_until(lambda: serves(world, "db2")) < 5


def test_nothing_is_asked_for_any_more_once_somebody_was_promoted_without() -> None:
    world = cluster("db1", "db2", fencing=PROMOTE)
    world.cloud.silent = True
    world.power_off("db1")
    world.run_until(lambda: serves(world, "db2"))

    world.cloud.silent = False
    world.power_on("db1")
    world.run_until(world.is_whole)
    world.run(60)

    assert world.cloud.asked == [], "the old holder is a standby now"


def test_a_persons_word_ends_the_waiting_on_the_node_that_waits_and_nowhere_else() -> None:
    world = cluster("db1", "db2", "db3")
    world.cloud.silent = True
    world.power_off("db1")
    world.run_until(lambda: any(n.agent.loop.rule == "fence-first" for n in world.nodes.values() if n.up))
    waits = next(n for n, node in world.nodes.items() if node.up and node.agent.loop.rule == "fence-first")
    other = next(n for n in ("db2", "db3") if n != waits)

    with pytest.raises(FenceRefused):
        world.nodes[other].agent.confirm_fenced("db1")
    with pytest.raises(FenceRefused):
        world.nodes[waits].agent.confirm_fenced(other)
    world.nodes[waits].agent.confirm_fenced("db1")

    assert world.run_until(lambda: serves(world, waits)) < 5


@pytest.mark.parametrize("with_host", [False, True], ids=["agent", "host"])
@pytest.mark.parametrize("point", ["claimed-before-bind", "fenced-before-note", "noted-before-fence"])
def test_a_claimant_that_dies_is_continued_by_its_next_life_or_the_next_claimant(
    point: str, with_host: bool
) -> None:
    world = cluster("db1", "db2", "db3")
    world.cloud.undoes = {"subnet-1": "acl-1"}
    promoted_beside: list[set[str]] = []
    for name in ("db2", "db3"):
        world.postgres(name).when_promoted = lambda: promoted_beside.append(
            {"i-db1"} - world.cloud.stopped  # still running
        )
    world.die_at(point, with_host=with_host)
    world.stop_agent("db1")

    world.run_until(lambda: any(serves(world, n) for n in ("db2", "db3")), limit_s=90)

    assert len(world.died) == 1, "it came to pass"
    assert promoted_beside == [set()]
    assert overlapping_gates(world) == []


def test_who_claims_after_a_claimant_that_is_gone_for_good_fences_both() -> None:
    world = cluster("db1", "db2", "db3")
    world.cloud.late.add("i-db1")
    world.stop_agent("db1")
    world.run_until(lambda: bool(world.cloud.asked))
    first = world.cloud.asked[0][0]
    world.cloud.late.clear()
    world.power_off(first)
    last = next(n for n in ("db2", "db3") if n != first)

    world.run_until(lambda: serves(world, last), limit_s=90)

    assert world.cloud.stopped == {"i-db1", f"i-{first}"}


def test_a_lease_that_ends_while_the_fence_is_waited_for_fences_no_more() -> None:
    world = cluster("db1", "db2")
    world.cloud.late.add("i-db1")
    world.stop_agent("db1")
    world.run_until(lambda: bool(world.cloud.asked))

    world.store.silence("away")
    world.run(60)

    assert len(world.cloud.asked) == 1
    assert not serves(world, "db2")
    world.store.answer()
    world.cloud_stops("i-db1")
    world.run_until(lambda: serves(world, "db2"), limit_s=90)
    assert overlapping_gates(world) == []


def test_what_undoes_a_fence_is_noted_before_it_is_asked_for() -> None:
    world = cluster("db1", "db2")
    world.cloud.undoes = {"subnet-1": "acl-1"}
    world.no_notes.add("db2")
    world.power_off("db1")
    world.run(60)
    assert world.cloud.asked == [], "nobody could undo it"

    world.no_notes.clear()
    world.run_until(lambda: serves(world, "db2"))
    world.nodes["db2"].agent.unfence("db1")

    assert world.cloud.undone == [{"subnet-1": "acl-1"}]


def test_what_an_earlier_try_noted_is_not_written_over() -> None:
    """Half of the subnets are cut: what they had shows no more."""
    world = cluster("db1", "db2")
    world.cloud.undoes = {"subnet-1": "acl-1", "subnet-2": "acl-2"}
    world.cloud.late.add("i-db1")
    world.stop_agent("db1")
    world.run_until(lambda: bool(world.cloud.asked))
    world.cloud.undoes = {"subnet-2": "acl-2"}
    world.run_until(lambda: len(world.cloud.asked) > 1)
    world.cloud_stops("i-db1")
    world.run_until(lambda: serves(world, "db2"))

    world.nodes["db2"].agent.unfence("db1")

    assert world.cloud.undone == [{"subnet-1": "acl-1", "subnet-2": "acl-2"}]


def test_a_fenced_node_is_a_problem_until_a_person_lets_it_back() -> None:
    world = cluster("db1", "db2", "db3")
    world.stop_agent("db1")
    world.run_until(lambda: any(serves(world, n) for n in ("db2", "db3")))
    world.run(60)
    assert not world.nodes["db1"].up
    assert all(NodeFenced in problems(world, n) for n in ("db2", "db3"))

    world.nodes["db1"].agent_stopped = False
    world.nodes["db3"].agent.unfence("db1")
    world.run_until(world.is_whole)
    world.run(15)

    assert world.postgres("db1").state is ServerState.STANDBY
    assert not any(NodeFenced in problems(world, n) for n in ("db2", "db3"))


def test_a_fenced_node_that_somebody_started_is_none_any_more() -> None:
    world = cluster("db1", "db2")
    world.power_off("db1")
    world.run_until(lambda: serves(world, "db2"))
    world.run(15)
    assert NodeFenced in problems(world, "db2")

    world.cloud.stopped.clear()
    world.power_on("db1")
    world.run(15)

    assert NodeFenced not in problems(world, "db2")


def test_where_the_policy_says_so_a_stopped_node_is_started_once_another_serves() -> None:
    world = cluster("db1", "db2", fencing=Fencing("stop-instance", "wait", undo="automatic"))
    world.power_off("db1")

    world.run_until(lambda: serves(world, "db2"))
    assert not world.nodes["db1"].up
    world.run_until(lambda: world.postgres("db1").streaming)

    assert len(world.cloud.asked) == 1


def test_it_is_started_too_where_the_clients_of_the_new_primary_wait_for_it() -> None:
    """→ mode strict, two nodes: the new primary waited for the fenced one, and that for one that serves."""
    fencing = Fencing("stop-instance", "wait", undo="automatic")
    world = World("db1", "db2", fencing=fencing, mode="strict")
    assert world.bring_up() == "db1"
    world.run(10)
    world.power_off("db1")

    world.run_until(lambda: world.nodes["db1"].up)
    world.run_until(lambda: serves(world, "db2"))

    assert world.postgres("db1").streaming


def test_a_check_of_addresses_that_was_left_on_is_a_problem_before_it_is_needed() -> None:
    world = cluster("db1", "db2", fencing=Fencing())
    world.checked.add("eni-db2")

    world.run(200)

    assert [e.object for e in world.nodes["db2"].agent.problems()] == ["source/destination check of eni-db2"]
    assert world.nodes["db1"].agent.problems() == ()
    world.checked.clear()
    world.run(200)
    assert world.nodes["db2"].agent.problems() == ()


def test_a_stop_that_lands_after_it_was_passed_over_is_found_and_undone() -> None:
    world = cluster("db1", "db2", fencing=Fencing("stop-instance", "promote", 5.0, "automatic"))
    world.cloud.late.add("i-db1")
    world.stop_agent("db1")
    world.run_until(lambda: serves(world, "db2"))
    world.start_agent("db1")
    world.run_until(world.is_whole)

    world.cloud_stops("i-db1")
    world.run_until(lambda: not world.cloud.stopped)
    world.run_until(lambda: world.postgres("db1").streaming)

    assert world.primary() == "db2"
