"""The holder's part of zero loss: who vouches for commits, in the lease item and in PostgreSQL alike.

Each round looks, asks core.quorum for the one next step, takes it, and looks again, until the two places say
what is wanted or something has to be waited for. Nothing is remembered that a next life would miss: a barrier
that is forgotten is taken again.

`leaves` is told who is about to have its data directory touched; `is_clear_of` says when nothing counts on
that node any more (S5).
"""

from __future__ import annotations

from dataclasses import dataclass

from failover_agent.core.model import Mode, NodeReport, SyncSet, Unknown
from failover_agent.core.quorum import (
    AwaitBarrier,
    Barrier,
    InPlace,
    LookAgain,
    SetPostgres,
    Settle,
    Standing,
    Step,
    SyncSeen,
    WriteItem,
    complaint,
    is_clear_of,
    next_step,
)
from failover_agent.core.seals import sealed_members
from failover_agent.core.snapshot import Mine, Snapshot
from failover_agent.core.sync_choice import Choice, Standby, choose
from failover_agent.errors import AgentError
from failover_agent.ports import Clock, Postgres
from failover_agent.shell.journal import Journal
from failover_agent.shell.keeper import Keeper
from failover_agent.shell.lease_desk import SyncPromise

MOMENT_S = 1e-6
MOST_STEPS = 8  # one change takes at most five (tests/unit/core/test_quorum_plan.py)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How far the sync set has come in this round."""

    in_place: bool  # the item and PostgreSQL say what the mode wants, and that is enough to let clients in
    waiting_for: str  # the operator's words; empty when nothing is waited for


class Synchroniser:
    def __init__(
        self, keeper: Keeper, postgres: Postgres, clock: Clock, journal: Journal, leave_after_s: float
    ) -> None:
        self._keeper = keeper
        self._postgres = postgres
        self._clock = clock
        self._journal = journal
        self._leave_after_s = leave_after_s
        self._silent_since: dict[str, float] = {}
        self._leaving: set[str] = set()
        self._barrier: Barrier | None = None
        self._at: Standing | None = None  # as last looked at

    def leaves(self, name: str) -> None:
        """From the next round on `name` is to leave the sync set."""
        self._leaving.add(name)

    def returns(self, name: str) -> None:
        self._leaving.discard(name)

    def is_clear_of(self, name: str) -> bool:
        """Whether the data directory of `name` may be touched: asked for, and seen to be out everywhere."""
        return name in self._leaving and self._at is not None and is_clear_of(name, self._at)

    def round(self, seen: Snapshot, mode: Mode, promoted_at: int) -> Outcome:
        """`promoted_at`: the LSN at which this primary's timeline began; who has it may enter (S2)."""
        step: Step = LookAgain("nobody holds the lease here")
        for _step in range(MOST_STEPS):
            mine = self._keeper.mine()
            looked = self._postgres.sync()
            if mine is None or isinstance(looked, Unknown):
                self._at = None
                return Outcome(False, looked.why if isinstance(looked, Unknown) else "the lease")
            standbys = self._standbys(seen, mine, looked, promoted_at)
            choice = choose(mode, seen.me.az, standbys, looked.shown, self._leave_after_s)
            self._at = self._standing(seen, mine, looked, choice)
            self._complain(self._at)
            step = next_step(self._at)
            if not self._take(step, seen, mine):
                break
        return self._outcome(step, choice)

    def _standbys(self, seen: Snapshot, mine: Mine, looked: SyncSeen, promoted_at: int) -> list[Standby]:
        now, found = self._clock.now(), []
        for member in seen.others:
            if member.name in looked.flushed:
                self._silent_since.pop(member.name, None)
                silent_s = 0.0
            else:
                # A first look that misses somebody counts as a moment: who is silent does not enter.
                silent_s = now - self._silent_since.setdefault(member.name, now) or MOMENT_S
            fit = self._fits(seen.report_of(member.name), member.name, mine, looked, promoted_at)
            found.append(Standby(member.name, member.az, fit, silent_s))
        return found

    def _fits(
        self, report: NodeReport | None, name: str, mine: Mine, looked: SyncSeen, promoted_at: int
    ) -> bool:
        """Silence counts for who is in already, and against who would enter."""
        if name in self._leaving or (report is not None and report.nofailover):
            return False
        known = dict(zip(mine.item.sync.members, mine.item.sync.incarnations, strict=False)).get(name)
        if known and report is not None and report.incarnation != known:
            return False  # another data directory: out of the item first, then in as what it is (S5)
        if name in looked.shown.members:
            return True
        if report is None or not report.incarnation:
            return False
        return looked.flushed.get(name, 0) >= promoted_at

    def _standing(self, seen: Snapshot, mine: Mine, looked: SyncSeen, choice: Choice) -> Standing:
        sync = mine.item.sync
        return Standing(
            sync,
            self._keeper.unsettled(),
            looked.shown,
            looked.written,
            self._barrier,
            looked.flushed,
            choice.wanted,
            sealed_members(seen.fresh(), mine.epoch, sync.version),
        )

    def _complain(self, at: Standing) -> None:
        if isinstance(at.shown, Unknown) or not (why := complaint(at.sync, at.shown)):
            self._journal.fine("the sync set")
        else:
            self._journal.trouble("the sync set", why)

    def _take(self, step: Step, seen: Snapshot, mine: Mine) -> bool:
        """Take the step; whether to look again at once."""
        if isinstance(step, SetPostgres):
            self._barrier = None
            try:
                self._barrier = Barrier(step.wait, self._postgres.set_sync(step.wait))
            except AgentError as error:
                self._journal.trouble("setting whom commits wait for", error)
                return False
            self._journal.event("waits-for", k=step.wait.k, members=",".join(step.wait.members))
            return True
        if isinstance(step, WriteItem):
            sync = SyncSet(
                step.sync.members, step.sync.k, step.sync.version, self._incarnations(seen, mine, step.sync)
            )
            landed = self._keeper.write_sync(mine.epoch, SyncPromise(sync, (seen.me.name, *sync.members)))
            if landed:
                self._journal.event(
                    "sync-set", k=sync.k, members=",".join(sync.members), version=sync.version
                )
            return landed
        return False

    def _incarnations(self, seen: Snapshot, mine: Mine, sync: SyncSet) -> tuple[str, ...]:
        """Of who was in already as it entered; of who enters as it says now."""
        known = dict(zip(mine.item.sync.members, mine.item.sync.incarnations, strict=False))
        reports = {r.name: r.incarnation for r in seen.fresh()}
        return tuple(known.get(name) or reports.get(name, "") for name in sync.members)

    def _outcome(self, step: Step, choice: Choice) -> Outcome:
        waits = {
            Settle: "a write of the lease to be settled",
            SetPostgres: "PostgreSQL to obey",
            WriteItem: "the store",
        }
        if isinstance(step, InPlace):
            return Outcome(choice.enough, ", ".join(choice.waiting_for))
        if isinstance(step, AwaitBarrier):
            return Outcome(False, f"{', '.join(step.behind)} to flush what was committed before")
        if isinstance(step, LookAgain):
            return Outcome(False, step.why)
        return Outcome(False, waits[type(step)])
