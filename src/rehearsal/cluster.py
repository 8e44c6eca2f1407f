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

ORDER_S = 180.0  # for how long an order is given again
ROOT = Path(__file__).resolve().parents[2]
# What `failoverctl status --json` prints, by a program that is there at once: polls on a busy machine must
# not be what makes it busy.
ASK_THE_AGENT = """
import socket, sys
asked = socket.socket(socket.AF_UNIX)
asked.settimeout(10)
asked.connect("/run/failover-agent/control.sock")
asked.sendall(b"GET /cluster HTTP/1.0\\r\\nHost: agent\\r\\n\\r\\n")
sys.stdout.write(asked.makefile().read().partition("\\n\\n")[2])
"""
Say = Callable[[str], None]
Status = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Wish:
    """What `./run cluster` was asked for."""

    nodes: int = 2
    stack: str = "pgpool"
    mode: str = ""  # empty: the playbooks' default
    profile: str = "balanced"
    max_connections: int = 0  # 0: the playbooks' default

    def extra_vars(self) -> list[str]:
        given = {
            "primacy_node_count": str(self.nodes),
            "ha_stack": self.stack,
            "primacy_mode": self.mode,
            "primacy_profile": self.profile,
            "postgresql_max_connections": str(self.max_connections or ""),
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
        return next((seen for node in self.lab.running("db") if (seen := self.status_of(node))), None)

    def status_of(self, node: str) -> Status | None:
        """The cluster as `node` knows it, None when its agent does not answer."""
        seen = self.lab.json_from(node, "python3", "-ISc", ASK_THE_AGENT)
        return seen if isinstance(seen, dict) and "members" in seen else None

    def mode(self) -> str:
        """The mode that the cluster is in: async, quorum or strict."""
        return str(wait_for("a node's status", self.status, timeout_s=60)["mode"])

    def order(self, node: str, *words: str) -> None:
        """failoverctl on `node`, again while it is refused.

        As a person would: the agent of a busy node answers late, and a refusal has changed nothing.
        """
        wait_for(f"failoverctl {' '.join(words)}", lambda: self._taken(node, *words) is not None, ORDER_S)

    def switch_over(self, to: str) -> str:
        """Ordered of whoever is primary, until `to` is; what failoverctl said of it, as JSON.

        Refused for a moment is a standby that streams anew, or whose agent answered late.
        """

        def ordered() -> str | None:
            primary = self.primary()
            return "" if primary == to else self._taken(primary, "switchover", "--to", to, "--yes", "--json")

        return wait_for(f"a switchover to {to} to be taken", ordered, ORDER_S)

    def _taken(self, node: str, *words: str) -> str | None:
        """What failoverctl printed; None where it refused, which is told."""
        try:
            return self.lab.execute(node, "failoverctl", *words, timeout_s=120)
        except BuildFailed as refused:
            print(refused)
            return None

    def switch_mode(self, mode: str) -> None:
        """As a person does, at run time; returns when it is in force."""
        self.order(self.primary(), "config", "--mode", mode)
        wait_for(f"mode {mode}", lambda: self.mode() == mode, timeout_s=60)

    def primary(self) -> str:
        """The node that serves as primary now; waits for one."""
        return wait_for("a primary", lambda: _primary(self.status()), timeout_s=120)

    def heir(self) -> str:
        """A standby whom a switchover may name; waits for one: who has just come back may not claim yet."""

        def found() -> str | None:
            status = self.status()
            if status is None:
                return None
            may_claim = (status["sync"] or {}).get("may_claim", ())  # empty: in mode async anybody may
            streaming = (str(m["name"]) for m in status["members"] if m["state"] == "streaming")
            return next((name for name in streaming if not may_claim or name in may_claim), None)

        return wait_for("a standby that may take over", found, timeout_s=120)

    def wait_until_whole(self, nodes: int, timeout_s: float = 240) -> Status:
        """One primary running that can be replaced, all others streaming, every endpoint routed to it."""

        def whole() -> Status | None:
            status = self.status()
            return status if status is not None and is_whole(status, nodes) else None

        return wait_for(f"{nodes} nodes running and streaming", whole, timeout_s)

    def wait_until_streaming(self, node: str, since: float, timeout_s: float = 240) -> float:
        """Seconds from `since` (time.time()) until `node` streams again."""
        wait_for(f"{node} streaming", lambda: _state(self.status(), node) == "streaming", timeout_s)
        return time.time() - since

    def alarms(self, node: str) -> list[str] | None:
        """What `node` is alarmed about, as the others hear it; None while nobody hears it."""
        status = self.status()
        members = status["members"] if status else []
        return next((m.get("alarms") for m in members if m["name"] == node), None)

    def ask(self, node: str, statement: str, database: str = "postgres") -> str:
        """What the server on `node` answers its superuser; empty when it does not."""
        words = ("psql", "-h", "/run/postgresql", "-d", database, "-XAtqc", statement)
        return self.lab.execute(node, "runuser", "-u", "postgres", "--", *words, check=False).strip()

    def nodes(self) -> dict[str, str]:
        """Addresses of the database nodes by name."""
        return {h["name"]: h["private_ip"] for h in self.lab.hosts() if h["name"].startswith("db")}


def is_whole(status: Status, nodes: int) -> bool:
    """Where commits wait for standbys, one at least vouches: else nobody but the holder may claim.

    → three volumes hung one after the other; both standbys stood back, as who gave a lease up does for 30 s.
    """
    states = sorted(member["state"] for member in status["members"])
    routed = all(endpoint["target"] == status["holder"] for endpoint in status["endpoints"])
    vouched = nodes == 1 or status["sync"] is None or bool(status["sync"]["members"])
    return states == ["running"] + ["streaming"] * (nodes - 1) and routed and vouched


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
