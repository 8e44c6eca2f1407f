"""Who else stood still: two controls beside the clients, and what is left for the agent to answer for.

    writer   app1 ── network ── route ── gate ── PostgreSQL     what clients see
    echo     app1 ── network ── a port that no gate guards      the network, and a starved machine
    local    Unix socket on the primary's host ── PostgreSQL    PostgreSQL itself, and a starved machine

Both controls come with the same client code. A gap of the writer that neither of them shares was made by
what only the agent touches: the gate, the virtual address, the route. What the agent does to PostgreSQL
(a stop, a restart, a promotion) stops the local control as well; so nothing excuses a gap in which an
agent began a takeover or opened its gate anew: see `Verdict`.
"""

from __future__ import annotations

import json
from contextlib import ExitStack
from dataclasses import dataclass

from rehearsal import echo, writer
from rehearsal.aws import port_open
from rehearsal.cluster import Cluster
from rehearsal.history import Ack, gaps, unexplained_s
from rehearsal.program import Program
from rehearsal.recorder import Acks, first_id
from rehearsal.waiting import wait_for

ECHO_PORT = 7007
INTERVAL_S = 0.02
EXCUSE_OVER_S = 0.1  # a control that waits longer than this stands still
# The nodes' own interpreter with psycopg; only the superuser is let in by the socket.
AGENTS_PYTHON = ("runuser", "-u", "postgres", "--", "/opt/failover-agent/current/venv/bin/python")
LOCAL_DSN = "host=/run/postgresql dbname=postgres user=postgres"


class Controls:
    """Both controls, for one primary. Use as a context manager."""

    def __init__(self, cluster: Cluster, primary: str) -> None:
        self._cluster, self._primary = cluster, primary
        self._acks = Acks()
        self._stack = ExitStack()

    def __enter__(self) -> Controls:
        lab, host, app = self._cluster.lab, self._primary, self._cluster.app
        address = self._cluster.nodes()[host]
        streams = [("local", LOCAL_DSN, INTERVAL_S, first_id())]
        with ExitStack() as stack:
            stack.enter_context(port_open(lab, host, ECHO_PORT))
            stack.enter_context(Program(lab, host, echo, f"server {ECHO_PORT}", print))
            asked = f"client {address} {ECHO_PORT} {INTERVAL_S}"
            stack.enter_context(Program(lab, app, echo, asked, self._acks.hear))
            stack.enter_context(
                Program(lab, host, writer, json.dumps(streams), self._acks.hear, python=AGENTS_PYTHON)
            )
            wait_for("both controls", lambda: {"echo", "local"} <= {a.via for a in self.acks()}, 90)
            self._stack = stack.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def acks(self) -> list[Ack]:
        return list(self._acks)


@dataclass(frozen=True, slots=True)
class Verdict:
    """The writer's gaps within a span of time, and whose they were."""

    longest_s: float  # the writer's longest gap
    agents_s: float  # the most of one gap that no control shares
    controls_s: float  # the longest gap of a control: how starved the machine or its network was


def judge(clients: list[Ack], controls: list[Ack], since: float, until: float, undisturbed: bool) -> Verdict:
    """`undisturbed`: no agent took over or opened its gate anew. Else a control excuses nothing."""
    own = gaps(clients, "writer", since, until)
    excuses = [
        gap for via in ("echo", "local") for gap in gaps(controls, via, since - 1, until + 1, EXCUSE_OVER_S)
    ]
    accepted = excuses if undisturbed else []
    return Verdict(
        longest_s=max((gap.seconds for gap in own), default=until - since),
        agents_s=max((unexplained_s(gap, accepted) for gap in own), default=until - since),
        controls_s=max((gap.seconds for gap in excuses), default=0.0),
    )
