"""A member's side of sealing: votes, seals, and the end of a seal (PROTOCOL F1 to F4, S5).

Invariant: from the moment an answer leaves until a consistent read shows a later version or epoch, nothing
reaches this node's PostgreSQL from the node it is sealed against, whatever restarts. So the note is durable
before anything is cut, and what it says is done again before PostgreSQL can start.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from dataclasses import asdict, replace

from failover_agent.core.model import LeaseSeen, Timings
from failover_agent.core.seals import Seal, Sealed, ends, why_not_seal
from failover_agent.core.snapshot import Snapshot
from failover_agent.core.suspicion import suspects_after_s
from failover_agent.errors import AgentError, PeerRefused
from failover_agent.killpoints import at
from failover_agent.ports import Clock, Notebook, Postgres
from failover_agent.shell.journal import Journal
from failover_agent.shell.promises import Promises

NOTE = "seal"  # both in state_dir: they must outlive a reboot
INCARNATION = "incarnation"


class Incarnation:
    """Which copy of the data this node vouches for; another one after every replacement (S5)."""

    def __init__(self, notes: Notebook, fresh: Callable[[], str]) -> None:
        self._notes = notes
        self._fresh = fresh
        self._lock = threading.Lock()
        self._known = ""

    def now(self) -> str:
        """Raises AgentError where it cannot be noted: what could be forgotten vouches for nothing."""
        with self._lock:
            if not self._known:
                note = self._notes.load(INCARNATION) or {}
                self._known = str(note.get("id", "")) or self._make()
            return self._known

    def _make(self) -> str:
        made = self._fresh()
        self._notes.save(INCARNATION, {"id": made})
        return made

    def told(self) -> str:
        """The same for a report; empty where it cannot be noted."""
        try:
            return self.now()
        except AgentError:
            return ""

    def end(self) -> None:
        """Before the data directory is touched: whatever comes of it, it is not what it was."""
        with self._lock:
            self._notes.forget(INCARNATION)
            self._known = ""


class Sealer:
    def __init__(
        self,
        me: str,
        postgres: Postgres,
        notes: Notebook,
        incarnation: Incarnation,
        clock: Clock,
        timings: Timings,
        journal: Journal,
        promises: Promises,
    ) -> None:
        self._me = me
        self._promises = promises
        self._postgres = postgres
        self._notes = notes
        self._incarnation = incarnation
        self._clock = clock
        self._timings = timings
        self._journal = journal
        self._lock = threading.Lock()
        self._hearing = threading.Lock()  # between a vote and the seal it is for, nobody is heard
        self._seal: Seal | None = None
        self._answer: Sealed | None = None  # what this life answered for `_seal`
        self._seen: LeaseSeen | None = None
        self._holding = False
        self._heard_at: dict[str, float] = {}  # of nodes that said they hold the lease, asked or asking

    def begin(self) -> None:
        """Apply the seal of an earlier life before PostgreSQL can be started (F3)."""
        note = self._notes.load(NOTE)
        self._seal = _from_note(note) if note is not None else None
        self._hold()

    def against(self) -> str:
        """Whom this node takes nothing from; empty: nobody."""
        seal = self._seal
        return seal.against if seal else ""

    def sealed_version(self) -> tuple[int, int]:
        """Epoch and version of the seal; zeros: none."""
        seal = self._seal
        return (seal.epoch, seal.version) if seal else (0, 0)

    # What the loop sees

    def see(self, seen: Snapshot) -> None:
        """Remember what votes are judged by."""
        self._holding = seen.mine is not None
        self._seen = seen.lease if isinstance(seen.lease, LeaseSeen) else None
        for heard in seen.heard:
            if heard.report.holds_lease:
                self._hear(heard.report.name, heard.at)

    def settle(self) -> None:
        """End a seal that is over by what was seen, hold one that is not."""
        if self._seal is None or not self._lock.acquire(blocking=False):
            return  # somebody has this node seal at this moment: the round does not wait for it
        try:
            if self._seen is not None and ends(self._seal, self._seen.item):
                self._end(self._seal)
            else:
                self._hold()
        finally:
            self._lock.release()

    def _end(self, seal: Seal) -> None:
        try:
            self._postgres.end_cut()
            at("uncut-before-note")
            self._notes.forget(NOTE)
        except AgentError as error:
            self._journal.trouble("ending the seal", error)
            return
        self._seal = self._answer = None
        self._journal.event("unsealed", against=seal.against, epoch=seal.epoch, version=seal.version)

    def _hold(self) -> None:
        """Somebody may have flushed the kernel's rules, or a life ended between cut and note."""
        try:
            if self._seal is not None:
                self._postgres.keep_cut(self._seal.against)
            else:
                self._postgres.end_cut()
            self._journal.fine("holding the seal")
        except AgentError as error:
            self._journal.trouble("holding the seal", error)

    # What others ask

    def hear(self, holder: str) -> None:
        """`holder` asked us something and said that it holds the lease.

        Where it is told afterwards that this node is not sealed, then no seal is given before suspect_after
        has passed since it asked: either the vote for it comes later, or the seal came before (F6).
        """
        self._hear(holder, self._clock.now())

    def suspects_after_s(self) -> float:
        """For how long a holder must be silent before this node votes for a seal against it (F6)."""
        seen, own_s = self._seen, self._timings.suspect_after_s
        return suspects_after_s(seen.item, own_s) if seen is not None else own_s

    def heard_at(self, holder: str) -> float:
        """When `holder` last answered or asked; long ago where it never did."""
        return self._heard_at.get(holder, -math.inf)

    def _hear(self, holder: str, at: float) -> None:
        with self._hearing:
            self._heard_at[holder] = max(at, self._heard_at.get(holder, at))

    def vote(self, asked: Seal) -> str:
        """Why this node would not seal; empty when it would. Changes nothing (F1)."""
        seen, now = self._seen, self._clock.now()
        if self._holding:
            return f"{self._me} holds the lease itself"
        if why := self._promises.why_not_act(self._timings.ttl_s, seen.item if seen else None):
            return why  # P1
        if seen is None:
            return f"{self._me} cannot read the lease"
        if self._me not in seen.item.sync.members:
            return f"{self._me} is not in the sync set"
        return why_not_seal(
            seen, now, self._heard_at.get(asked.against), self._timings.suspect_after_s, asked
        )

    def seal(self, asked: Seal) -> Sealed:
        """Seal for good and tell how far this node's WAL goes. Raises PeerRefused or PostgresFailed.

        Every member of S asks for itself, often within the same tenth of a second. Who asks later is told
        what the first was: whatever this member let the old primary acknowledge was flushed here before its
        receiver was gone. The rounds keep the cut (`_hold`); a next life seals anew (F3).
        """
        with self._lock:
            mine = replace(asked, incarnation=self._incarnation.now())
            if self._answer is not None and self._answer.seal == mine == self._seal:
                return self._answer
            if self._seal != mine:
                self._take_up(mine, asked)
                at("noted-before-cut")
            position = self._postgres.cut_from(mine.against)
            at("cut-before-answer")
            self._answer = Sealed(self._me, mine, position.timeline, position.lsn)
        self._journal.event(
            "sealed", against=mine.against, epoch=mine.epoch, version=mine.version, lsn=position.lsn
        )
        return self._answer

    def _take_up(self, mine: Seal, asked: Seal) -> None:
        """Shown before it is noted: from the vote on, the holder must not take an answer for a heartbeat."""
        before = self._seal
        with self._promises.lock, self._hearing:  # nor is a promise given between the look and the seal
            if why := self.vote(asked):
                raise PeerRefused(f"{self._me} does not seal: {why}", hint="Ask again if it lasts.")
            self._seal = mine
        try:
            self._notes.save(NOTE, asdict(mine))
        except AgentError:
            self._seal = before
            raise


def _from_note(note: object) -> Seal:
    """Raises KeyError or ValueError on what no agent wrote: better no agent than a seal forgotten."""
    plain = note if isinstance(note, dict) else {}
    return Seal(
        str(plain["cluster"]),
        int(str(plain["epoch"])),
        int(str(plain["version"])),
        str(plain["incarnation"]),
        str(plain["against"]),
    )
