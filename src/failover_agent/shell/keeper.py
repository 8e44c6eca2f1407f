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
from failover_agent.core.model import (
    Absent,
    LeaseItem,
    LeaseSeen,
    Mode,
    NodeReport,
    Server,
    ServerState,
    SyncSet,
    Timings,
    Unknown,
    Version,
    WriteOutcome,
)
from failover_agent.core.promises import MemberStanding, Promise
from failover_agent.core.snapshot import Mine
from failover_agent.errors import AgentError
from failover_agent.ports import Clock, Gate, LeaseStore, Notebook
from failover_agent.shell import lease_adopt, lease_release
from failover_agent.shell.failsafe import Failsafe
from failover_agent.shell.gatekeeper import Gatekeeper
from failover_agent.shell.journal import Journal
from failover_agent.shell.lease_desk import LeaseDesk, SyncPromise
from failover_agent.shell.lease_memory import Identity, LeaseMemory, Pending
from failover_agent.shell.promises import Promises


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
        first_mode: Mode = "async",
        failsafe: Failsafe | None = None,
    ) -> None:
        self._kill = kill  # every process of PostgreSQL
        self._first_mode: Mode = first_mode  # of a cluster that this node begins
        self._failsafe = failsafe
        self.promises = Promises(identity.holder.name, clock, journal)  # that this node gave
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

    def carried_by(self) -> tuple[str, ...]:
        """Whose promises carry this node's lease while the store is away."""
        return self._desk.carried_by if self.mine() is not None else ()

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

    def unanswered(self) -> bool:
        return self._desk.unanswered()

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
                self._ask_for_promises()  # before as well: what follows may take as long as two requests
                self._renew_if_due(now, slept)
                self._ask_for_promises()
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
        elif desk.gate_is_behind():
            desk.drop("the gate could not be renewed in time")  # G5
        elif desk.pending is not None:
            if now >= desk.retry_at:
                desk.send()
        elif now >= desk.next_beat:
            desk.prepare_renewal(now)
            desk.send()
        else:
            desk.follow_with_gate()

    def _ask_for_promises(self) -> None:
        if self._failsafe is not None:
            self._failsafe.round(self._desk)

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

    def leave(self, for_good: bool) -> None:
        """The last word of this life before it ends on purpose: the next one finds as much as there can be.

        The lease is renewed, and where members may claim before it ends they promise not to, unless this life
        ends `for_good`: then nobody would come back to what they wait for. Takes three request timeouts at
        most: own way, peers, promises.
        """
        self.renew_now()
        self._desk.remember()
        if self._failsafe is not None and not for_good:
            self._failsafe.bridge(self._desk)

    def heard_by(self, report: NodeReport, sent_at: float) -> None:
        """Who reports heard from us, in something sent at `sent_at`, that we hold the lease (F6)."""
        self._desk.heard_by(report, sent_at)

    def alone(self) -> Mine | None:
        """The lease while nobody can have claimed it, by the fast path either (F6); else None.

        What is written elsewhere in its name, and cannot be refused there, asks for this one.
        """
        with self._gate.lock:  # first: waiting for it may take longer than the lease
            mine = self.mine()
            return mine if self._clock.now() < self._desk.unchallenged_until() else None

    def unsettled(self) -> bool:
        """Whether a write was sent whose fate is not known; nothing about (S, k) moves meanwhile (S4)."""
        return self._desk.pending is not None

    def known(self) -> tuple[Mine | None, bool]:
        """The lease while it is valid, and whether a write of it is unsettled: of one moment (S4).

        → looked at one after the other: between the two the write landed. None was unsettled then, the item
        was the old one, and PostgreSQL was told to wait for what the new one does not count on.
        """
        with self._gate.lock:
            return self.mine(), self.unsettled()

    def counts_on(self) -> tuple[SyncSet, ...]:
        """What the lease says of acknowledged commits, and what it may say if an unsettled write landed."""
        mine, pending = self._desk.held()
        items = [mine.item] if mine is not None else []
        items += [pending.item] if pending is not None else []
        return tuple(item.sync for item in items)

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

    def may_be_paused(self) -> bool:
        """Whether the lease says so, or a write of it whose fate is not known: from its sending on nothing is
        handed over. Both of one moment: the write may land while the loop looks.
        """
        return any(known is not None and known.item.paused for known in self._desk.held())

    def write_pause(self, epoch: int, since: str) -> bool:
        """Write since when failover is paused (empty: no more); True and False as `write_sync` has it.

        False also where an earlier sending has landed since the caller looked: a second would move the time.
        """
        desk = self._desk
        with desk.writing:
            mine = self.mine()
            if mine is None or mine.epoch != epoch or desk.pending is not None:
                return False
            if bool(mine.item.paused) == bool(since):
                return False
            desk.prepare_renewal(self._clock.now(), paused=since)
            desk.send()
            return desk.mine is not None and desk.mine.item.paused == since

    def resume_for_nobody(self, old: LeaseItem) -> WriteOutcome:
        """End the pause in an item that no holder renews any more; it gives this node no right.

        A token of its own (L1): whoever watched the old one watches this one for as long again, and what an
        earlier holder sent by the old one is refused.
        """
        desk = self._desk
        with desk.writing:
            if desk.mine is not None or desk.pending is not None or self.promises.bound():
                return Unknown("this node claims the lease, or promised its holder to leave it alone")
            item = writes.with_pause(old.but(token=desk.fresh_token()), "")
            return desk.store.write(item, only_if=Version(old.epoch, old.token))

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
                self._first_mode,
                suspect_after_s=self._timings.suspect_after_s,
                fences=who.fences,
            )
            condition = Absent() if old is None else Version(old.epoch, old.token)
            with self.promises.lock:
                if self.promises.bound():
                    return  # P1: also where the decision was taken a moment before the promise
                desk.claims = True
                desk.pending = Pending(item, condition, first_sent=self._clock.now())
            desk.send()
        self.waker.set()

    def fenced(self, epoch: int, instance_id: str) -> None:
        """Renewals of `epoch` name this instance no more among those to be fenced."""
        self._desk.fenced.add((epoch, instance_id))

    def release(self, offered_to: str, *, data_lost: bool = False) -> bool:
        """Shut the gate and give the lease away; False when the store did not confirm it in time."""
        return lease_release.release(self._desk, offered_to, data_lost=data_lost)

    def drop(self, why: str) -> None:
        """Shut the gate, then forget the lease."""
        self._desk.drop(why)

    def adopt(self) -> bool:
        """Go on with the lease of this agent's earlier life, if there is one."""
        return lease_adopt.adopt(self._desk)

    def promise(
        self, asked: Promise, seen: Callable[[], tuple[tuple[int, int], int, LeaseItem | None]]
    ) -> str:
        """Why this node does not promise the holder that asks; empty when it has promised (P1).

        `seen` tells what this node is sealed for, the highest epoch it has seen, and the lease as last read.
        """
        desk = self._desk

        def standing() -> MemberStanding:
            holds, claiming = desk.mine is not None, desk.mine is None and desk.pending is not None
            return MemberStanding(desk.id.cluster, holds, claiming, *seen())

        return self.promises.ask(asked, standing)

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
            mine = self.alone()
            if mine is not None and mine.epoch == epoch:
                self._gate.serve(epoch, self._desk.unchallenged_until())

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
