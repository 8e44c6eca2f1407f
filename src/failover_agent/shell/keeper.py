"""Keeps the lease: claims it, renews it in rounds of its own, and lets the gate follow.

The keeper's round runs on a thread of its own, so that nothing the decision loop does can
delay a renewal. What it holds, and the invariant, are the desk's (`lease_desk`).
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

from failover_agent.core import lease_writes as writes
from failover_agent.core.health import Renewals
from failover_agent.core.model import Absent, LeaseSeen, Server, ServerState, Timings, Version
from failover_agent.core.snapshot import Mine
from failover_agent.errors import AgentError
from failover_agent.ports import Clock, Gate, LeaseStore, Notebook
from failover_agent.shell import lease_adopt, lease_release
from failover_agent.shell.gatekeeper import Gatekeeper
from failover_agent.shell.journal import Journal
from failover_agent.shell.lease_desk import LeaseDesk, SyncPromise
from failover_agent.shell.lease_memory import Identity, LeaseMemory, Pending


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
        kill: Callable[[], None],
    ) -> None:
        self._kill = kill  # every process of PostgreSQL
        self._gate = Gatekeeper(gate, journal, self._end_who_may_write)
        self._desk = LeaseDesk(
            identity,
            timings,
            store=store,
            gate=self._gate,
            clock=clock,
            memory=LeaseMemory(notes, identity),
            fresh_token=fresh_token,
            journal=journal,
            changed=changed,
        )
        self._timings = timings
        self._clock = clock
        self._last_round = clock.now()
        self.waker = threading.Event()  # set when the next round is due earlier than it was

    # What the loop asks

    def mine(self) -> Mine | None:
        """The lease while it is valid, else None."""
        return self._desk.valid()

    def holds(self, epoch: int) -> bool:
        mine = self.mine()
        return mine is not None and mine.epoch == epoch

    def claiming(self) -> bool:
        return self._desk.mine is None and self._desk.pending is not None

    def serving_epoch(self) -> int:
        return self._gate.serving_epoch

    @property
    def gate(self) -> Gatekeeper:
        return self._gate

    def know(self, server: Server) -> None:
        """What the next renewal says about this node's PostgreSQL."""
        self._desk.facts = server

    def renewals(self) -> Renewals:
        """How close the renewals came to the end of the lease."""
        return self._desk.renewals

    # The round

    def round(self) -> None:
        """Renew when it is due, settle what is pending, and give up when time is over."""
        desk = self._desk
        with desk.writing:
            now = self._clock.now()
            slept = now - self._last_round
            if desk.mine is not None or desk.pending is not None:
                self._renew_if_due(now, slept)
            self._last_round = self._clock.now()

    def pause_s(self) -> float:
        """How long until the next round is due."""
        desk, now = self._desk, self._clock.now()
        if desk.mine is None and desk.pending is None:
            return self._timings.beat_s
        due = desk.retry_at if desk.pending is not None else desk.next_beat
        return max(0.0, min(due, desk.deadline()) - now)

    def _renew_if_due(self, now: float, slept: float) -> None:
        desk = self._desk
        if slept > self._timings.ttl_s:
            desk.drop(f"slept {slept:.1f} s, longer than the lease")  # N7
        elif now >= desk.deadline():
            desk.drop("could not be renewed in time")
        elif self._gate.has_ended(now):
            desk.drop("the gate could not be renewed in time")  # G5
        elif desk.pending is not None:
            if now >= desk.retry_at:
                desk.send()
        elif now >= desk.next_beat:
            desk.prepare_renewal(now)
            desk.send()
        else:
            desk.follow_with_gate()

    def renew_now(self) -> None:
        """Renew without waiting for the beat (a new identity to publish, or a last word before leaving)."""
        desk = self._desk
        with desk.writing:
            now = self._clock.now()
            if desk.mine is None or now >= desk.deadline():
                return
            if desk.pending is None:
                desk.prepare_renewal(now)
            desk.send()

    def unsettled(self) -> bool:
        """Whether a write was sent whose fate is not known; nothing about (S, k) moves meanwhile (S4)."""
        return self._desk.pending is not None

    def write_sync(self, epoch: int, promise: SyncPromise) -> bool:
        """Write the next version of (S, k), under epoch and token (F5); True when it is seen to have landed.

        False otherwise: refused and the lease lost, or unsettled, which the rounds go on to settle.
        """
        desk = self._desk
        with desk.writing:
            mine = self.mine()
            if mine is None or mine.epoch != epoch or desk.pending is not None:
                return False
            if promise.sync.version != mine.item.sync.version + 1:
                return False  # made for a version that is no longer there
            desk.prepare_renewal(self._clock.now(), promise)
            desk.send()
            return desk.mine is not None and desk.mine.item.sync == promise.sync

    # Claim, release, and what one life leaves to the next

    def claim(self, seen: LeaseSeen | None) -> None:
        """Take the lease if it still stands as `seen`. An ambiguous claim stays pending for the rounds."""
        desk = self._desk
        with desk.writing:
            if desk.mine is not None or desk.pending is not None:
                return
            old = seen.item if seen else None
            who = desk.id
            item = writes.claim(
                who.cluster,
                old,
                who.holder,
                desk.fresh_token(),
                self._timings.ttl_s,
                desk.facts,
                who.agent,
            )
            condition = Absent() if old is None else Version(old.epoch, old.token)
            desk.claims = True
            desk.pending = Pending(item, condition, first_sent=self._clock.now())
            desk.send()
        self.waker.set()

    def release(self, offered_to: str) -> bool:
        """Shut the gate and give the lease away; False when the store did not confirm it in time."""
        return lease_release.release(self._desk, offered_to)

    def drop(self, why: str) -> None:
        """Shut the gate, then forget the lease."""
        self._desk.drop(why)

    def adopt(self) -> bool:
        """Go on with the lease of this agent's earlier life, if there is one."""
        return lease_adopt.adopt(self._desk)

    def was_primary(self) -> None:
        """Note that this node was seen as primary in this epoch: it may restart in place.

        Noted only after the sessions of any earlier role were ended: a next life need not (G7).
        """
        desk = self._desk
        if desk.mine is None or desk.mine.was_primary:
            return
        with desk.writing, self._gate.lock:
            if desk.mine is not None:
                self._gate.clear(desk.mine.epoch)
                desk.mine = replace(desk.mine, was_primary=True)
                desk.memory.save(desk.mine, desk.pending)

    # The gate

    def _end_who_may_write(self) -> None:
        """A standby behind a lost gate only serves readers; it is needed, and is not promoted like this."""
        if self._desk.facts.state not in (ServerState.PRIMARY, ServerState.STARTING):
            return
        try:
            self._kill()
        except AgentError as error:
            self._desk.journal.trouble("killing PostgreSQL behind a lost gate", error)

    def serve(self, epoch: int) -> None:
        """Open the gate for `epoch` and keep it open with every renewal. Raises GateFailed."""
        with self._gate.lock:
            mine = self.mine()
            if mine is not None and mine.epoch == epoch:
                self._gate.serve(epoch, mine.valid_until)

    def prepare(self, epoch: int) -> None:
        """Before PostgreSQL changes its role: gate shut, no session left (G6, G7). Raises GateFailed."""
        self._gate.clear(epoch)

    def dismiss(self) -> None:
        """Shut the gate, and tell its clients by a reset."""
        self._gate.dismiss()

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
        self._desk.follow_with_gate()
