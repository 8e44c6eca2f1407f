"""Tries fresh sessions of this node's PostgreSQL, as a client would, and never waits for one (N4).

A fresh one each time: a session that lives goes on when the postmaster stands still. It comes in by the
slots that PostgreSQL keeps for superusers, so clients that take all theirs do not look like a death.
"""

from __future__ import annotations

from failover_agent.adapters.postgres.plan import SUPERUSER, PostgresPlan
from failover_agent.adapters.probe_child import Child
from failover_agent.core.liveness import PROBE_EVERY_S

MOST_OUT = 2
PATIENCE_S = 30.0  # then it is given up, so that another can be tried
# A server that answers, be it with a refusal (all slots taken, a wrong pg_hba.conf), is alive; unless
# what it says is that it is on its way down or up.
_ANSWERS = ("FATAL:", "ERROR:")
_NOT_THERE = ("shutting down", "starting up", "recovery mode", "not yet accepting", "terminating connection")


class SessionProbe:
    def __init__(self, plan: PostgresPlan) -> None:
        # Rolled back, so that it does not look like a client's commit.
        self._argv = (
            plan.program("psql"),
            *("-X", "-q", "-A", "-t", "-w", "-h", str(plan.socket_dir), "-p", str(plan.port)),
            *("-U", SUPERUSER, "-d", "postgres", "-c", "BEGIN; SELECT 1; ROLLBACK"),
        )
        self._out: list[Child] = []
        self._next = 0.0
        self._refused = False
        self.answered = 0
        self.unanswered = 0

    @property
    def asking(self) -> bool:
        return bool(self._out) or self._refused

    def round(self, now: float) -> None:
        """Take in what ended, and try anew when it is time."""
        for child in list(self._out):
            if (status := child.status()) is not None:
                self._out.remove(child)
                self._ended(status, child.words())
            elif now - child.started >= PATIENCE_S:
                self._out.remove(child)  # stays among the unanswered: what it began may still happen
                child.kill()
        if now >= self._next and len(self._out) < MOST_OUT:
            self._next = now + PROBE_EVERY_S
            self._try(now)

    def rest(self) -> None:
        """There is nothing to ask here now. What is out ends by itself."""
        self._refused = False
        self._out.clear()
        self.unanswered = 0

    def _try(self, now: float) -> None:
        try:
            self._out.append(Child(self._argv, now, {"PGAPPNAME": "failover-probe"}))
            self.unanswered += 1
        except OSError:  # no process to be had: that is the host's trouble, and no word on PostgreSQL
            self._refused = False

    def _ended(self, status: int, words: str) -> None:
        self.unanswered -= 1
        alive = status == 0 or _is_an_answer(words)
        self._refused = not alive
        self.answered += alive


def _is_an_answer(words: str) -> bool:
    return any(w in words for w in _ANSWERS) and not any(w in words for w in _NOT_THERE)
