"""Failover is paused and resumed while the cluster runs, by one write, from any node; and it is no trap."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.safety import overlapping_gates
from tests.support.world import World

from failover_agent.core.model import Mode
from failover_agent.core.pausing import why_not_resume_here
from failover_agent.errors import FailoverPaused
from failover_agent.shell.pausing import outcome_of


@pytest.fixture(params=["async", "quorum"])
def world(request: pytest.FixtureRequest) -> World:
    mode: Mode = request.param
    made = World("db1", "db2", "db3", mode=mode, failsafe=True)
    assert made.bring_up() == "db1"
    made.run(3)
    return made


def order(world: World, pause: bool) -> dict[str, Any]:
    """By db1, which holds the lease."""
    body = world.nodes["db1"].agent.body
    ticket = body.pauses.place(pause)
    body.wake()
    world.run(1)
    assert ticket.done.is_set()
    return outcome_of(ticket)


def order_elsewhere(world: World, name: str, pause: bool) -> dict[str, Any]:
    return world.nodes[name].agent.request_pause(pause)


def paused(world: World) -> World:
    assert order(world, True)["ok"]
    return world


def epoch(world: World) -> int:
    return world.lease().epoch


def test_an_order_says_what_was_there_before_and_given_twice_changes_nothing(world: World) -> None:
    first = order(world, True)
    again = order(world, True)

    assert (first["paused"], first["before"], first["changed"]) == (True, False, True)
    assert world.lease().paused == first["since"] == again["since"] != ""
    assert (again["before"], again["changed"]) == (True, False)
    ended = order(world, False)
    assert (ended["paused"], ended["before"], ended["changed"]) == (False, True, True)
    assert ended["before_since"] == first["since"]
    assert order(world, False)["changed"] is False
    assert (world.lease().paused, epoch(world)) == ("", 1)


def test_another_node_passes_it_on_to_the_holder(world: World) -> None:
    version = world.lease().sync.version
    ticket = world.nodes["db1"].agent.body.pauses.place(True)
    refused = order_elsewhere(world, "db2", False)
    assert (refused["ok"], "one to pause is under way" in str(refused["why"])) == (False, True)

    world.run_until(ticket.done.is_set)
    assert world.lease().paused
    assert world.lease().sync.version == version, "nobody's vote for the set is void by it"


def test_status_problems_and_reports_of_every_node_tell_it(world: World) -> None:
    paused(world)

    for node in world.nodes.values():
        status = node.agent.cluster()
        assert (status["paused"], status["paused_since"]) == (True, world.lease().paused)
        assert [p for p in node.agent.problems() if isinstance(p, FailoverPaused)]
        assert node.agent.report().paused


def test_a_lost_primary_is_replaced_by_nobody_until_a_person_resumes_from_any_node(world: World) -> None:
    paused(world)
    world.power_off("db1")
    world.run(60)

    assert epoch(world) == 1
    assert {world.rules_of(n)[-1] for n in ("db2", "db3")} == {"paused"}
    before = world.lease()

    told = order_elsewhere(world, "db3", False)

    assert (told["ok"], told["changed"], told["holder"]) == (True, True, "")
    now = world.lease()
    assert now.token != before.token
    assert now.but(token="", schema_version=0) == before.but(token="", schema_version=0, paused="")
    world.run_until(lambda: any(world.acknowledges(n) for n in ("db2", "db3")))
    assert overlapping_gates(world) == []


def test_the_last_holder_comes_back_to_its_place(world: World) -> None:
    paused(world)
    world.power_off("db1")
    world.run(60)
    world.power_on("db1")

    world.run_until(lambda: world.acknowledges("db1"))

    assert world.lease().paused
    assert overlapping_gates(world) == []


def test_postgres_that_dies_starts_again_in_place(world: World) -> None:
    paused(world)
    world.postmaster_dies("db1")
    world.run(10)

    assert world.acknowledges("db1")
    assert epoch(world) == 1
    whys = [v["because"] for _, _, e, v in world.events if e == "restart-in-place"]
    assert whys[-1] == "failover is paused"


@pytest.mark.parametrize("trouble", ["hung", "stuck"])
def test_a_primary_in_trouble_stays_and_leaves_when_resumed(world: World, trouble: str) -> None:
    paused(world)
    setattr(world.nodes["db1"].probes, trouble, True)
    world.run(60)
    assert epoch(world) == 1
    assert world.nodes["db1"].agent.body.vigil.health.alarms

    assert order(world, False)["ok"]
    world.run_until(lambda: any(world.acknowledges(n) for n in ("db2", "db3")))


def test_the_pause_survives_a_switchover_and_restarts_of_agents(world: World) -> None:
    since = paused(world).lease().paused
    world.nodes["db1"].agent.body.orders.place("db2")
    world.run_until(lambda: world.acknowledges("db2"))
    world.run(3)
    for name in world.nodes:
        world.end_agent(name)
        world.start_agent(name)
        world.run(3)

    assert (world.lease().paused, world.lease().schema_version) == (since, 3)
    assert world.primary() == "db2"
    world.power_off("db2")
    world.run(30)
    assert epoch(world) == 2


def test_a_persons_failover_goes_and_the_pause_goes_on(world: World) -> None:
    paused(world)
    world.power_off("db1")
    world.run(60)

    told = world.nodes["db2"].agent.request_failover("db2", accept_loss=True)

    assert told["ok"], told
    assert "paused" in str(told["waits_for"])
    assert world.acknowledges("db2")
    assert world.lease().paused


def test_a_switch_of_the_mode_does_not_end_it(world: World) -> None:
    since = paused(world).lease().paused
    world.nodes["db1"].agent.body.modes.place("strict")
    world.run(3)

    assert (world.lease().mode, world.lease().paused, world.lease().schema_version) == ("strict", since, 3)


def test_a_pause_whose_answer_was_lost_counts_from_its_sending_and_is_settled(world: World) -> None:
    world.lost_answers.add("db1")
    ticket = world.nodes["db1"].agent.body.pauses.place(True)
    world.nodes["db1"].agent.wake()
    world.run(0.5)
    assert not ticket.done.is_set()
    world.postmaster_dies("db1")
    world.run(0.5)
    world.lost_answers.clear()
    world.run(5)

    assert (ticket.done.is_set(), ticket.sent, ticket.before) == (True, True, "")
    assert world.lease().paused
    assert epoch(world) == 1
    assert world.acknowledges("db1")


def test_a_pause_that_has_landed_is_not_written_again_with_another_time(world: World) -> None:
    keeper, since = world.nodes["db1"].agent.keeper, paused(world).lease().paused
    token = world.lease().token

    assert keeper.write_pause(1, "2031-01-01T00:00:00Z") is False
    assert (world.lease().paused, world.lease().token) == (since, token)


def test_nobody_resumes_in_the_place_of_a_holder_that_lives_by_promises(world: World) -> None:
    """Its next renewal would be refused, and it would have to go."""
    paused(world)
    world.no_api.add("db1")
    world.run(20)
    assert world.acknowledges("db1")

    for name in ("db2", "db3"):
        seen = world.nodes[name].agent.loop.seen
        assert seen is not None
        assert "by promises of" in why_not_resume_here(seen)


def test_a_pause_is_refused_where_nobody_holds_the_lease(world: World) -> None:
    world.power_off("db2")
    world.power_off("db3")
    world.power_off("db1")
    world.run(30)
    world.power_on("db2")
    world.run(0.2)

    told = order_elsewhere(world, "db2", True)

    assert (told["ok"], told["error"]) == (False, "PauseRefused")
    assert told["hint"]
    assert world.lease().paused == ""


def test_a_pause_that_lands_while_the_loop_looks_is_not_overlooked(world: World) -> None:
    """→ the item it had read was from before, and the write was settled when it asked whether one was not."""
    keeper = world.nodes["db1"].agent.keeper
    world.lost_answers.add("db1")
    assert not keeper.may_be_paused()
    mine = keeper.mine()
    assert mine is not None
    keeper.write_pause(mine.epoch, "2026-11-29T00:00:00Z")
    assert keeper.unsettled()
    assert keeper.may_be_paused()

    world.lost_answers.clear()
    world.run_until(lambda: not keeper.unsettled())

    assert keeper.may_be_paused()
