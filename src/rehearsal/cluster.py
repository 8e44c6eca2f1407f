"""A whole cluster in the lab: built by the project's own playbooks, looked at by failoverctl."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rehearsal.errors import BuildFailed
from rehearsal.lab import Lab
from rehearsal.waiting import wait_for

ROOT = Path(__file__).resolve().parents[2]
Say = Callable[[str], None]
Status = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Wish:
    """What `./run cluster` was asked for."""

    nodes: int = 2
    stack: str = "pgpool"
    mode: str = ""  # empty: the playbooks' default
    profile: str = "balanced"

    def extra_vars(self) -> list[str]:
        given = {
            "primacy_node_count": str(self.nodes),
            "ha_stack": self.stack,
            "primacy_mode": self.mode,
            "primacy_profile": self.profile,
        }
        return [word for key, value in given.items() if value for word in ("-e", f"{key}={value}")]


@dataclass(frozen=True, slots=True)
class Cluster:
    lab: Lab
    app: str = "app1"

    def play(self, playbook: str, wish: Wish, say: Say, log: Path, *words: str) -> dict[str, int]:
        """Run a playbook of ours to its end, with further `words` of ansible-playbook; returns the totals
        of its recap by word.

        Every task's name goes to `say`, everything to `log`.
        """
        command = [
            "ansible-playbook",
            f"playbooks/{playbook}",
            "-i",
            "inventory/lab",
            *wish.extra_vars(),
            *words,
        ]
        with log.open("w") as kept:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env={**self.lab.environment(), "ANSIBLE_FORCE_COLOR": "0"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            assert process.stdout is not None, "opened as a pipe"
            for line in process.stdout:
                kept.write(line)
                if line.startswith(("TASK [", "PLAY [")):
                    say(line.split("[", 1)[1].rsplit("]", 1)[0])
        if process.wait():
            raise BuildFailed(
                f"playbooks/{playbook} failed:\n{_last_failure(log)}",
                hint=f"The whole of it stands in {log}.",
            )
        return recap(log.read_text())

    def status(self) -> Status | None:
        """What failoverctl says on the first node that answers, None when none does."""
        for node in self.lab.running("db"):
            seen = self.lab.json_from(node, "failoverctl", "status", "--json")
            if isinstance(seen, dict):
                return seen
        return None

    def primary(self) -> str:
        """The node that serves as primary now; waits for one."""
        return wait_for("a primary", lambda: _primary(self.status()), timeout_s=120)

    def wait_until_whole(self, nodes: int, timeout_s: float = 240) -> Status:
        """One primary running, all others streaming, every endpoint routed to the holder."""

        def whole() -> Status | None:
            status = self.status()
            return status if status is not None and is_whole(status, nodes) else None

        return wait_for(f"{nodes} nodes running and streaming", whole, timeout_s)

    def wait_until_streaming(self, node: str, since: float, timeout_s: float = 240) -> float:
        """Seconds from `since` (time.time()) until `node` streams again."""
        wait_for(f"{node} streaming", lambda: _state(self.status(), node) == "streaming", timeout_s)
        return time.time() - since

    def nodes(self) -> dict[str, str]:
        """Addresses of the database nodes by name."""
        return {h["name"]: h["private_ip"] for h in self.lab.hosts() if h["name"].startswith("db")}


def is_whole(status: Status, nodes: int) -> bool:
    states = sorted(member["state"] for member in status["members"])
    routed = all(endpoint["target"] == status["holder"] for endpoint in status["endpoints"])
    return states == ["running"] + ["streaming"] * (nodes - 1) and routed


def recap(output: str) -> dict[str, int]:
    """Sums of ok, changed, failed … over the hosts of a playbook's recap."""
    totals: dict[str, int] = {}
    for line in output.rpartition("PLAY RECAP")[2].splitlines():
        for word in line.partition(" : ")[2].split():
            key, _, value = word.partition("=")
            totals[key] = totals.get(key, 0) + int(value)
    return totals


def _primary(status: Status | None) -> str | None:
    members = status["members"] if status else []
    return next((str(m["name"]) for m in members if m["role"] == "primary" and m["state"] == "running"), None)


def _state(status: Status | None, node: str) -> str | None:
    members = status["members"] if status else []
    return next((str(m["state"]) for m in members if m["name"] == node), None)


def _last_failure(log: Path) -> str:
    lines = log.read_text().splitlines()
    failed = [i for i, line in enumerate(lines) if line.startswith(("fatal:", "[ERROR]", "ERROR"))]
    start = failed[0] if failed else max(0, len(lines) - 30)
    return "\n".join(line[:600] for line in lines[start : start + 25])
