"""A member's side of sealing: votes, seals, and the end of a seal (PROTOCOL F1 to F4, S5).

Invariant: from the moment an answer leaves until a consistent read shows a later version or epoch, nothing
reaches this node's PostgreSQL from the node it is sealed against, whatever restarts. So the note is durable
before anything is cut, and what it says is done again before PostgreSQL can start.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import asdict, replace

from failover_agent.core.model import LeaseSeen, Timings
from failover_agent.core.seals import Seal, Sealed, ends, why_not_seal
from failover_agent.core.snapshot import Snapshot
from failover_agent.errors import AgentError, PeerRefused
from failover_agent.killpoints import at
from failover_agent.ports import Clock, Notebook, Postgres
from failover_agent.shell.journal import Journal

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
    ) -> None:
        self._me = me
        self._postgres = postgres
        self._notes = notes
        self._incarnation = incarnation
        self._clock = clock
        self._timings = timings
        self._journal = journal
        self._lock = threading.Lock()
        self._seal: Seal | None = None
        self._began = clock.now()
        self._seen: LeaseSeen | None = None
        self._holding = False
        self._heard_at: dict[str, float] = {}  # of nodes that said they hold the lease

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

    def round(self, seen: Snapshot) -> None:
        """Remember what votes are judged by; end a seal that is over, hold one that is not."""
        self._holding = seen.mine is not None
        self._seen = seen.lease if isinstance(seen.lease, LeaseSeen) else None
        for heard in seen.heard:
            if heard.report.holds_lease:
                self._heard_at[heard.report.name] = heard.at
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
        self._seal = None
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

    def vote(self, asked: Seal) -> str:
        """Why this node would not seal; empty when it would. Changes nothing (F1)."""
        seen, now = self._seen, self._clock.now()
        if self._holding:
            return f"{self._me} holds the lease itself"
        if now - self._began < self._timings.ttl_s:
            return f"the agent of {self._me} started less than one ttl ago"  # P1: it may have promised
        if seen is None:
            return f"{self._me} cannot read the lease"
        if self._me not in seen.item.sync.members:
            return f"{self._me} is not in the sync set"
        return why_not_seal(
            seen, now, self._heard_at.get(asked.against), self._timings.suspect_after_s, asked
        )

    def seal(self, asked: Seal) -> Sealed:
        """Seal for good and tell how far this node's WAL goes. Raises PeerRefused or PostgresFailed."""
        with self._lock:
            mine = replace(asked, incarnation=self._incarnation.now())
            if self._seal != mine:
                if why := self.vote(asked):
                    raise PeerRefused(f"{self._me} does not seal: {why}", hint="Ask again if it lasts.")
                self._notes.save(NOTE, asdict(mine))
                self._seal = mine
                at("noted-before-cut")
            position = self._postgres.cut_from(mine.against)
            at("cut-before-answer")
        self._journal.event(
            "sealed", against=mine.against, epoch=mine.epoch, version=mine.version, lsn=position.lsn
        )
        return Sealed(self._me, mine, position.timeline, position.lsn)


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
