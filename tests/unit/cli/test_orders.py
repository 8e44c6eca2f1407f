"""The orders that end sessions or lose rows, as they are given: asked first, told whole, given once."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.support.one_agent import OneAgent

from failover_agent.errors import FenceRefused

LOST = {
    "lease_lsn": "0/5000000",
    "lease_timeline": "3",
    "lsn": "0/4000000",
    "timeline": "3",
    "bytes": 1 << 24,
}
LOOK, ORDER = ({"to": "db2", "accept_loss": accepts} for accepts in (False, True))
FIELDS = {"error", "object", "value", "expected", "remedy", "message"}
NOT_RUNNING = FenceRefused.about("fence of db1", value="db2 waits for nobody", expected="one", hint="Look.")


@pytest.fixture
def behind(agent: OneAgent) -> OneAgent:
    """Of db2, which may take over with a loss."""

    def failover(body: dict[str, Any]) -> dict[str, Any]:
        done = body["accept_loss"]
        told = {
            "ok": True,
            "done": done,
            "target": body["to"],
            "lost": LOST,
            "waits_for": "failover is paused",
        }
        return told | ({"epoch": 8} if done else {})

    agent.answers["/failover"] = failover
    agent.answers["/unfence"] = lambda body: {"ok": True, "node": body["name"], "instance": "i-1"}
    agent.answers["/confirm-fenced"] = lambda body: {"ok": True, "node": body["name"]}
    agent.answers["/cluster"] = lambda _: {"holder": "db1", "members": [{"name": "db2"}]}
    agent.answers["/switchover"] = lambda _: {"ok": True, "from": "db1", "target": "db2", "outage_s": 0.4}
    return agent


def given(agent: OneAgent) -> list[tuple[str, dict[str, Any]]]:
    """What would change something, of all that was asked."""
    return [(p, body) for p, body in agent.asked if p != "/cluster" and body != LOOK]


def test_without_a_word_a_failover_only_says_what_would_be_lost(behind: OneAgent) -> None:
    done = behind.hears("failover", "--to", "db2", "--yes")

    assert (done.exit_code, done.stdout, behind.asked) == (1, "", [("/failover", LOOK)])
    assert "named 0/5000000 on timeline 3, db2 has 0/4000000 on timeline 3: 16777216 bytes" in done.stderr
    assert "it waits: failover is paused" in done.stderr
    assert "HINT: Bring the lost node back, or say --accept-loss" in done.stderr


def test_programs_read_the_loss_before_they_accept_it(behind: OneAgent) -> None:
    done = behind.hears("failover", "--to", "db2", "--json")

    told = json.loads(done.stdout)
    assert (done.exit_code, given(behind)) == (1, [])
    assert told.keys() == FIELDS | {"done", "target", "lost", "waits_for"}
    assert (told["error"], told["done"], told["lost"]) == ("LossNotAccepted", False, LOST)
    assert "--accept-loss" in told["remedy"]


ORDERS = {
    "failover": (("failover", "--to", "db2", "--accept-loss"), ("/failover", ORDER), "lose this for good?"),
    "unfence": (("unfence", "db1"), ("/unfence", {"name": "db1"}), "Let db1 back"),
    "confirm-fenced": (("confirm-fenced", "db1"), ("/confirm-fenced", {"name": "db1"}), "Are you sure"),
    "switchover": (("switchover", "--to", "db2"), ("/switchover", {"to": "db2"}), "from db1 to db2?"),
}
every_order = pytest.mark.parametrize(("words", "order", "question"), list(ORDERS.values()), ids=list(ORDERS))
Order = tuple[str, dict[str, Any]]


@every_order
def test_where_nobody_can_be_asked_nothing_is_ordered(
    behind: OneAgent, words: tuple[str, ...], order: Order, question: str
) -> None:
    done = behind.hears(*words)

    assert (done.exit_code, done.stdout, given(behind)) == (1, "", [])
    assert "nobody can be asked here" in done.stderr
    assert "HINT: Say --yes" in done.stderr
    assert question not in done.stderr


@every_order
@pytest.mark.parametrize("typed", ["n\n", "\n", "\x04"], ids=["no", "nothing", "end of input"])
def test_who_does_not_say_yes_changes_nothing(
    behind: OneAgent, words: tuple[str, ...], order: Order, question: str, typed: str
) -> None:
    done = behind.hears(*words, terminal=typed)

    assert (done.exit_code, done.stdout, given(behind)) == (1, "", [])
    assert question in done.stderr
    assert "not confirmed" in done.stderr


@every_order
def test_a_yes_gives_the_order_once(
    behind: OneAgent, words: tuple[str, ...], order: Order, question: str
) -> None:
    done = behind.hears(*words, terminal="y\n")

    assert (done.exit_code, given(behind)) == (0, [order]), done.output
    assert question in done.stderr


@every_order
def test_who_said_yes_before_is_not_asked(
    behind: OneAgent, words: tuple[str, ...], order: Order, question: str
) -> None:
    done = behind.hears(*words, "--yes")

    assert (done.exit_code, given(behind)) == (0, [order]), done.output
    assert question not in done.output


@every_order
def test_programs_read_what_came_of_it_in_one_document(
    behind: OneAgent, words: tuple[str, ...], order: Order, question: str
) -> None:
    done = behind.hears(*words, "--yes", "--json")

    assert done.exit_code == 0
    assert json.loads(done.stdout) == behind.answers[order[0]](order[1])


@every_order
def test_programs_read_a_refusal_by_its_fields_and_people_in_words(
    behind: OneAgent, words: tuple[str, ...], order: Order, question: str
) -> None:
    look = behind.answers[order[0]]
    behind.answers[order[0]] = lambda body: look(body) if body == LOOK else NOT_RUNNING.refusal("it")

    people, programs = behind.hears(*words, "--yes"), behind.hears(*words, "--yes", "--json")

    assert (people.exit_code, people.stdout, programs.exit_code) == (1, "", 1)
    assert json.loads(programs.stdout) == NOT_RUNNING.fields()
    for done in (people, programs):
        assert done.stderr.endswith("db2 waits for nobody; expected one\nHINT: Look.\n")


def test_the_loss_is_told_before_the_question(behind: OneAgent) -> None:
    done = behind.hears("failover", "--to", "db2", "--accept-loss", terminal="y\n")

    assert 0 < done.stderr.index("16777216 bytes are missing") < done.stderr.index("lose this for good?")
    assert done.stdout == "db2 serves in epoch 8; the accepted loss is noted in the store\n"


def test_a_switchover_names_the_slots_that_its_target_lacks_and_the_outage(behind: OneAgent) -> None:
    members = [{"name": "db2", "lost_logical_slots": ["cdc"]}, {"name": "db3", "lost_logical_slots": ["x"]}]
    behind.answers["/cluster"] = lambda _: {"holder": "db1", "members": members}

    done = behind.hears("switchover", "--to", "db2", terminal="y\n")

    assert 0 < done.stderr.index("logical slots cdc: lost there\n") + 1 < done.stderr.index("Hand over")
    assert "db3" not in done.stderr
    assert done.stdout == "db1 → db2, 0.40 s without a primary\n"


@pytest.mark.parametrize("words", [("status",), ("config",), ("pause",), ("doctor",)])
def test_a_configuration_that_cannot_be_read_is_told_by_its_fields(
    agent: OneAgent, words: tuple[str, ...]
) -> None:
    agent.config.unlink()

    done = agent.hears(*words, "--json")

    told = json.loads(done.stdout)
    [problem] = told["problems"] if words == ("doctor",) else [told]
    assert done.exit_code == 1
    assert problem.keys() == FIELDS
    assert (problem["error"], problem["object"]) == ("ConfigRefused", str(agent.config))
    assert all(problem.values())


def test_an_agent_that_is_not_there_is_told_by_its_fields(agent: OneAgent) -> None:
    agent.socket.unlink()

    done = agent.hears("status", "--json")

    told = json.loads(done.stdout)
    assert (done.exit_code, told["error"]) == (1, "NoAgent")
    assert all(told.values())
