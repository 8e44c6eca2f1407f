"""Notes every promotion before and after it happens, and judges our own by the history (PROTOCOL N2)."""

from __future__ import annotations

from collections.abc import Mapping

from failover_agent.core.model import LeaseSeen, Server, ServerState, Unknown
from failover_agent.core.promotion import (
    Beginning,
    OwnPromotion,
    Promotion,
    Standing,
    from_note,
    standing,
    to_note,
)
from failover_agent.ports import Clock, LeaseStore, Notebook, Postgres
from failover_agent.shell.journal import Journal

NOTE = "promotion"  # in state_dir: it must outlive a reboot
HISTORY = "history#"
RETRY_S = 1.0  # between two tries to record


class Promotions:
    def __init__(
        self, me: str, store: LeaseStore, notes: Notebook, postgres: Postgres, clock: Clock, journal: Journal
    ) -> None:
        self._me = me
        self._store = store
        self._notes = notes
        self._postgres = postgres
        self._clock = clock
        self._journal = journal
        self._recorded = 0  # the epoch that is known to stand in the history
        self._next_try = 0.0
        self._history: tuple[int, dict[int, Promotion]] = (0, {})  # read in which epoch, and what

    # The node that promotes

    def intend(self, epoch: int, from_timeline: int) -> None:
        """Durable before PostgreSQL is told. Raises AgentError.

        Also where this epoch stands in the history: what begins now is another timeline.
        → promoted, killed before it served, promoted again: the history named the first, and it was cloned.
        """
        self._recorded, self._next_try = 0, 0.0
        self._save(OwnPromotion(epoch, from_timeline))

    def record(self, epoch: int) -> None:
        """Write into the history how this epoch's timeline began; nothing when it stands there.

        To be called again and again while serving: the store may be silent when it happens.
        """
        if self._recorded == epoch or self._clock.now() < self._next_try:
            return
        self._next_try = self._clock.now() + RETRY_S
        began = self._postgres.beginning()
        if isinstance(began, Unknown):
            self._journal.trouble("recording the promotion", began)
            return
        own = self._own()
        if own is not None and own.epoch == epoch:
            self._save(OwnPromotion(epoch, own.from_timeline, began))
        answer = self._store.note(f"{HISTORY}{epoch}", to_note(Promotion(epoch, self._me, began)))
        if isinstance(answer, Unknown):
            self._journal.trouble("recording the promotion", answer)
            return
        self._recorded = epoch
        self._journal.fine("recording the promotion")
        self._journal.event("recorded", epoch=epoch, timeline=began.timeline, digest=began.digest[:12])

    def recorded(self) -> int:
        """The epoch that this life knows to stand in the history as begun by this node; 0: none."""
        return self._recorded

    # The node that comes back

    def judge(self, server: Server | Unknown, lease: LeaseSeen | Unknown | None) -> Standing:
        own = self._own()
        if own is None:
            return Standing.IN_LINE
        if not isinstance(lease, LeaseSeen) or not isinstance(server, Server):
            return Standing.UNJUDGED
        if server.state is ServerState.ABSENT:
            return Standing.IN_LINE
        epoch, last = lease.item.epoch, lease.item.last_holder
        if own.epoch >= epoch or 0 < server.timeline <= own.from_timeline:
            return standing(own, self._me, server.timeline, epoch, last, {})
        return standing(own, self._me, server.timeline, epoch, last, self._read(epoch))

    def _read(self, epoch: int) -> Mapping[int, Promotion] | Unknown:
        """Read once per epoch, as soon as it has the entry of that epoch."""
        if self._history[0] == epoch:
            return self._history[1]
        notes = self._store.notes(HISTORY)
        if isinstance(notes, Unknown):
            return notes
        found: dict[int, Promotion] = {}
        for key, note in notes.items():
            try:
                number = int(key.removeprefix(HISTORY))
                found[number] = from_note(number, note)
            except (KeyError, ValueError) as error:
                return Unknown(f"{key} of the history cannot be read: {error!r}")
        if epoch in found:
            self._history = (epoch, found)
        return found

    def forget_what_never_came(self, server: Server | Unknown) -> None:
        """Before a start in recovery: a promotion that has not happened by now cannot happen any more."""
        own = self._own()
        if own is not None and isinstance(server, Server) and 0 < server.timeline <= own.from_timeline:
            self.forget()

    def forget(self) -> None:
        """The data directory is a copy of another node's line now. Raises AgentError."""
        self._notes.forget(NOTE)

    def _own(self) -> OwnPromotion | None:
        note = self._notes.load(NOTE)
        if note is None:
            return None
        whole = {key: int(str(note[key])) for key in ("epoch", "from_timeline", "timeline", "fork")}
        began = Beginning(whole["timeline"], whole["fork"], str(note["digest"])) if note["digest"] else None
        return OwnPromotion(whole["epoch"], whole["from_timeline"], began)

    def _save(self, own: OwnPromotion) -> None:
        began = own.began or Beginning(0, 0, "")
        self._notes.save(
            NOTE,
            {
                "epoch": own.epoch,
                "from_timeline": own.from_timeline,
                "timeline": began.timeline,
                "fork": began.fork,
                "digest": began.digest,
            },
        )
