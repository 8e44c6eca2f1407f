"""What commits are promised is switched while the cluster runs, by one write of the holder, from any node."""

from __future__ import annotations

from typing import Any

import pytest
from tests.support.quorum import three
from tests.support.world import World

from failover_agent.core.model import Mode
from failover_agent.core.quorum import NOBODY, complaint, of_item, waits
from failover_agent.errors import AgentError, CommitsWait, ModeRefused, SyncSetAwaited
from failover_agent.shell.orders import ModeTicket

BOTH = waits(["db2", "db3"], 1)


def switch(world: World, mode: Mode) -> ModeTicket:
    agent = world.nodes["db1"].agent
    ticket = agent.body.modes.place(mode)
    agent.wake()
    world.run(1)
    return ticket


def status(world: World, name: str = "db1") -> dict[str, Any]:
    return world.nodes[name].agent.cluster()


def problems(world: World) -> list[AgentError]:
    return list(world.nodes["db1"].agent.problems())


@pytest.mark.parametrize(
    ("before", "after"),
    [("async", "quorum"), ("async", "strict"), ("quorum", "strict"), ("strict", "quorum")],
)
def test_towards_waiting_the_set_is_in_place_in_a_moment_and_nobody_is_shut_out(
    before: Mode, after: Mode
) -> None:
    world = three(before)
    openings = len(world.nodes["db1"].gate.openings)

    ticket = switch(world, after)
    assert (ticket.done.is_set(), ticket.error, ticket.before) == (True, None, before)
    world.run(2)

    item = world.lease()
    assert (item.mode, item.schema_version, item.may_claim) == (after, 2, ("db1", "db2", "db3"))
    assert of_item(item.sync) == world.postgres("db1").waits == BOTH
    assert len(world.nodes["db1"].gate.openings) == openings
    assert status(world)["sync"]["in_place"]


@pytest.mark.parametrize("before", ["quorum", "strict"])
def test_back_to_async_the_store_is_told_first(before: Mode) -> None:
    world = three(before)
    world.events.clear()

    switch(world, "async")

    told = [e for _, _, e, _ in world.events if e in ("mode", "waits-for", "sync-set")]
    assert told == ["mode", "waits-for"]
    item = world.lease()
    assert (item.mode, item.schema_version, item.may_claim) == ("async", 1, ())
    assert of_item(item.sync) == world.postgres("db1").waits == NOBODY
    assert status(world)["sync"] is None


def test_there_and_back_again_in_one_epoch_leaves_nobody_waited_for() -> None:
    world = three("async")
    switch(world, "quorum")
    world.run(2)
    assert world.postgres("db1").waits == BOTH
    switch(world, "async")
    assert world.postgres("db1").waits == NOBODY


def test_an_order_for_the_mode_there_is_changes_nothing() -> None:
    world = three("quorum")
    version = world.lease().sync.version

    ticket = switch(world, "quorum")

    assert (ticket.done.is_set(), ticket.before, world.lease().sync.version) == (True, None, version)


def test_an_order_to_another_node_is_passed_on_and_one_without_a_holder_is_refused() -> None:
    world = three("async")
    world.nodes["db1"].agent.body.modes.place("quorum")  # the one that is passed on is the second
    answer = world.nodes["db2"].agent.request_mode("strict")
    assert not answer["ok"]
    assert "one to quorum is under way" in str(answer["why"])

    world.nodes["db2"].agent.observer.holder_name = ""
    answer = world.nodes["db2"].agent.request_mode("strict")
    assert (answer["ok"], answer["error"], answer["object"]) == (False, "ModeRefused", "the lease")
    assert answer["hint"]


def test_strict_is_refused_while_too_few_standbys_stream() -> None:
    world = three("quorum")
    world.power_off("db2")
    world.power_off("db3")
    world.run(8)

    ticket = switch(world, "strict")

    assert isinstance(ticket.error, ModeRefused)
    assert "db2, db3" in ticket.error.value
    assert world.lease().mode == "quorum"


