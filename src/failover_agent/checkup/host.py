"""This host: PostgreSQL and its data, certificate, disk, gate, units, and what its agent says."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from failover_agent.adapters import inspect_host
from failover_agent.adapters.clock import SystemClock
from failover_agent.adapters.control_client import Control
from failover_agent.adapters.gate import NftGate
from failover_agent.adapters.postgres import LocalPostgres
from failover_agent.adapters.postgres.interrupted import is_half_rewound
from failover_agent.adapters.postgres.on_disk import refuse_half_cloned
from failover_agent.adapters.systemd import Unit
from failover_agent.config import Config
from failover_agent.core import verdicts
from failover_agent.core.model import Server, ServerState, Unknown
from failover_agent.core.problems import half_rewound, postgres_silent
from failover_agent.errors import AgentError, from_fields
from failover_agent.shell.doctor import Finding
from failover_agent.wiring import gate_plan, postgres_plan

GATE_UNIT, AGENT_UNIT = "failover-gate.service", "failover-agent.service"
RUNS = (ServerState.STANDBY, ServerState.PRIMARY)
LOOKS = 5  # each is bounded by a second, which is short where the doctor itself waits for a processor


def look_again(observe: Callable[[], Server | Unknown]) -> Server | Unknown:
    """What a look showed: the last of several, where each met silence."""
    for _ in range(LOOKS - 1):
        if not isinstance(seen := observe(), Unknown):
            return seen
    return observe()


class Host:
    def __init__(self, config: Config, unit: Unit) -> None:
        self._config = config
        self.plan = postgres_plan(config)
        self._postgres = LocalPostgres(self.plan, unit, SystemClock())
        self._lock = threading.Lock()
        self._seen: Server | Unknown | None = None

    def server(self) -> Server:
        """PostgreSQL here, looked at once for all checks. Raises AgentError: silent, or data not whole."""
        if is_half_rewound(self.plan):
            raise half_rewound(str(self.plan.data_dir))
        with self._lock:
            if self._seen is None:
                self._seen = look_again(self._postgres.observe)
        if isinstance(self._seen, Unknown):
            raise self._seen.cause or postgres_silent(self._seen)
        if self._seen.state is ServerState.ABSENT:
            refuse_half_cloned(self.plan.data_dir)
        return self._seen

    def has_no_data(self) -> bool:
        try:
            return self.server().state is ServerState.ABSENT
        except AgentError:
            return False

    def postgresql(self) -> Finding:
        """It runs and lets the agent in over its socket."""
        server = self.server()
        if server.state not in RUNS:
            return Finding(server.state.value)
        follows = f", follows {server.upstream}" if server.upstream else ""
        return Finding(f"{server.state.value} on timeline {server.timeline}{follows}; lets the agent in")

    def certificate(self) -> Finding:
        tls = self._config.tls
        valid = inspect_host.certificate(tls.ca, tls.cert, tls.key, self._config.node)
        now = time.time()
        days = (valid.not_after - now) / verdicts.DAY_S
        errors = verdicts.certificate(str(tls.cert), now, valid.not_before, valid.not_after)
        return Finding(f"{tls.cert} for {self._config.node}, {days:.0f} days", errors)

    def disk(self) -> Finding:
        paths = (self._config.postgres.data_dir, self._config.state_dir)
        rooms = {path: inspect_host.room(path) for path in paths}
        errors = [e for path, (free, size) in rooms.items() for e in verdicts.disk(str(path), free, size)]
        shown = (f"{path}: {free / size:.0%} free" for path, (free, size) in rooms.items())
        return Finding("; ".join(shown), tuple(errors))

    def gate(self) -> Finding:
        intact = NftGate(gate_plan(self._config), SystemClock()).intact()
        return Finding("its table stands as written" if intact else "", verdicts.gate(intact))

    def units(self) -> Finding:
        """PostgreSQL's unit may rest: whether it runs is the agent's decision."""
        states = inspect_host.unit_states((GATE_UNIT, AGENT_UNIT))
        errors = [error for name, state in states.items() for error in verdicts.unit(name, state)]
        return Finding(", ".join(f"{name} {state}" for name, state in states.items()), tuple(errors))

    def agent(self) -> Finding:
        """What the agent itself has to say at this moment."""
        cluster = Control(self._config.run_dir / "control.sock").cluster()
        errors = tuple(from_fields(fields) for fields in cluster.get("problems", ()))
        return Finding(f"rule {cluster.get('rule', 'not told')}", errors)
