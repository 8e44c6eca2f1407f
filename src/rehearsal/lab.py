"""The lab as its users have it: the `ec2-lab` command."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ec2_lab import control
from ec2_lab.errors import LabError
from ec2_lab.model import LabPaths
from rehearsal.errors import BuildFailed

EC2_LAB = str(Path(sys.executable).parent / "ec2-lab")


@dataclass(frozen=True, slots=True)
class Lab:
    name: str

    def command(self, *words: str) -> list[str]:
        return [EC2_LAB, "--lab", self.name, *words]

    def call(self, *words: str, timeout_s: float = 120, check: bool = True) -> str:
        """Standard output of one command; raises BuildFailed with its words when it fails."""
        try:
            done = subprocess.run(
                self.command(*words),
                capture_output=True,
                text=True,
                timeout=timeout_s,
                stdin=subprocess.DEVNULL,
            )
        except subprocess.TimeoutExpired as late:
            raise BuildFailed(
                f"ec2-lab {' '.join(words[:5])} did not end within {timeout_s:g} s",
                hint="./run lab status shows whether the host runs; what was begun on it goes on.",
            ) from late
        if check and done.returncode:
            raise BuildFailed(
                f"ec2-lab {' '.join(words[:3])} ended with {done.returncode}: {done.stderr.strip()[-800:]}",
                hint="./run lab status shows the lab, its log lies beside its sockets in /run/ec2-lab.",
            )
        return done.stdout

    def up(self, say: IO[str]) -> None:
        """Bring the lab up, its progress going to `say`."""
        done = subprocess.run(self.command("up"), stdout=say, stderr=say)
        if done.returncode:
            raise BuildFailed(f"ec2-lab up ended with {done.returncode}", hint="Its words stand above.")

    def down(self) -> None:
        self.call("down", timeout_s=180)

    def is_up(self) -> bool:
        done = subprocess.run(self.command("status", "--json"), capture_output=True, text=True)
        return done.returncode == 0

    def _ask(self, path: str, order: dict[str, object] | None = None) -> Any:
        """What the command would ask, without a process for it: on a busy machine each costs seconds."""
        try:
            return control.call(LabPaths(self.name), path, order)
        except LabError as error:
            raise BuildFailed(f"lab {self.name}: {error.args[0]}", hint=error.hint) from error

    def hosts(self) -> list[dict[str, str]]:
        found: list[dict[str, str]] = self._ask("/hosts")
        return found

    def history(self, count: int = 1000) -> list[dict[str, Any]]:
        """The newest calls of the API, oldest first."""
        found: list[dict[str, Any]] = self._ask(f"/history?count={count}")
        return found

    def running(self, prefix: str) -> list[str]:
        """Names of running hosts whose name starts with `prefix`, sorted."""
        return sorted(
            h["name"] for h in self.hosts() if h["name"].startswith(prefix) and h["state"] == "running"
        )

    def instance_id(self, host: str) -> str:
        return next(h["id"] for h in self.hosts() if h["name"] == host)

    def execute(self, host: str, *argv: str, timeout_s: float = 30, check: bool = True) -> str:
        return self.call("exec", host, "--", *argv, timeout_s=timeout_s, check=check)

    def fault(self, verb: str, *words: str) -> None:
        """`fault("crash", "db1")`, or with the API's own words: `fault("api", "slow", "2")`."""
        if verb == "api":
            self.call("fault", "api", *words)
            return
        (host,) = words
        order: dict[str, object] = {"verb": verb, "host": host}
        self._ask("/fault", order)

    def environment(self) -> dict[str, str]:
        """Our environment with what `ec2-lab env` exports, the lab's name, and a place for the secrets.

        The secrets lie beside the lab's disks and go with them: a new lab is a new cluster, and what
        the controller remembers of an old one (that it was initialised) must not be taken for it.
        """
        exported = {}
        for line in self.call("env").splitlines():
            if line.startswith("export ") and "=" in line:
                key, value = line.removeprefix("export ").split("=", 1)
                exported[key] = value.strip("'\"")
        secrets = {"PRIMACY_SECRETS_DIR": str(LabPaths(self.name).disks / "secrets")}
        return {**os.environ, **exported, **secrets, "EC2_LAB": self.name}

    def json_from(self, host: str, *argv: str, timeout_s: float = 45) -> Any | None:
        """Parsed standard output of a command on a host, None when it failed or said no JSON.

        The time is for a busy machine: what is given up too early looks like a node that is silent.
        """
        try:
            return json.loads(self.execute(host, *argv, timeout_s=timeout_s))
        except (BuildFailed, subprocess.TimeoutExpired, json.JSONDecodeError):
            return None
