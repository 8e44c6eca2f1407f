"""`failoverctl config --mode` tells what holds, and not what this node has read before."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.support.one_agent import OneAgent

from failover_agent.cli import ctl

SET = {"k": 1, "members": ["db2"], "version": 2, "commits_hang_for": [], "in_place": True, "waiting_for": ""}
OLD = {**SET, "members": ["db7"]}


def ordered(agent: OneAgent, *words: str, reads_at: int, before: str = "async") -> str:
    """By a standby that has read the lease again at its `reads_at`-th answer."""
    answers = 0

    def cluster(_: object) -> dict[str, Any]:
        nonlocal answers
        answers += 1
        if answers >= reads_at:
            return {"mode": "quorum", "sync": SET}
        return {"mode": before, "sync": None if before == "async" else OLD}

    agent.answers["/cluster"] = cluster
    agent.answers["/mode"] = lambda body: {"ok": True, "changed": True, "before": before, **body}
    done = agent.hears("config", "--mode", "quorum", *words)
    assert done.exit_code == 0, done.output
    assert agent.asked[0] == ("/mode", {"mode": "quorum"})
    return done.stdout


@pytest.mark.parametrize("reads_at", [1, 3])
def test_whom_commits_wait_for_is_told_by_the_new_lease(agent: OneAgent, reads_at: int) -> None:
    shown = ordered(agent, reads_at=reads_at)

    assert "mode quorum since now; it was async" in shown
    assert "commits wait for any 1 of db2 (version 2)" in shown


@pytest.mark.parametrize("before", ["async", "strict"])
def test_a_node_that_has_not_read_the_switch_says_so_and_nothing_of_whom_commits_wait_for(
    agent: OneAgent, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    monkeypatch.setattr(ctl, "READ_S", 0.0)

    shown = " ".join(ordered(agent, reads_at=99, before=before).split())
    told = json.loads(ordered(agent, "--json", reads_at=99, before=before))

    assert f"mode quorum since now; it was {before}" in shown
    assert f"has not read that in the store yet, and still shows mode {before}" in shown
    assert "commits wait for no" not in shown
    assert "db7" not in shown
    assert (told["mode"], told["changed"], told["sync"], told["read_here"]) == ("quorum", True, None, False)


def test_programs_read_the_set_once_the_switch_is_read(agent: OneAgent) -> None:
    told = json.loads(ordered(agent, "--json", reads_at=2))

    assert (told["mode"], told["sync"], told["read_here"]) == ("quorum", SET, True)


def test_what_holds_is_shown_without_an_order(agent: OneAgent) -> None:
    agent.answers["/cluster"] = lambda _: {"mode": "quorum", "sync": SET}

    done = agent.hears("config")

    assert done.stdout.startswith("mode quorum\ncommits wait for any 1 of db2")
    assert [path for path, _ in agent.asked] == ["/cluster"]
