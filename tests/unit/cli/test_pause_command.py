"""`failoverctl pause` and `resume` say what holds now and what did before, to people and to programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from failover_agent.cli import ctl

SINCE = "2026-11-29T14:52:29Z"


class OneAgent:
    def __init__(self) -> None:
        self.since = ""

    def _told(self, since: str) -> dict[str, Any]:
        before, self.since = self.since, since
        told = {"paused": bool(since), "since": since, "before": bool(before), "before_since": before}
        return told | {"ok": True, "changed": bool(before) != bool(since), "holder": "db1"}

    def pause(self) -> dict[str, Any]:
        return self._told(self.since or SINCE)

    def resume(self) -> dict[str, Any]:
        return self._told("")


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> OneAgent:
    one = OneAgent()
    monkeypatch.setattr(ctl, "_control", lambda _path: one)
    return one


def say(*words: str) -> str:
    done = CliRunner().invoke(ctl.main, ["--config", str(Path("none")), *words])
    assert done.exit_code == 0, done.output
    return done.output.strip()


def test_people_read_since_when_and_what_was_before(agent: OneAgent) -> None:
    assert say("pause") == f"failover is paused since {SINCE}; it was not before"
    assert say("pause") == f"failover is paused since {SINCE}; already"
    assert say("resume") == f"failover is not paused; it was paused since {SINCE}"
    assert say("resume") == "failover is not paused; it was not before either"
    assert agent.since == ""


def test_programs_read_the_same(agent: OneAgent) -> None:
    del agent

    assert json.loads(say("pause", "--json")) == {
        "paused": True,
        "since": SINCE,
        "before": False,
        "before_since": "",
        "changed": True,
    }
    assert json.loads(say("resume", "--json"))["changed"] is True
