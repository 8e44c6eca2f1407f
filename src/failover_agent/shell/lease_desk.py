"""The lease in this agent's hand and the one write that is under way.

Invariant (L3, G4): at every instant the gate's deadline and `mine.valid_until` are at most
the first sending of a token that landed + ttl - margin. Unknown answers extend nothing.

Two locks: `writing` for the store, held during a request; the gate's own for the gate and for what
we believe, held for milliseconds, so shutting never waits for the store.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace

from failover_agent.core import lease_writes as writes
from failover_agent.core import near_miss
from failover_agent.core.health import Renewals
from failover_agent.core.model import (
    Landed,
    LeaseItem,
    Refused,
    Server,
    ServerState,
    SyncSet,
    Timings,
    Unknown,
    Version,
    WriteOutcome,
)
from failover_agent.core.snapshot import Mine
from failover_agent.core.suspicion import valid_until
from failover_agent.errors import AgentError
from failover_agent.ports import Clock, LeaseStore
from failover_agent.shell.gatekeeper import Gatekeeper
from failover_agent.shell.journal import Journal
from failover_agent.shell.lease_memory import Identity, LeaseMemory, Pending

RETRY_S = 0.05  # between two sendings of a write whose answer did not come


@dataclass(frozen=True, slots=True)
class SyncPromise:
    """What the lease says about acknowledged commits: the sync set, and who may claim by it (S1, P2)."""

    sync: SyncSet
    may_claim: tuple[str, ...]


class LeaseDesk:
    """Written by the keeper and by those who release or adopt for it; nobody else has it."""

    def __init__(
        self,
        identity: Identity,
        timings: Timings,
        *,
        store: LeaseStore,
        gate: Gatekeeper,
        clock: Clock,
        memory: LeaseMemory,
        fresh_token: Callable[[], str],
        journal: Journal,
        changed: Callable[[], None],
    ) -> None:
        self.id = identity
        self.timings = timings
        self.store = store
        self.gate = gate
        self.clock = clock
        self.memory = memory
        self.fresh_token = fresh_token
        self.journal = journal
        self.changed = changed
        self.writing = threading.RLock()
        self.mine: Mine | None = None  # as last confirmed, valid or not
        self.pending: Pending | None = None
        self.claims = False  # what is pending is a claim
        self.next_beat = 0.0
        self.retry_at = 0.0
        self.facts = Server(ServerState.ABSENT)  # as last looked at
        self.renewals = Renewals()

    def valid(self) -> Mine | None:
        """The lease while it is valid, else None."""
        mine = self.mine
        return mine if mine is not None and self.clock.now() < mine.valid_until else None

    def deadline(self) -> float:
        mine, pending = self.mine, self.pending  # another thread may drop both between two looks
        if mine is not None:
            return mine.valid_until
        return self.ends(pending) if pending is not None else self.clock.now()

    def ends(self, pending: Pending) -> float:
        """Until when the lease is ours if `pending` lands."""
        return valid_until(pending.first_sent, pending.item.ttl_s, self.timings.margin_s)

    def renewal_of(self, old: LeaseItem, server: Server) -> LeaseItem:
        return writes.renewal(
            old, self.id.holder, self.fresh_token(), self.timings.ttl_s, server, self.id.agent
        )

    def prepare_renewal(self, now: float, promise: SyncPromise | None = None) -> None:
        assert self.mine is not None
        old = self.mine.item
        item = self.renewal_of(old, self.facts)
        if promise is not None:
            item = item.but(sync=promise.sync, may_claim=promise.may_claim)
        pending = Pending(item, Version(old.epoch, old.token), now)
        self.shorten(self.ends(pending))
        self.pending = pending

    def shorten(self, limit: float) -> None:
        """A lower ttl binds us before the store may show it (L3)."""
        with self.gate.lock:
            assert self.mine is not None
            if limit < self.mine.valid_until:
                self.mine = replace(self.mine, valid_until=limit)
                self.gate.shorten(self.mine.epoch, limit)

    def send(self) -> None:
        """Send what is pending, once."""
        pending = self.pending
        assert pending is not None
        try:
            # before the token leaves: a next life must know every token that may land
            self.memory.save(self.mine, pending)
        except AgentError as error:
            self.journal.trouble("the lease note", error)
            self.retry_at = self.clock.now() + RETRY_S
            return
        outcome = self.store.write(pending.item, only_if=pending.only_if)
        if has_landed(outcome, pending.item):
            self._landed(pending)
        elif isinstance(outcome, Unknown):
            self.journal.trouble("the lease's renewal", outcome)
            self.retry_at = self.clock.now() + RETRY_S
        else:
            assert isinstance(outcome, Refused)
            self.drop(f"refused, the store shows {_show(outcome.current)}")

    def _landed(self, pending: Pending) -> None:
        self.journal.fine("the lease's renewal")
        until = self.ends(pending)
        self.pending = None
        if self.clock.now() >= until:
            self.drop("the answer came after the lease had ended")
            return
        with self.gate.lock:
            old = self.mine
            kept = old is not None and old.epoch == pending.item.epoch and old.was_primary
            self.mine = Mine(pending.item, until, was_primary=kept)
            if old is not None:
                self._measure(old)
            self.follow_with_gate()
        self.next_beat = pending.first_sent + self.timings.beat_s
        if old is None:
            if self.claims:
                self.journal.phase("claimed", pending.item.epoch)
            self.claims = False
            self.changed()

    def _measure(self, old: Mine) -> None:
        right_s = old.item.ttl_s - self.timings.margin_s
        used = near_miss.share_used(self.clock.now(), old.valid_until, right_s)
        self.renewals = near_miss.add(self.renewals, used)

    def follow_with_gate(self) -> None:
        with self.gate.lock:
            mine = self.valid()
            if mine is not None:
                self.gate.follow(mine.epoch, mine.valid_until)

    def drop(self, why: str) -> None:
        """Shut the gate, then forget the lease."""
        with self.gate.lock:  # between the two nobody may open it again
            held = self.mine
            self.gate.shut()
            self.mine = self.pending = None
        self.forget_note()
        if held is not None:
            self.journal.event("lease-lost", epoch=held.epoch, why=why)
        self.changed()

    def forget_note(self) -> bool:
        """Whether a next life will find nothing."""
        try:
            self.memory.forget()
        except AgentError as error:
            self.journal.trouble("the lease note", error)
            return False
        return True


def has_landed(outcome: WriteOutcome, item: LeaseItem) -> bool:
    """Taken now, or refused because an earlier sending of the same token was taken (L3)."""
    if isinstance(outcome, Refused):
        current = outcome.current
        return current is not None and (current.epoch, current.token) == (item.epoch, item.token)
    return isinstance(outcome, Landed)


def _show(item: LeaseItem | None) -> str:
    if item is None:
        return "no item"
    return f"epoch {item.epoch} of {item.holder.name if item.holder else 'nobody'}"
