"""The gate as the keeper drives it: open for one epoch, until a deadline, or shut (G4, G5)."""

from __future__ import annotations

import threading

from failover_agent.errors import GateFailed
from failover_agent.ports import Gate
from failover_agent.shell.journal import Journal


class Gatekeeper:
    """Knows which epoch the gate serves and which deadline the kernel took last.

    `lock` also guards what the keeper believes about the lease, so that no opening can come
    after a loss; it is held for the milliseconds of a call to the kernel, never for the store.
    """

    def __init__(self, gate: Gate, journal: Journal) -> None:
        self.lock = threading.RLock()
        self.serving_epoch = 0  # 0: shut
        self._gate = gate
        self._journal = journal
        self._ends = 0.0
        self._behind = False  # the kernel does not show what it last took from us

    def serve(self, epoch: int, until: float) -> None:
        """Open for `epoch`. Raises GateFailed, and then it does not serve."""
        with self.lock:
            if self.serving_epoch == epoch:
                return
            self._open(until)
            self.serving_epoch = epoch

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

    def _open(self, until: float) -> None:
        self._gate.open_until(until)
        self._ends = until
        self._behind = False

    def has_ended(self, now: float) -> bool:
        """We serve, and the deadline the kernel knows is over: its renewals failed (G5)."""
        return self.serving_epoch != 0 and now >= self._ends

    def shut(self) -> None:
        with self.lock:
            self.serving_epoch = 0
            try:
                self._gate.shut()
                self._journal.fine("shutting the gate")
            except GateFailed as error:  # it ends by itself at the deadline the kernel holds
                self._journal.trouble("shutting the gate", error)

    def restore(self) -> None:
        """Somebody changed our table: put it back, shut; the next `follow` opens it if we serve."""
        with self.lock:
            self._journal.event("gate-disturbed", action="put back, shut")
            self._behind = True
            try:
                self._gate.restore()
                self._journal.fine("restoring the gate")
            except GateFailed as error:
                self._journal.trouble("restoring the gate", error)

    def intact(self) -> bool:
        return self._gate.intact()
