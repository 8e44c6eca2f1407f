"""`failoverctl pause` and `resume` say what holds now and what did before, to people and to programs."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.support.one_agent import OneAgent

SINCE = "2026-11-29T14:52:29Z"


@pytest.fixture
def pausing(agent: OneAgent) -> OneAgent:
    """One that remembers since when it is paused."""
    now = ""

    def order(body: dict[str, Any]) -> dict[str, Any]:
        nonlocal now
        before, now = now, (now or SINCE) if body["pause"] else ""
        told = {"paused": bool(now), "since": now, "before": bool(before), "before_since": before}
        return told | {"ok": True, "changed": bool(before) != bool(now), "holder": "db1"}

    agent.answers["/pause"] = order
    return agent


def say(agent: OneAgent, *words: str) -> str:
    done = agent.hears(*words)
    assert done.exit_code == 0, done.output
    return done.stdout.strip()


def test_people_read_since_when_and_what_was_before(pausing: OneAgent) -> None:
    assert say(pausing, "pause") == f"failover is paused since {SINCE}; it was not before"
    assert say(pausing, "pause") == f"failover is paused since {SINCE}; already"
    assert say(pausing, "resume") == f"failover is not paused; it was paused since {SINCE}"
    assert say(pausing, "resume") == "failover is not paused; it was not before either"


def test_programs_read_the_same(pausing: OneAgent) -> None:
    assert json.loads(say(pausing, "pause", "--json")) == {
        "paused": True,
        "since": SINCE,
        "before": False,
        "before_since": "",
        "changed": True,
    }
    assert json.loads(say(pausing, "resume", "--json"))["changed"] is True
