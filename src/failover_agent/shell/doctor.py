"""Runs the doctor's checks beside each other, none longer than the whole may take.

A check looks and says what it found and what is wrong with it. It never changes anything; a check that
hangs is named and left behind.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from failover_agent.errors import AgentError, CheckTookTooLong
from failover_agent.ports import Clock
from failover_agent.shell.threads import Workers


@dataclass(frozen=True, slots=True)
class Finding:
    found: str
    errors: tuple[AgentError, ...] = ()


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    look: Callable[[], Finding]  # an AgentError that it raises is a finding, too


@dataclass(frozen=True, slots=True)
class Result:
    check: str
    finding: Finding

    def plain(self) -> dict[str, object]:
        errors = [error.fields() for error in self.finding.errors]
        return {"check": self.check, "fine": not errors, "found": self.finding.found, "problems": errors}


def examine(checks: Sequence[Check], workers: Workers, clock: Clock, deadline_s: float) -> tuple[Result, ...]:
    """Every check's result, in their order."""
    until = clock.now() + deadline_s
    boxes = [_Box(check) for check in checks]
    for box in boxes:
        workers.start(f"check-{box.check.name}", box.run)
    for box in boxes:
        clock.wait(box.done, max(0.0, until - clock.now()))
    return tuple(
        Result(box.check.name, box.finding or _too_long(box.check.name, deadline_s)) for box in boxes
    )


class _Box:
    def __init__(self, check: Check) -> None:
        self.check = check
        self.done = threading.Event()
        self.finding: Finding | None = None

    def run(self) -> None:
        try:
            self.finding = self.check.look()
        except AgentError as error:
            self.finding = Finding("", (error,))
        except Exception as error:  # a mistake in one check must not hide what the others found
            self.finding = Finding("", (_mistake(self.check.name, error),))
        self.done.set()


def _mistake(name: str, error: Exception) -> AgentError:
    return AgentError.about(
        f"check {name}",
        value=f"{type(error).__name__}: {error}",
        expected="to end",
        hint="Run failoverctl doctor as root on a database node; if it was, report this.",
    )


def _too_long(name: str, deadline_s: float) -> Finding:
    error = CheckTookTooLong.about(
        f"check {name}",
        value=f"no end after {deadline_s:g} s",
        expected="an answer, be it bad",
        hint="What it asks hangs: a stuck disk, a network that swallows packets, a server that stands still.",
    )
    return Finding("", (error,))


def problems(results: Sequence[Result]) -> tuple[AgentError, ...]:
    """Each thing once, though several checks may have met it."""
    told: dict[tuple[str, str], AgentError] = {}
    for result in results:
        for error in result.finding.errors:
            told.setdefault((type(error).__name__, error.object), error)
    return tuple(told.values())
