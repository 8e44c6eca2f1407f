"""Runs the writer on the application host and keeps what it says."""

from __future__ import annotations

import json
import time

from rehearsal import writer
from rehearsal.errors import BuildFailed
from rehearsal.history import Ack
from rehearsal.lab import Lab
from rehearsal.program import Program
from rehearsal.waiting import wait_for

INTERVAL_S = 0.01
DIRECT_INTERVAL_S = 0.1
IDS_PER_STREAM = 10_000_000
IDS_PER_SECOND = 1_000_000_000  # so that recorders of different moments never write the same id


class Acks(list[Ack]):
    """What clients were told, in the order in which their programs said so."""

    def hear(self, line: str) -> None:
        self.append(Ack(*json.loads(line)))


class Recorder:
    """A client through the virtual address, and one straight at every node to catch a second primary.

    Use as a context manager; `acks()` may be called at any time.
    """

    def __init__(self, lab: Lab, app: str, nodes: dict[str, str]) -> None:
        """`nodes` maps node names to addresses; app is the host the clients run on."""
        first = first_id()
        streams: list[tuple[str, str, float, int]] = [("writer", "service=writer", INTERVAL_S, first)]
        for number, (node, address) in enumerate(sorted(nodes.items()), start=1):
            dsn = f"service=writer host={address}"
            streams.append((node, dsn, DIRECT_INTERVAL_S, first + number * IDS_PER_STREAM))
        self._lab, self._app = lab, app
        self._acks = Acks()
        self._program = Program(lab, app, writer, json.dumps(streams), self._acks.hear)

    def __enter__(self) -> Recorder:
        self._program.__enter__()
        wait_for("the first acknowledged write", lambda: self._alive() and bool(self._acks), timeout_s=90)
        return self

    def __exit__(self, *_: object) -> None:
        self._program.__exit__()

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
        """Ids that the primary of this moment has.

        Asked through the virtual address and, as any client would, again where the door is just shut.
        """
        return wait_for(f"the rehearsal's table, read from {self._app}", self._read_ids, timeout_s=30)

    def _read_ids(self) -> set[int] | None:
        query = "select id from rehearsal"
        try:
            rows = self._lab.execute(self._app, "psql", "-XAtqc", query, "service=writer", timeout_s=60)
        except BuildFailed:
            return None
        return {int(row) for row in rows.split()}

    def _alive(self) -> bool:
        status = self._program.ended_with()
        if status is None:
            return True
        raise BuildFailed(
            f"the writer on {self._app} ended with {status} before its first write",
            hint=f"Try `./run lab exec {self._app} -- psql service=writer`.",
        )


def first_id() -> int:
    return int(time.time()) * IDS_PER_SECOND
