"""`failoverctl config --mode` tells what holds, and not what this node has read before."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner

from failover_agent.cli import ctl

SET = {"k": 1, "members": ["db2"], "version": 2, "commits_hang_for": [], "in_place": True, "waiting_for": ""}


class OneAgent:
    """Of a standby: it reads the lease again at its `reads_at`-th answer."""

    def __init__(self, reads_at: int) -> None:
        self.reads_at = reads_at
        self.answers = 0

    def switch_mode(self, mode: str) -> dict[str, Any]:
        return {"ok": True, "changed": True, "before": "async", "mode": mode}

    def cluster(self) -> dict[str, Any]:
        self.answers += 1
        read = self.answers >= self.reads_at
        return {"mode": "quorum", "sync": SET} if read else {"mode": "async", "sync": None}


def ordered(monkeypatch: pytest.MonkeyPatch, agent: OneAgent, *words: str) -> str:
    monkeypatch.setattr(ctl, "_control", lambda _path: agent)
    done = CliRunner().invoke(ctl.main, ["config", "--mode", "quorum", *words])
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.parametrize("reads_at", [1, 3])
def test_whom_commits_wait_for_is_told_by_the_new_lease(
    monkeypatch: pytest.MonkeyPatch, reads_at: int
) -> None:
    shown = ordered(monkeypatch, OneAgent(reads_at))

    assert "mode quorum since now; it was async" in shown
    assert "commits wait for any 1 of db2 (version 2)" in shown


def test_a_node_that_does_not_read_the_lease_tells_what_it_knows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctl, "READ_S", 0.0)

    told = json.loads(ordered(monkeypatch, OneAgent(reads_at=99), "--json"))

    assert (told["mode"], told["changed"], told["sync"]) == ("quorum", True, None)
