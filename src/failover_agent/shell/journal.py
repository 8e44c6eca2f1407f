"""What the agent says: one event per change of decision, and the phases of a takeover.

Every line is `key=value`; an incident can be read from them alone. Phases carry the wall
clock so that the journals of several nodes make one timeline.
"""

from __future__ import annotations

import sys
from collections.abc import Callable

import structlog

from failover_agent.core.model import Unknown
from failover_agent.core.rules.parts import Decision
from failover_agent.errors import AgentError, from_fields

TROUBLE_LASTS_S = 60.0

Sink = Callable[[str, dict[str, object]], None]


def to_stdout() -> None:
    """Send every event to standard output as key=value, where journald picks it up."""
    structlog.configure(
        processors=[structlog.processors.LogfmtRenderer(key_order=["event"], bool_as_flag=False)],
        logger_factory=structlog.PrintLoggerFactory(sys.stdout),
        cache_logger_on_first_use=True,
    )


def _structlog_sink(event: str, values: dict[str, object]) -> None:
    structlog.get_logger().info(event, **values)


class Journal:
    """Says each thing once: repeats of a decision or of a trouble are left out until it changes."""

    def __init__(self, wall: Callable[[], float], sink: Sink = _structlog_sink) -> None:
        self._wall = wall
        self._sink = sink
        self._said: dict[str, object] = {}
        self._troubles: dict[str, tuple[float, AgentError]] = {}  # where → when last, what

    def event(self, event: str, **values: object) -> None:
        self._sink(event, values)

    def phase(self, name: str, epoch: int) -> None:
        """`suspected`, `detected`, `claimed`, `fenced`, `promoted`, `opened` or `routed`, at this moment."""
        self._sink("phase", {"name": name, "epoch": epoch, "at": round(self._wall(), 4)})

    def decision(self, decision: Decision, epoch: int) -> None:
        """Say a decision when it differs from the last one."""
        values: dict[str, object] = {"rule": decision.rule, "epoch": epoch, "because": decision.because}
        self.once("decision", **values)

    def once(self, event: str, **values: object) -> None:
        """Say it unless it is what was said last under this event name."""
        if self._said.get(event) != values:
            self._said[event] = values
            self._sink(event, values)

    def trouble(self, where: str, why: object) -> None:
        """Something foreseen went wrong at `where`; said again only when the reason changes."""
        key = f"trouble {where}"
        text = str(why.why if isinstance(why, Unknown) else why).replace("\nHINT: ", "; hint: ")
        self._troubles[where] = (self._wall(), _as_error(where, why))
        if self._said.get(key) != text:
            self._said[key] = text
            self._sink("trouble", {"where": where, "why": text})

    def fine(self, where: str) -> None:
        """`where` works (again)."""
        self._troubles.pop(where, None)
        if self._said.pop(f"trouble {where}", None) is not None:
            self._sink("fine", {"where": where})

    def troubles(self) -> tuple[AgentError, ...]:
        """What is wrong at this moment: neither fine again, nor silent for long.

        Who meets a trouble again says it again; what happened once and was got round is history.
        """
        now = self._wall()
        return tuple(
            error for at, error in self._troubles.copy().values() if abs(now - at) <= TROUBLE_LASTS_S
        )


def _as_error(where: str, why: object) -> AgentError:
    """By its class where there is one, and never without an object."""
    error = why.cause if isinstance(why, Unknown) else why
    if isinstance(error, AgentError):
        named = {**error.fields(), "object": error.object or where, "value": error.value or error.args[0]}
        return from_fields(named)
    text = why.why if isinstance(why, Unknown) else str(why)
    return AgentError.about(where, value=text, expected="to work", hint="It is tried again; see the journal.")
