"""The other nodes: their agents, their clocks, and whether they let our roles in."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable

from failover_agent.adapters.inspect_host import Greeting, greet
from failover_agent.adapters.peers import client_context
from failover_agent.adapters.postgres.logins import prove_login
from failover_agent.adapters.postgres.plan import REPLICATOR, REWINDER
from failover_agent.config import Config
from failover_agent.core import verdicts
from failover_agent.core.verdicts import Errors
from failover_agent.errors import AgentError, CertificateUnfit, PeerSilent
from failover_agent.shell.doctor import Finding
from failover_agent.shell.threads import Threads
from failover_agent.wiring import member, postgres_plan

ANSWER_TIMEOUT_S = 5.0


class Neighbours:
    def __init__(self, config: Config) -> None:
        self._config = config
        self._others = tuple(member(part) for part in config.members if part.name != config.node)
        self._lock = threading.Lock()
        self._greetings: dict[str, Greeting | AgentError] | None = None

    def answer(self) -> Finding:
        """Every other agent answers, over mTLS, as the one it should be."""
        said = self._greeted()
        found = ", ".join(f"{n} {g.report.version}" for n, g in said.items() if isinstance(g, Greeting))
        silent = tuple(g for g in said.values() if isinstance(g, AgentError))
        return Finding(f"{found} answer" if found else "there are none" if not said else "", silent)

    def clocks(self, store_ahead_s: Callable[[], float]) -> Finding:
        """Ours against the store's and every agent's that answers."""
        node, offsets = self._config.node, {}
        with contextlib.suppress(AgentError):  # the check `store` says so
            offsets["the store"] = store_ahead_s()
        offsets |= {n: g.clock_ahead_s for n, g in self._greeted().items() if isinstance(g, Greeting)}
        errors = [error for there, ahead in offsets.items() for error in verdicts.clocks(node, there, ahead)]
        shown = ", ".join(f"{there} {ahead:+.1f} s" for there, ahead in offsets.items())
        return Finding(f"ahead of here: {shown}" if shown else "nobody to compare with", tuple(errors))

    def interfaces(self) -> dict[str, str]:
        """Every member's interface id by name; empty while one of them does not answer."""
        said = self._greeted()
        if any(isinstance(greeting, AgentError) for greeting in said.values()):
            return {}
        theirs = {n: g.report.interface_id for n, g in said.items() if isinstance(g, Greeting)}
        return {self._config.node: self._config.instance.interface_id, **theirs}

    def logins(self) -> Finding:
        """Both roles get into every other node's PostgreSQL by the way that a standby takes."""
        plan = postgres_plan(self._config)
        pairs = [(other.name, role) for other in self._others for role in (REPLICATOR, REWINDER)]
        errors: list[AgentError] = []

        def login(upstream: str, role: str) -> None:
            try:
                prove_login(plan, upstream, role)
            except AgentError as error:
                errors.append(error)

        Threads().all([functools.partial(login, *pair) for pair in pairs])
        return Finding(", ".join(f"{role} at {name}" for name, role in pairs), _sorted(errors))

    def _greeted(self) -> dict[str, Greeting | AgentError]:
        """Asked once for all checks."""
        with self._lock:
            if self._greetings is None:
                found: dict[str, Greeting | AgentError] = {}
                Threads().all(
                    [functools.partial(self._greet, number, found) for number in range(len(self._others))]
                )
                self._greetings = dict(sorted(found.items()))
            return self._greetings

    def _greet(self, number: int, into: dict[str, Greeting | AgentError]) -> None:
        other, tls = self._others[number], self._config.tls
        try:
            context = client_context(tls.ca, tls.cert, tls.key)
        except OSError as error:  # ssl.SSLError is one; the check `certificate` says what is wrong with it
            into[other.name] = CertificateUnfit.about(
                f"certificate {tls.cert}",
                value=f"cannot be used: {error}",
                expected="one with its key, of this cluster's CA",
                hint="Run playbooks/site.yml.",
            )
            return
        try:
            into[other.name] = greet(other, self._config.peers.port, context, ANSWER_TIMEOUT_S)
        except PeerSilent as silent:
            into[other.name] = silent


def _sorted(errors: list[AgentError]) -> Errors:
    return tuple(sorted(errors, key=lambda error: error.object))
