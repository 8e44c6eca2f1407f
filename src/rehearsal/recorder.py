"""Runs the writer on the application host and keeps what it says."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from pathlib import Path

from rehearsal import writer
from rehearsal.errors import BuildFailed
from rehearsal.history import Ack
from rehearsal.lab import Lab
from rehearsal.waiting import wait_for

INTERVAL_S = 0.01
DIRECT_INTERVAL_S = 0.1
IDS_PER_STREAM = 10_000_000
IDS_PER_SECOND = 1_000_000_000  # so that recorders of different moments never write the same id


class Recorder:
    """A client through the virtual address, and one straight at every node to catch a second primary.

    Use as a context manager; `acks()` may be called at any time.
    """

    def __init__(self, lab: Lab, app: str, nodes: dict[str, str]) -> None:
        """`nodes` maps node names to addresses; app is the host the clients run on."""
        first = int(time.time()) * IDS_PER_SECOND
        streams: list[tuple[str, str, float, int]] = [("writer", "service=writer", INTERVAL_S, first)]
        for number, (node, address) in enumerate(sorted(nodes.items()), start=1):
            dsn = f"service=writer host={address}"
            streams.append((node, dsn, DIRECT_INTERVAL_S, first + number * IDS_PER_STREAM))
        self._lab, self._app, self._streams = lab, app, streams
        self._acks: list[Ack] = []
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    def __enter__(self) -> Recorder:
        program = Path(writer.__file__).read_text()
        self._process = subprocess.Popen(
            self._lab.command("exec", self._app, "--", "python3", "-uc", program, json.dumps(self._streams)),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        wait_for("the first acknowledged write", lambda: self._alive() and self._acks, timeout_s=30)
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None, "entered"
        assert self._process.stdin is not None, "opened as a pipe"
        self._process.stdin.close()
        try:
            self._process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._reader:
            self._reader.join(timeout=5)

    def acks(self) -> list[Ack]:
        return list(self._acks)

    def sent_since(self, moment: float, via: str = "writer") -> list[Ack]:
        """Acks of writes *sent* after `moment`, oldest first. Looks at nothing older: to be asked often."""
        found = []
        for ack in reversed(self._acks):
            if ack.received < moment:
                break
            if ack.via == via and ack.sent > moment:
                found.append(ack)
        return found[::-1]

    def acked_since(self, moment: float, via: str = "writer") -> bool:
        """Whether a write *sent* after `moment` was acknowledged."""
        return bool(self.sent_since(moment, via))

    def present(self) -> set[int]:
        """Ids that the primary of this moment has."""
        rows = self._lab.execute(
            self._app, "psql", "-XAtqc", "select id from rehearsal", "service=writer", timeout_s=60
        )
        return {int(row) for row in rows.split()}

    def _read(self) -> None:
        assert self._process is not None, "started before the reader"
        assert self._process.stdout is not None, "opened as a pipe"
        for line in self._process.stdout:
            self._acks.append(Ack(*json.loads(line)))

    def _alive(self) -> bool:
        assert self._process is not None, "started before anybody waits"
        if self._process.poll() is None:
            return True
        raise BuildFailed(
            f"the writer on {self._app} ended with {self._process.returncode} before its first write",
            hint=f"Try `./run lab exec {self._app} -- psql service=writer`.",
        )