@pytest.mark.parametrize(("before", "after"), [("async", "quorum"), ("quorum", "async")])
def test_a_switch_is_ended_by_the_next_life(before: Mode, after: Mode) -> None:
    world = three(before)
    world.die_at("switched-before-sync", with_host=False)

    world.nodes["db1"].agent.body.modes.place(after)
    world.run_until(lambda: bool(world.died))
    assert complaint(world.lease().sync, world.postgres("db1").waits) == ""
    world.run(5)

    assert (world.died, world.lease().mode) == (["db1"], after)
    assert (
        of_item(world.lease().sync) == world.postgres("db1").waits == (BOTH if after == "quorum" else NOBODY)
    )


def test_a_switch_whose_answer_was_lost_is_settled_before_it_counts() -> None:
    world = three("quorum")
    world.lost_answers.add("db1")
    ticket = switch(world, "async")
    assert not ticket.done.is_set()
    assert world.postgres("db1").waits == BOTH, "S4: nothing is loosened on a guess"

    world.lost_answers.clear()
    world.run(2)
    assert (ticket.done.is_set(), ticket.before, world.lease().mode) == (True, "quorum", "async")
    assert world.postgres("db1").waits == NOBODY


def test_the_mode_that_the_lease_names_survives_a_failover_and_another_configuration() -> None:
    world = three("async")
    switch(world, "quorum")
    world.run(3)
    world.nodes["db1"].agent.body.orders.place("db2")
    world.run_until(lambda: world.acknowledges("db2"))
    world.run(3)

    assert world.lease().mode == "quorum"
    assert {status(world, name)["mode"] for name in world.nodes} == {"quorum"}


def test_commits_that_hang_are_told_with_who_is_away_and_what_to_do() -> None:
    world = three("strict")
    assert problems(world) == []
    world.power_off("db2")
    world.power_off("db3")
    world.run(3)

    [hang] = [p for p in problems(world) if isinstance(p, CommitsWait)]
    assert "db2, db3" in hang.value
    assert hang.hint
    assert status(world)["sync"]["commits_hang_for"] == ["db2", "db3"]


def test_a_gate_that_waits_for_standbys_is_told() -> None:
    world = World("db1", "db2", "db3", mode="strict")
    world.lagging.update(("db2", "db3"))
    world.run(10)

    [waits_for] = [p for p in problems(world) if isinstance(p, SyncSetAwaited)]
    assert "db2, db3" in waits_for.value
    assert status(world, "db2")["sync"]["in_place"] is False, "the others tell it as well"


def test_who_is_not_promoted_yet_switches_nothing_so_that_the_one_before_it_may_come_back() -> None:
    """→ it wrote that it alone may claim, and died: who had all that was acknowledged was shut out."""
    world = three("async")
    world.postgres("db1").disk.end += 1 << 30
    world.run(5)
    for name in ("db2", "db3"):
        world.postgres(name).fall_behind(60.0)
    world.power_off("db1")
    world.run_until(lambda: any("await-replay" in world.rules_of(n) for n in world.nodes))
    new = next(n for n in world.nodes if "await-replay" in world.rules_of(n))
    agent = world.nodes[new].agent

    ticket = agent.body.modes.place("quorum")
    agent.wake()
    world.run(1)

    assert isinstance(ticket.error, ModeRefused)
    assert "not promoted yet" in ticket.error.value
    assert (world.lease().mode, world.lease().may_claim) == ("async", ())

    world.run_until(lambda: world.acknowledges(new), limit_s=120)
    ticket = agent.body.modes.place("quorum")
    agent.wake()
    world.run(1)
    assert (ticket.error, world.lease().mode) == (None, "quorum")


def test_a_promoted_primary_whose_gate_waits_for_standbys_is_let_in_by_a_switch() -> None:
    """In strict nobody is served until enough standbys vouch: who has none left orders another mode."""
    world = three("strict")
    world.nodes["db1"].agent.body.orders.place("db2")
    world.run_until(lambda: world.lease().last_holder == "db2")
    world.lagging.update(("db1", "db3"))
    world.run(10)
    assert world.rules_of("db2")[-1] == "await-sync-set"

    answer = world.nodes["db2"].agent.body.modes.place("async")
    world.nodes["db2"].agent.wake()
    world.run(2)

    assert (answer.error, world.lease().mode) == (None, "async")
    assert world.acknowledges("db2")
