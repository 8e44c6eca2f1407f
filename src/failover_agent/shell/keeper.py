"""Keeps the lease: claims, renews, releases, and lets the gate follow.

Invariant (L3, G4): at every instant the gate's deadline and `mine.valid_until` are at most
the first sending of a token that landed + ttl - margin. Unknown answers extend nothing.

The keeper's round runs on a thread of its own, so that nothing the decision loop does can
delay a renewal. Two locks: `_writing` for the store, held during a request; `_gating` for
the gate and for what we believe, held for milliseconds, so shutting never waits for the store.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

from failover_agent.core import lease_writes as writes
from failover_agent.core.model import (
    Absent,
    Landed,
    LeaseItem,
    LeaseSeen,
    Refused,
    Server,
    ServerState,
    Timings,
    Unknown,
    Version,
    WriteOutcome,
)
from failover_agent.core.snapshot import Mine
from failover_agent.core.suspicion import valid_until
from failover_agent.errors import AgentError
from failover_agent.ports import Clock, Gate, LeaseStore, Notebook
from failover_agent.shell.gatekeeper import As, Gatekeeper
from failover_agent.shell.journal import Journal
from failover_agent.shell.lease_memory import Identity, LeaseMemory, Pending

RETRY_S = 0.05  # between two sendings of a write whose answer did not come


class Keeper:
    def __init__(
        self,
        identity: Identity,
        timings: Timings,
        *,
        store: LeaseStore,
        gate: Gate,
        clock: Clock,
        notes: Notebook,
        fresh_token: Callable[[], str],
        journal: Journal,
        changed: Callable[[], None],
    ) -> None:
        self._id = identity
        self._timings = timings
        self._store = store
        self._gate = Gatekeeper(gate, journal)
        self._clock = clock
        self._memory = LeaseMemory(notes, identity)
        self._fresh_token = fresh_token
        self._journal = journal
        self._changed = changed
        self._writing = threading.RLock()
        self._mine: Mine | None = None
        self._pending: Pending | None = None
        self._claims = False  # what is pending is a claim
        self._next_beat = 0.0
        self._retry_at = 0.0
        self._last_round = clock.now()
        self._facts = Server(ServerState.ABSENT)  # as last looked at
        self.waker = threading.Event()  # set when the next round is due earlier than it was

    # What the loop asks

    def mine(self) -> Mine | None:
        """The lease while it is valid, else None."""
        mine = self._mine
        return mine if mine is not None and self._clock.now() < mine.valid_until else None

    def holds(self, epoch: int) -> bool:
        mine = self.mine()
        return mine is not None and mine.epoch == epoch

    def claiming(self) -> bool:
        return self._mine is None and self._pending is not None

    def serving_epoch(self) -> int:
        return self._gate.serving_epoch

    @property
    def gate(self) -> Gatekeeper:
        return self._gate

    def know(self, server: Server) -> None:
        """What the next renewal says about this node's PostgreSQL."""
        self._facts = server

    # The round

    def round(self) -> None:
        """Renew when it is due, settle what is pending, and give up when time is over."""
        with self._writing:
            now = self._clock.now()
            slept = now - self._last_round
            if self._mine is not None or self._pending is not None:
                self._renew_if_due(now, slept)
            self._last_round = self._clock.now()

    def pause_s(self) -> float:
        """How long until the next round is due."""
        now = self._clock.now()
        if self._mine is None and self._pending is None:
            return self._timings.beat_s
        due = self._retry_at if self._pending is not None else self._next_beat
        return max(0.0, min(due, self._deadline()) - now)

    def _renew_if_due(self, now: float, slept: float) -> None:
        if slept > self._timings.ttl_s:
            self.drop(f"slept {slept:.1f} s, longer than the lease")  # N7
        elif now >= self._deadline():
            self.drop("could not be renewed in time")
        elif self._gate.has_ended(now):
            self.drop("the gate could not be renewed in time")  # G5
        elif self._pending is not None:
            if now >= self._retry_at:
                self._send()
        elif now >= self._next_beat:
            self._prepare_renewal(now)
            self._send()
        else:
            self._follow_with_gate()

    def renew_now(self) -> None:
        """Renew without waiting for the beat (a new identity to publish, or a last word before leaving)."""
        with self._writing:
            now = self._clock.now()
            if self._mine is None or now >= self._deadline():
                return
            if self._pending is None:
                self._prepare_renewal(now)
            self._send()

    def _deadline(self) -> float:
        mine, pending = self._mine, self._pending  # another thread may drop both between two looks
        if mine is not None:
            return mine.valid_until
        if pending is None:
            return self._clock.now()
        return valid_until(pending.first_sent, pending.item.ttl_s, self._timings.margin_s)

    def _prepare_renewal(self, now: float) -> None:
        assert self._mine is not None
        old = self._mine.item
        item = writes.renewal(old, self._id.holder, self._fresh_token(), self._timings.ttl_s, self._facts)
        self._shorten(valid_until(now, item.ttl_s, self._timings.margin_s))
        self._pending = Pending(item, Version(old.epoch, old.token), now)

    def _shorten(self, limit: float) -> None:
        """A lower ttl binds us before the store may show it (L3)."""
        with self._gate.lock:
            assert self._mine is not None
            if limit < self._mine.valid_until:
                self._mine = replace(self._mine, valid_until=limit)
                self._gate.shorten(self._mine.epoch, limit)

    def _send(self) -> None:
        pending = self._pending
        assert pending is not None
        try:
            self._memory.save(
                self._mine, pending
            )  # before the token leaves: a next life must know every token that may land
        except AgentError as error:
            self._journal.trouble("the lease note", error)
            self._retry_at = self._clock.now() + RETRY_S
            return
        outcome = self._store.write(pending.item, only_if=pending.only_if)
        if _has_landed(outcome, pending.item):
            self._landed(pending)
        elif isinstance(outcome, Unknown):
            self._journal.trouble("the lease's renewal", outcome.why)
            self._retry_at = self._clock.now() + RETRY_S
        else:
            assert isinstance(outcome, Refused)
            current = outcome.current
            self.drop(f"refused, the store shows {_show(current)}")

    def _landed(self, pending: Pending) -> None:
        self._journal.fine("the lease's renewal")
        until = valid_until(pending.first_sent, pending.item.ttl_s, self._timings.margin_s)
        self._pending = None
        if self._clock.now() >= until:
            self.drop("the answer came after the lease had ended")
            return
        with self._gate.lock:
            old = self._mine
            kept = old is not None and old.epoch == pending.item.epoch and old.was_primary
            self._mine = Mine(pending.item, until, was_primary=kept)
            self._follow_with_gate()
        self._next_beat = pending.first_sent + self._timings.beat_s
        if old is None:
            if self._claims:
                self._journal.phase("claimed", pending.item.epoch)
            self._claims = False
            self._changed()

    # Claim and release

    def claim(self, seen: LeaseSeen | None) -> None:
        """Take the lease if it still stands as `seen`. An ambiguous claim stays pending for the rounds."""
        with self._writing:
            if self._mine is not None or self._pending is not None:
                return
            old = seen.item if seen else None
            item = writes.claim(
                self._id.cluster, old, self._id.holder, self._fresh_token(), self._timings.ttl_s, self._facts
            )
            condition = Absent() if old is None else Version(old.epoch, old.token)
            self._claims = True
            self._pending = Pending(item, condition, first_sent=self._clock.now())
            self._send()
        self.waker.set()

    def release(self, offered_to: str) -> bool:
        """Shut the gate and give the lease away; False when the store did not confirm it in time.

        Either way it is ours no longer: unconfirmed, it ends by itself.
        """
        self.shut()
        with self._writing:
            released = self._settle() and self._release(offered_to)
            self._forget()
        self._changed()
        return released

    def _settle(self) -> bool:
        """Find out which token stands, then forget the lease before anybody may be told that it is free.

        A next life must not go on with a lease whose release may have landed unanswered: it would
        serve beside the heir until the old deadline.
        """
        while self.mine() is not None and self._pending is not None:
            self._send()
            self._pause_if_unsettled()
        try:
            self._memory.forget()
        except AgentError as error:
            self._journal.trouble("the lease note", error)
            return False
        return True

    def _release(self, offered_to: str) -> bool:
        mine = self.mine()
        if mine is None:
            return False
        item = writes.release(mine.item, offered_to, self._fresh_token(), self._facts)
        condition = Version(mine.epoch, mine.item.token)
        while self.mine() is not None:
            outcome = self._store.write(item, only_if=condition)
            if not isinstance(outcome, Unknown):
                return _has_landed(outcome, item)
            self._pause()
        return False

    def _pause_if_unsettled(self) -> None:
        if self._pending is not None:
            self._pause()

    def _pause(self) -> None:
        self._clock.wait(threading.Event(), RETRY_S)

    def drop(self, why: str) -> None:
        """Shut the gate, then forget the lease."""
        with self._gate.lock:  # between the two nobody may open it again
            held = self._mine
            self.shut()
            self._mine = self._pending = None
        self._forget()
        if held is not None:
            self._journal.event("lease-lost", epoch=held.epoch, why=why)
        self._changed()

    def _forget(self) -> None:
        with self._gate.lock:
            self._mine = None
            self._pending = None
        try:
            self._memory.forget()
        except AgentError as error:
            self._journal.trouble("the lease note", error)

    # The gate

    def serve(self, epoch: int) -> None:
        """Open the gate for `epoch` and keep it open with every renewal. Raises GateFailed."""
        with self._gate.lock:
            mine = self.mine()
            if mine is not None and mine.epoch == epoch:
                self._gate.serve(epoch, mine.valid_until)

    def prepare(self, epoch: int) -> None:
        """Before PostgreSQL changes its role: gate shut, no session left (G6, G7). Raises GateFailed."""
        self._gate.clear(epoch)

    def shut(self) -> None:
        """Shut the gate now, whatever else goes on."""
        self._gate.shut()

    def check_gate(self) -> None:
        """Put the gate back if somebody changed it; then open it again if we serve."""
        if not self._gate.intact():
            self.disturbed()

    def disturbed(self) -> None:
        """Somebody changed our table (G5)."""
        self._gate.restore()
        self._follow_with_gate()

    def _follow_with_gate(self) -> None:
        with self._gate.lock:
            mine = self.mine()
            if mine is not None:
                self._gate.follow(mine.epoch, mine.valid_until)

    # From one life of the agent to the next

    def was_primary(self) -> None:
        """Note that this node was seen as primary in this epoch: it may restart in place.

        Noted only after the sessions of any earlier role were ended: a next life need not (G7).
        """
        mine = self._mine
        if mine is None or mine.was_primary:
            return
        with self._writing, self._gate.lock:
            if self._mine is not None:
                self._gate.clear(self._mine.epoch)
                self._mine = replace(self._mine, was_primary=True)
                self._memory.save(self._mine, self._pending)

    def adopt(self) -> bool:
        """Go on with the lease of this agent's earlier life in the same boot of the same instance (L2).

        The caller holds the lock that proves the earlier life ended. Its unsettled write is
        retried unchanged; the renewal after that carries our own nonce. After another boot, or
        in another instance, nothing is adopted: the note would be another machine's.
        """
        left = self._memory.load()
        if left is None:
            return False
        mine, pending = left
        with self._writing:
            if self._clock.now() < mine.valid_until:
                self._go_on(mine, pending)
            else:
                self._ask_to_go_on(mine, pending)
        if self._mine is not None:
            self._journal.event("lease-adopted", epoch=self._mine.epoch)
            if self._mine.was_primary:
                self._gate.resume(self._mine.epoch, As.PRIMARY)
        return self._mine is not None

    def _go_on(self, mine: Mine, pending: Pending | None) -> None:
        with self._gate.lock:
            self._mine, self._pending = mine, pending
            if pending is not None:
                self._shorten(valid_until(pending.first_sent, pending.item.ttl_s, self._timings.margin_s))

    def _ask_to_go_on(self, mine: Mine, pending: Pending | None) -> None:
        """Our earlier life's right has ended; the gate is shut. Where the store still shows its very
        token, nobody has claimed since, and one conditional renewal makes the epoch ours again."""
        current = self._store.read()
        known = {mine.item.token, pending.item.token if pending else mine.item.token}
        if not isinstance(current, LeaseItem) or current.epoch != mine.epoch or current.token not in known:
            return
        item = writes.renewal(
            current, self._id.holder, self._fresh_token(), self._timings.ttl_s, Server(ServerState.ABSENT)
        )
        self._pending = Pending(item, Version(current.epoch, current.token), self._clock.now())
        self._send()
        if self._mine is None:
            self._pending = None  # one try: if it lands after all, it ends by itself
        else:
            self._mine = replace(self._mine, was_primary=mine.was_primary)
            self._memory.save(self._mine, None)


def _has_landed(outcome: WriteOutcome, item: LeaseItem) -> bool:
    """Taken now, or refused because an earlier sending of the same token was taken (L3)."""
    if isinstance(outcome, Refused):
        current = outcome.current
        return current is not None and (current.epoch, current.token) == (item.epoch, item.token)
    return isinstance(outcome, Landed)


def _show(item: LeaseItem | None) -> str:
    if item is None:
        return "no item"
    return f"epoch {item.epoch} of {item.holder.name if item.holder else 'nobody'}"
