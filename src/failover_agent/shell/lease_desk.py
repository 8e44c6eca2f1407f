"""The lease in this agent's hand and the one write that is under way.

Invariant (L3, G4, P1): at every instant the gate's deadline and `mine.valid_until` are at most ttl - margin
after the first sending of a token that landed, or after the sending of the oldest of the questions that
everybody who may claim answered by a promise not to. Unknown answers extend nothing; a refused write ends
both at once (P3). Where members may claim before that, the gate's deadline is also at most
`unchallenged_until` (F6).

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
    Mode,
    NodeReport,
    Refused,
    Server,
    ServerState,
    SyncSet,
    Timings,
    Unknown,
    Version,
    WriteOutcome,
)
from failover_agent.core.promises import is_no_answer, is_silence
from failover_agent.core.seals import is_patient_enough, unchallenged_until
from failover_agent.core.snapshot import Mine
from failover_agent.core.suspicion import valid_until
from failover_agent.errors import AgentError, CarriedByPromises
from failover_agent.ports import Clock, LeaseStore
from failover_agent.shell.gatekeeper import Gatekeeper
from failover_agent.shell.journal import Journal
from failover_agent.shell.lease_memory import Identity, LeaseMemory, Pending

RETRY_S = 0.05  # between two sendings of a write whose answer did not come
CARRIED = "the way to the store"


@dataclass(frozen=True, slots=True)
class SyncPromise:
    """What the lease says about acknowledged commits: the sync set, and who may claim by it (S1, P2)."""

    sync: SyncSet
    may_claim: tuple[str, ...]
    mode: Mode


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
        self.answered: dict[str, float] = {}  # of each member that heard us: when we sent what it heard
        self.fenced: set[tuple[int, str]] = set()  # epoch, instance: the item need not name it any more
        self.renewed_until = 0.0  # what of `mine.valid_until` a renewal gave; the rest was promised
        self.carried_by: tuple[str, ...] = ()  # who promised, while renewals do not land
        self._away = ""  # the token of a write to which the store was silent
        self._unanswered = ""  # the token of a write for which nothing came back
        self._refused = ""  # and of one that was refused by an item that we cannot read

    def valid(self) -> Mine | None:
        """The lease while it is valid, else None."""
        mine = self.mine
        return mine if mine is not None and self.clock.now() < mine.valid_until else None

    def held(self) -> tuple[Mine | None, Pending | None]:
        """Both of one moment: a write that lands goes from the one to the other."""
        with self.gate.lock:
            return self.mine, self.pending

    def deadline(self) -> float:
        mine, pending = self.held()
        if mine is not None:
            return mine.valid_until
        return self.ends(pending) if pending is not None else self.clock.now()

    def ends(self, pending: Pending) -> float:
        """Until when the lease is ours if `pending` lands."""
        return valid_until(pending.first_sent, pending.item.ttl_s, self.timings.margin_s)

    def unchallenged_until(self) -> float:
        """Until when nobody can have claimed: by the item that stands, and by the one that may (F6)."""
        mine, pending = self.held()
        if mine is None:
            return self.clock.now()
        items = [mine.item, pending.item] if pending is not None else [mine.item]
        return min(
            unchallenged_until(
                item, mine.valid_until, mine.beat_sent, self.answered, self.timings, dict(mine.promised)
            )
            for item in items
        )

    def heard_by(self, report: NodeReport, sent_at: float) -> None:
        """Who reports heard, and will not forget, what we sent at `sent_at`: that we hold the lease (F6).

        Called by who hears the answer: a renewal that is under way does not keep the gate waiting.
        """
        if not is_patient_enough(report, self.timings.suspect_after_s):
            return
        with self.gate.lock:
            self.answered[report.name] = max(sent_at, self.answered.get(report.name, sent_at))
            self.follow_with_gate()

    def promised_by(self, name: str, epoch: int, until: float) -> None:
        """Member `name` promised not to seal or claim (P1): on that, too, the gate may rest from now on (F6).

        Only where nobody can have claimed before the answer was here. Whoever promises proves nothing about
        the past: it may have helped another to a claim, and have forgotten it.
        """
        with self.gate.lock:
            mine = self.valid()
            if mine is None or mine.epoch != epoch or self.clock.now() >= self.unchallenged_until():
                return
            promised = dict(mine.promised)
            promised[name] = max(until, promised.get(name, until))
            self.mine = replace(mine, promised=tuple(sorted(promised.items())))
            self.follow_with_gate()

    def store_is_away(self) -> bool:
        """Whether a write waits for an answer, and its condition was not refused (P3)."""
        pending = self.pending
        if pending is None or pending.item.token == self._refused:
            return False
        return pending.item.token == self._away

    def unanswered(self) -> bool:
        """Whether nothing came back for the write that waits: the store may be away, or this node cut off."""
        pending = self.pending
        return pending is not None and pending.item.token == self._unanswered

    def carry(self, epoch: int, until: float, by: tuple[str, ...]) -> bool:
        """Promises of everybody who may claim move the deadline of a lease that is still ours (P1, P3)."""
        with self.gate.lock:
            mine = self.valid()
            if mine is None or mine.epoch != epoch or not self.store_is_away():
                return False
            if until > mine.valid_until:
                self.mine = replace(mine, valid_until=until)
                self.follow_with_gate()
        if self.carried_by != by:
            self.carried_by = by
            self.journal.event("carried", epoch=epoch, by=",".join(by))
        self.journal.trouble(CARRIED, _carried(by))
        return True

    def renewal_of(self, old: LeaseItem, server: Server) -> LeaseItem:
        item = writes.renewal(
            old,
            self.id.holder,
            self.fresh_token(),
            self.timings.ttl_s,
            server,
            self.id.agent,
            self.id.claimants,
            suspect_after_s=self.timings.suspect_after_s,
        )
        still = tuple(h for h in item.unfenced if (item.epoch, h.instance_id) not in self.fenced)
        return item.but(unfenced=still)

    def prepare_renewal(
        self, now: float, promise: SyncPromise | None = None, paused: str | None = None
    ) -> None:
        """`paused`: since when a person has failover paused from now on, empty: no more; None: as it was."""
        mine = self.mine
        if mine is None:
            return  # dropped since the caller looked: `send` then has nothing to send
        old = mine.item
        item = self.renewal_of(old, self.facts)
        if promise is not None:
            item = item.but(
                sync=promise.sync,
                may_claim=promise.may_claim,
                mode=promise.mode,
                schema_version=writes.schema_version(promise.mode, item.paused),
            )
        if paused is not None:
            item = writes.with_pause(item, paused)
        pending = Pending(item, Version(old.epoch, old.token), now)
        with self.gate.lock:
            if self.mine is None:
                return
            self.shorten(self.ends(pending))
            self.pending = pending
            if promise is not None or item.suspect_after_s < old.suspect_after_s:
                self._bound_gate(mine.epoch)

    def _bound_gate(self, epoch: int) -> None:
        """Once this write lands, others may claim sooner: the gate is not open for longer than that (F6)."""
        with self.gate.lock:
            if self.gate.may_be_open_at(limit := self.unchallenged_until()):
                self.gate.shorten(epoch, limit)

    def shorten(self, limit: float) -> None:
        """A lower ttl binds us before the store may show it (L3)."""
        with self.gate.lock:
            assert self.mine is not None
            if limit < self.mine.valid_until:
                self.mine = replace(self.mine, valid_until=limit)
                self.gate.shorten(self.mine.epoch, min(limit, self.unchallenged_until()))

    def send(self) -> None:
        """Send what is pending, once."""
        pending = self.pending
        if pending is None:
            return  # dropped by another thread, which does not wait for a write
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
            self._unanswered = pending.item.token if is_no_answer(outcome) else ""
            if is_silence(outcome):
                self._away = pending.item.token
            else:
                self._refused = pending.item.token
            self.retry_at = self.clock.now() + RETRY_S
        else:
            assert isinstance(outcome, Refused)
            self.drop(f"refused, the store shows {_show(outcome.current)}")

    def _landed(self, pending: Pending) -> None:
        self.journal.fine("the lease's renewal")
        with self.gate.lock:
            if self.pending is not pending:
                return  # dropped while the answer was on its way: what was given up does not come back (N7)
            old, self.pending = self.mine, None
            renewed_until = self.ends(pending)
            # What was promised is kept: a write that lands late has no right of its own any more.
            until = max(renewed_until, old.valid_until) if old is not None else renewed_until
            now = self.clock.now()
            if now >= until:
                self.drop("the answer came after the lease had ended")
                return
            same = old if old is not None and old.epoch == pending.item.epoch else None
            kept, promised = (same.was_primary, same.promised) if same is not None else (False, ())
            self.mine = Mine(pending.item, until, kept, pending.first_sent, promised)
            if old is not None:
                self._measure(old)
            self.renewed_until = renewed_until if now < renewed_until else until  # missed, and counted, once
            self.follow_with_gate()
        self._store_is_back()
        self.next_beat = pending.first_sent + self.timings.beat_s
        if old is None:
            if self.claims:
                self.journal.phase("claimed", pending.item.epoch)
            self.claims = False
            self.changed()

    def _store_is_back(self) -> None:
        if self.carried_by:
            self.journal.event("store-back", carried_by=",".join(self.carried_by))
            self.carried_by = ()
        self.journal.fine(CARRIED)

    def _measure(self, old: Mine) -> None:
        """By what renewals gave: whoever is carried past it missed by more than nearly.

        What an earlier life wrote by another ttl is no measure of this one's. → fast to patient: of a ttl of
        3 s a margin of 3 s left nothing to divide by, and the holder's agent died of it.
        """
        if old.item.ttl_s != self.timings.ttl_s:
            return
        right_s = old.item.ttl_s - self.timings.margin_s
        used = near_miss.share_used(self.clock.now(), self.renewed_until or old.valid_until, right_s)
        self.renewals = near_miss.add(self.renewals, used)

    def follow_with_gate(self) -> None:
        with self.gate.lock:
            mine, until = self.valid(), self.unchallenged_until()
            if mine is not None and self.clock.now() < until:  # else the kernel has shut it by itself
                self.gate.follow(mine.epoch, until)

    def gate_is_behind(self) -> bool:
        """We serve, the gate has shut by itself, and should not have: its renewals failed (G5)."""
        with self.gate.lock:
            now = self.clock.now()
            return self.gate.has_ended(now) and now < self.unchallenged_until()

    def drop(self, why: str) -> None:
        """Shut the gate, then forget the lease."""
        with self.gate.lock:  # between the two nobody may open it again
            held = self.mine
            self.gate.shut()
            self.mine = self.pending = None
            self.carried_by = ()
        self.journal.fine(CARRIED)
        self.forget_note()
        if held is not None:
            self.journal.event("lease-lost", epoch=held.epoch, why=why)
        self.changed()

    def remember(self) -> None:
        """Note the lease as it stands: what was noted before a write knows only when the last one ends.

        → a life that came back shortly before that end counted on it, and gave up a lease renewed since.
        """
        with self.writing:
            mine = self.valid()
            if mine is None:
                return
            try:
                self.memory.save(mine, self.pending)
            except AgentError as error:
                self.journal.trouble("the lease note", error)

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


def _carried(by: tuple[str, ...]) -> CarriedByPromises:
    return CarriedByPromises.about(
        "the lease of this node",
        value=f"the store is away; carried by promises of {', '.join(by)}",
        expected="renewals",
        hint="The primary goes on; nobody can take over meanwhile. See 'The store is away' in"
        " docs/operations.md.",
    )


def _show(item: LeaseItem | None) -> str:
    if item is None:
        return "no item"
    return f"epoch {item.epoch} of {item.holder.name if item.holder else 'nobody'}"
