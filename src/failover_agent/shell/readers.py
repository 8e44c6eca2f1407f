"""Lets clients read from a standby, for as long as it follows the current epoch (PROTOCOL G6)."""

from __future__ import annotations

from failover_agent.core.model import LeaseSeen, Unknown
from failover_agent.core.reads import reads_until
from failover_agent.core.snapshot import Snapshot
from failover_agent.errors import AgentError
from failover_agent.ports import Notebook
from failover_agent.shell.gatekeeper import As, Gatekeeper
from failover_agent.shell.journal import Journal

NOTE = "reads"
_CANNOT = (
    "this kernel cannot end sessions, which must be before a promotion; nobody reads here"
    "\nHINT: Use a kernel with CONFIG_INET_DIAG_DESTROY=y (Debian's and Amazon's have it)."
)


class Readers:
    def __init__(self, gate: Gatekeeper, notes: Notebook, boot_id: str, journal: Journal) -> None:
        self._gate = gate
        self._notes = notes
        self._boot_id = boot_id
        self._journal = journal

    def adopt(self) -> None:
        """Sessions that an earlier life let in, in this boot, go on if its epoch still stands.

        Not where that life was primary last: the note is from before, and its clients are no readers.
        """
        if self._gate.epoch_as_primary():
            return
        note = self._notes.load(NOTE)
        if note is not None and note.get("boot_id") == self._boot_id and isinstance(note.get("epoch"), int):
            self._gate.resume(int(str(note["epoch"])), As.STANDBY)

    def round(self, seen: Snapshot) -> None:
        """Open, prolong or end reads as `seen` allows; before any action of its decision."""
        until = reads_until(seen)
        if isinstance(until, Unknown):
            return
        if until is None or not isinstance(seen.lease, LeaseSeen):
            self._gate.end_reads()
            return
        if not self._gate.can_end_sessions():
            self._journal.trouble("letting readers in", _CANNOT)
            return
        epoch = seen.lease.item.epoch
        try:
            if self._gate.reading_epoch != epoch:
                self._gate.clear(epoch, As.STANDBY)
                self._notes.save(NOTE, {"boot_id": self._boot_id, "epoch": epoch})
                self._journal.event("reads-open", epoch=epoch)
            self._gate.read(epoch, until)
            self._journal.fine("letting readers in")
        except AgentError as error:
            self._journal.trouble("letting readers in", error)
