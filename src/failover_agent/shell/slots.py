"""Keeps the slots of this node's server as they must be: look, change what differs, look again.

Beside the decision rounds, one pass at a time: what a server takes for it holds up nobody.
"""

from __future__ import annotations

import threading

from failover_agent.core.logical_loss import logical_slots_at_risk
from failover_agent.core.model import Server, ServerState, Unknown
from failover_agent.core.other_facts import serving_holder
from failover_agent.core.slots import (
    NOTHING_TOLD,
    AdvanceSlot,
    Change,
    CreateSlot,
    DropSlot,
    HoldConsumers,
    Kept,
    SlotsSeen,
    plan,
)
from failover_agent.core.snapshot import Snapshot
from failover_agent.errors import AgentError
from failover_agent.ports import Clock, Postgres
from failover_agent.shell.journal import Journal
from failover_agent.shell.threads import Workers

EVERY_S = 2.0
WHERE = "keeping replication slots"


class SlotKeeper:
    def __init__(self, postgres: Postgres, clock: Clock, workers: Workers, journal: Journal) -> None:
        self._postgres = postgres
        self._clock = clock
        self._workers = workers
        self._journal = journal
        self._passing = threading.Lock()
        self._passed_at = float("-inf")
        self._at_risk = ""
        self._unanswered = False
        self.told: Kept = NOTHING_TOLD  # as last looked at; nothing while PostgreSQL is at rest

    def round(self, seen: Snapshot) -> None:
        """Begin a pass when one is due."""
        self._say_what_a_failover_loses(seen)
        if not isinstance(seen.server, Server) or seen.job:
            return
        if seen.server.state not in (ServerState.PRIMARY, ServerState.STANDBY):
            self.told = NOTHING_TOLD
            return
        if self._clock.now() - self._passed_at < EVERY_S or not self._passing.acquire(blocking=False):
            return
        self._passed_at = self._clock.now()
        self._workers.start("slots", lambda: self._pass_and_release(seen))

    def _pass_and_release(self, seen: Snapshot) -> None:
        try:
            self._pass(seen)
        finally:
            self._passing.release()

    def _pass(self, seen: Snapshot) -> None:
        found = self._postgres.slots()
        if isinstance(found, Unknown):
            if self._unanswered:  # once is a server that stops or starts
                self._journal.trouble(WHERE, found)
            self._unanswered = True
            return
        self._unanswered = False
        changes = self._changes(seen, found)
        if changes:
            try:
                self._postgres.change_slots(changes)
                self._journal.fine(WHERE)
            except AgentError as error:
                self._journal.trouble(WHERE, error)
            self._say(changes)
            again = self._postgres.slots()
            found = found if isinstance(again, Unknown) else again
        else:
            self._journal.fine(WHERE)
        self.told = found.kept

    def _changes(self, seen: Snapshot, found: SlotsSeen) -> tuple[Change, ...]:
        holder = serving_holder(seen)
        others = [member.name for member in seen.others]
        return plan(found, others, holder.name if holder else "", holder.kept if holder else None)

    def _say(self, changes: tuple[Change, ...]) -> None:
        told = [_words(change) for change in changes if not isinstance(change, AdvanceSlot)]
        if told:
            self._journal.event("slots", changes="; ".join(told))

    def _say_what_a_failover_loses(self, seen: Snapshot) -> None:
        """Before it happens, and each time that it changes."""
        lost = logical_slots_at_risk(seen)
        text = "; ".join(f"{name} would lose {', '.join(slots)}" for name, slots in sorted(lost.items()))
        if text != self._at_risk:
            self._at_risk = text
            self._journal.event("logical-slots-at-risk", slots=text or "none any more")


def _words(change: Change) -> str:
    match change:
        case CreateSlot(name):
            return f"create {name}"
        case DropSlot(name):
            return f"drop {name}"
        case AdvanceSlot(name, _):
            return f"advance {name}"
        case HoldConsumers(slots):
            return f"logical consumers wait for {', '.join(slots) or 'nobody'}"
