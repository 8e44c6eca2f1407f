"""Whoever is refused an order is told all that a program needs to act on it, and in which class of error."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from tests.support.world import World
from tests.unit.shell.test_accepted_loss import too_far_behind

from failover_agent.shell.agent import Agent

Order = Callable[[Agent], dict[str, object]]


def refused(world: World, by: str, order: Order) -> dict[str, object]:
    """The answer, once it is seen to be whole."""
    told = order(world.nodes[by].agent)
    assert told["ok"] is False, told
    assert all(told[name] for name in ("error", "object", "value", "expected", "remedy", "message")), told
    assert (told["why"], told["hint"]) == (told["message"], told["remedy"]), "for the release before"
    return told


@pytest.mark.parametrize(
    ("order", "error", "said"),
    [
        (lambda a: a.request_switchover("db2"), "PeerRefused", "not ended after 60 s"),
        (lambda a: a.request_failover("db1", accept_loss=True), "PeerRefused", "holds the lease"),
        (lambda a: a.request_mode("strict"), "ModeRefused", "within 15 s"),
        (lambda a: a.request_pause(pause=True), "PauseRefused", "within 15 s"),
    ],
    ids=["switchover", "failover", "mode", "pause"],
)
def test_a_primary_that_does_not_carry_out_an_order_says_of_which_and_why(
    order: Order, error: str, said: str
) -> None:
    """The world has one thread: while an order is waited for, this node has no rounds that could do it."""
    world = World("db1", "db2")
    world.bring_up()
    world.run(3)

    told = refused(world, "db1", order)

    assert (told["error"], said in str(told["why"])) == (error, True), told


@pytest.mark.parametrize(
    ("order", "error"),
    [
        (lambda a: a.request_switchover("db2"), "PeerSilent"),
        (lambda a: a.request_failover("db1", accept_loss=True), "PeerSilent"),
        (lambda a: a.request_mode("quorum"), "PeerRefused"),
        (lambda a: a.request_pause(pause=True), "PauseRefused"),
    ],
    ids=["switchover", "failover", "mode", "pause"],
)
def test_an_order_that_another_node_must_carry_out_and_does_not_hear_is_refused(
    order: Order, error: str
) -> None:
    world = World("db1", "db2")
    world.bring_up()
    world.run(3)
    world.power_off("db1")

    assert refused(world, "db2", order)["error"] == error


@pytest.mark.parametrize(("to", "said"), [("db1", "the primary already"), ("db9", "there is no node db9")])
def test_why_a_switchover_was_not_begun_is_told_whole_although_its_error_names_no_object(
    to: str, said: str
) -> None:
    world = World("db1", "db2")
    world.bring_up()
    ticket = world.nodes["db1"].agent.body.orders.place(to)
    world.run(3)
    assert ticket.error is not None
    assert not ticket.error.object

    told = ticket.error.refusal(f"switchover to {to}")

    assert (told["object"], told["expected"]) == (f"switchover to {to}", "to be carried out")
    assert said in str(told["value"])


def test_without_a_holder_there_is_nobody_to_hand_over() -> None:
    world = World("db1", "db2")

    told = refused(world, "db1", lambda a: a.request_switchover(""))

    assert told["object"] == "the lease"


def test_a_loss_that_cannot_be_noted_is_refused_by_the_name_of_the_store() -> None:
    world = too_far_behind()
    world.no_notes.add("db2")

    told = refused(world, "db2", lambda a: a.request_failover("db2", accept_loss=True))

    assert told["error"] == "StoreUnreachable"
