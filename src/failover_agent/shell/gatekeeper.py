"""The gate as the keeper drives it: open for one epoch and role, until a deadline, or shut (G4 to G7).

Invariant (G6, G7): the gate opens in an epoch and role only when, since it was last shut, every socket
of PostgreSQL's port was destroyed. So no session of a reader lives on into a primary, and no orphan of
an earlier role sends an old acknowledgement.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from enum import Enum

from failover_agent.errors import GateFailed
from failover_agent.ports import Gate
from failover_agent.shell.journal import Journal


class As(Enum):
    """What PostgreSQL is while the gate is open."""

    PRIMARY = "primary"
    STANDBY = "standby"


class Gatekeeper:
    """Knows whom the gate serves and which deadline the kernel took last.

    `lock` also guards what the keeper believes about the lease, so that no opening can come
    after a loss; it is held for the milliseconds of a call to the kernel, never for the store.
    """

    def __init__(self, gate: Gate, journal: Journal, last_resort: Callable[[], None]) -> None:
        self.lock = threading.RLock()
        self.serving_epoch = 0  # as primary; 0: not
        self.reading_epoch = 0  # as standby, for readers; 0: not
        self._gate = gate
        self._journal = journal
        self._last_resort = last_resort  # for a gate that can neither be shut nor put back
        self._ends = 0.0
        self._behind = False  # the kernel does not show what it last took from us
        self._cleared: tuple[As, int] | None = None  # for whom no other's socket is left

    def clear(self, epoch: int, role: As = As.PRIMARY) -> None:
        """Shut, and end every session, unless that was done for this epoch and role. Raises GateFailed."""
        with self.lock:
            if self._cleared == (role, epoch):
                return
            self.serving_epoch = self.reading_epoch = 0
            self._gate.shut()  # first: what is destroyed must not come back
            self._ends = 0.0
            ended = self._gate.end_sessions()
            self._cleared = (role, epoch)
            if ended:
                self._journal.event("sessions-ended", count=ended, before=role.value, epoch=epoch)

    def epoch_as_primary(self) -> int:
        """For which epoch this node serves, or is about to: cleared for it and not shut since; 0: none."""
        cleared = self._cleared
        about_to = cleared[1] if cleared is not None and cleared[0] is As.PRIMARY else 0
        return self.serving_epoch or about_to

    def resume(self, epoch: int, role: As) -> None:
        """An earlier life of this agent cleared for this very epoch and role: its sessions live on."""
        self._cleared = (role, epoch)
        self._ends = math.inf  # that life knew until when it had opened

    def may_be_open_at(self, moment: float) -> bool:
        with self.lock:
            return self._ends > moment

    def serve(self, epoch: int, until: float) -> None:
        """Open for `epoch` as primary. Raises GateFailed, and then it does not serve."""
        with self.lock:
            if self.serving_epoch == epoch:
                return
            self.clear(epoch)
            self._open(until)
            self.serving_epoch = epoch

    def read(self, epoch: int, until: float) -> None:
        """Open for readers of a standby that follows `epoch`, or move the deadline. Raises GateFailed."""
        with self.lock:
            if self.serving_epoch:
                return  # ours as primary: the keeper's round drives it
            if self.reading_epoch == epoch and self._ends == until and not self._behind:
                return
            self.clear(epoch, As.STANDBY)
            self._open(until)
            self.reading_epoch = epoch

    def can_end_sessions(self) -> bool:
        return self._gate.can_end_sessions()

    def end_reads(self) -> None:
        with self.lock:
            if self.reading_epoch:
                self.shut()

    def reads_open(self, now: float) -> bool:
        return self.reading_epoch != 0 and not self._behind and now < self._ends

    def follow(self, epoch: int, until: float) -> None:
        """Bring the deadline to `until` if we serve `epoch`; a failure is tried again at the next call."""
        with self.lock:
            if self.serving_epoch != epoch or (self._ends == until and not self._behind):
                return
            try:
                self._open(until)
                self._journal.fine("renewing the gate")
            except GateFailed as error:
                self._journal.trouble("renewing the gate", error)

    def shorten(self, epoch: int, until: float) -> None:
        """The lease ends earlier than the gate may know: never open beyond `until` (L3).

        A gate that an earlier life left open is not known here by its deadline: it is shut, and the
        next `serve` opens it.
        """
        with self.lock:
            if self.serving_epoch != epoch:
                self.shut()
                return
            self.follow(epoch, until)
            if self._ends > until:
                self.shut()

    def _open(self, until: float) -> None:
        self._gate.open_until(until)
        self._ends = until
        self._behind = False

    def has_ended(self, now: float) -> bool:
        """We serve, and the deadline the kernel knows is over: its renewals failed (G5)."""
        return self.serving_epoch != 0 and now >= self._ends

    def shut(self) -> None:
        with self.lock:
            self.serving_epoch = self.reading_epoch = 0
            self._cleared = None
            self._ends = 0.0
            try:
                self._gate.shut()
                self._journal.fine("shutting the gate")
            except GateFailed as error:
                self._journal.trouble("shutting the gate", error)
                self._put_back_or_end(self._gate.restore)

    def dismiss(self) -> None:
        """Shut, and let clients hear of it at once instead of waiting for an answer that cannot leave."""
        with self.lock:
            self.shut()
            try:
                ended = self._gate.dismiss()
                self._journal.fine("dismissing clients")
            except GateFailed as error:  # they find out by themselves, only later
                self._journal.trouble("dismissing clients", error)
                return
            if ended:
                self._journal.event("clients-dismissed", count=ended)

    def restore(self) -> None:
        """Somebody changed our table: put it back, shut; the next `follow` opens it if we serve."""
        with self.lock:
            self._journal.event("gate-disturbed", action="put back, shut")
            self._behind = True
            if not self.serving_epoch:
                self._cleared = None  # whoever came in meanwhile is no session of the role to come
            try:
                self._gate.restore()
                self._journal.fine("restoring the gate")
            except GateFailed as error:
                self._journal.trouble("restoring the gate", error)
                self._put_back_or_end(self._gate.shut)

    def _put_back_or_end(self, other_way: Callable[[], None]) -> None:
        """A table that a stranger removed has no deadline either: then there must be nobody behind it."""
        try:
            other_way()
        except GateFailed as error:
            why = str(error.args[0])
            self._journal.event("gate-lost", action="PostgreSQL is killed where it may write", why=why)
            self._last_resort()

    def intact(self) -> bool:
        return self._gate.intact()
