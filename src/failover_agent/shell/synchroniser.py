"""The holder's part of zero loss: who vouches for commits, in the lease item and in PostgreSQL alike.

Each round looks, asks core.quorum for the one next step, takes it, and looks again, until the two places say
what is wanted or something has to be waited for. Nothing is remembered that a next life would miss: a barrier
that is forgotten is taken again.

`leaves` is told who is about to have its data directory touched; `is_clear_of` says when nothing counts on
that node any more (S5).
"""

from __future__ import annotations

from failover_agent.core.lease_writes import claimants
from failover_agent.core.model import NodeReport, Server, SyncProgress, SyncSet, Unknown
from failover_agent.core.quorum import (
    AwaitBarrier,
    Barrier,
    InPlace,
    LookAgain,
    SetPostgres,
    Settle,
    Step,
    SyncSeen,
    SyncStanding,
    WriteItem,
    complaint,
    is_clear_of,
    next_step,
    of_item,
)
from failover_agent.core.seals import sealed_members
from failover_agent.core.snapshot import Mine, Snapshot
from failover_agent.core.sync_choice import MOST_MEMBERS, Choice, Standby, choose
from failover_agent.errors import AgentError
from failover_agent.killpoints import at
from failover_agent.ports import Clock, Postgres
from failover_agent.shell.journal import Journal
from failover_agent.shell.keeper import Keeper
from failover_agent.shell.lease_desk import SyncPromise

MOMENT_S = 1e-6
AFTER_FAILURE_S = 1.0  # an order that PostgreSQL refused is not given again before
MOST_STEPS = 8  # one change takes at most five (tests/unit/core/test_quorum_plan.py)


NOT_LOOKED = SyncProgress(False, "the first look at who streams")


class Synchroniser:
    def __init__(
        self,
        keeper: Keeper,
        postgres: Postgres,
        clock: Clock,
        journal: Journal,
        leave_after_s: float,
        most_members: int = MOST_MEMBERS,
    ) -> None:
        self._keeper = keeper
        self._postgres = postgres
        self._clock = clock
        self._journal = journal
        self._leave_after_s = leave_after_s
        self._most_members = most_members
        self.progress = NOT_LOOKED
        self._silent_since: dict[str, float] = {}
        self._leaving: set[str] = set()  # may be added to by another thread at any moment
        self._left_out: set[str] = set()  # who was leaving when the last round began
        self._barrier: Barrier | None = None
        self._at: SyncStanding | None = None  # as last looked at
        self._failed_at = float("-inf")
        self._waits_for_nobody = False  # in mode async, as seen once: nobody but us changes that

    def leaves(self, name: str) -> None:
        """From the next round on `name` is to leave the sync set."""
        self._leaving.add(name)

    def returns(self, name: str) -> None:
        self._leaving.discard(name)
        self._left_out = self._left_out - {name}  # it may leave again before the next round has looked

    def leaving(self) -> tuple[str, ...]:
        return tuple(sorted(self._leaving.copy()))

    def is_clear_of(self, name: str) -> bool:
        """Whether the data directory of `name` may be touched: seen to be out everywhere, by a round that
        knew from its beginning that it leaves.
        """
        looked = self._at
        known = name in self._leaving and name in self._left_out
        return known and looked is not None and is_clear_of(name, looked)

    def forget(self) -> None:
        """PostgreSQL here is no primary: what was seen of one is over."""
        self.progress, self._at, self._barrier = NOT_LOOKED, None, None
        self._waits_for_nobody = False

    def round(self, seen: Snapshot, server: Server) -> SyncProgress:
        """Bring (S, k) towards what the mode of the lease wants; `server` is this primary as last looked at.

        Every look and every order is bounded; one that PostgreSQL refuses is tried again after a while.
        """
        mine = self._keeper.mine()
        is_async = mine is not None and mine.item.mode == "async"
        if is_async and self._waits_for_nobody:
            return self.progress
        if self._clock.now() - self._failed_at >= AFTER_FAILURE_S:
            leaving = self._leaving.copy()
            self.progress = self._round(seen, leaving, began_at(server))
            self._left_out = leaving
            self._waits_for_nobody = is_async and self.progress.in_place
        return self.progress

    def _round(self, seen: Snapshot, leaving: set[str], promoted_at: int | Unknown) -> SyncProgress:
        progress = NOT_LOOKED
        for _step in range(MOST_STEPS):
            mine, unsettled = self._keeper.known()
            looked = self._postgres.sync()
            if mine is None or isinstance(looked, Unknown):
                self._at = None
                return SyncProgress(False, looked.why if isinstance(looked, Unknown) else "the lease")
            if mine.item.mode == "async" and looked.written.k == mine.item.sync.k == 0:
                self._at = None
                return SyncProgress()  # whatever people had PostgreSQL wait for is theirs
            standbys = self._standbys(seen, mine, looked, leaving, promoted_at)
            choice = choose(
                mine.item.mode, seen.me.az, standbys, looked.shown, self._leave_after_s, self._most_members
            )
            self._at = self._standing(seen, mine, unsettled, looked, choice)
            self._complain(self._at)
            step = next_step(self._at)
            if self.progress == NOT_LOOKED and self._stands(looked):
                return _progress(InPlace(), choice, looked)  # whatever is to change changes with clients in
            progress = _progress(step, choice, looked)
            if not self._take(step, seen, mine):
                break
        return progress

    def _stands(self, looked: SyncSeen) -> bool:
        """Whether PostgreSQL waits for just what every item that may stand counts on; never in a new epoch.

        → this agent was upgraded while a standby came back: with its first look it wrote the newcomer into S,
        shut the gate for that, and ended every client's session.
        """
        counted_on = self._keeper.counts_on()
        agreed = all(of_item(sync) == looked.shown == looked.written for sync in counted_on)
        return looked.shown.k > 0 and looked.proved and bool(counted_on) and agreed

    def _standbys(
        self,
        seen: Snapshot,
        mine: Mine,
        looked: SyncSeen,
        leaving: set[str],
        promoted_at: int | Unknown,
    ) -> list[Standby]:
        now, found = self._clock.now(), []
        for member in seen.others:
            if member.name in looked.flushed:
                self._silent_since.pop(member.name, None)
                silent_s = 0.0
            else:
                # A first look that misses somebody counts as a moment: who is silent does not enter.
                silent_s = now - self._silent_since.setdefault(member.name, now) or MOMENT_S
            fit = member.name not in leaving and self._fits(seen, member.name, mine, looked, promoted_at)
            found.append(Standby(member.name, member.az, fit, silent_s))
        return found

    def _fits(
        self,
        seen: Snapshot,
        name: str,
        mine: Mine,
        looked: SyncSeen,
        promoted_at: int | Unknown,
    ) -> bool:
        """Silence counts for who is in already, and against who would enter (S2)."""
        report = seen.report_of(name)
        if report is not None and report.nofailover:
            return False
        known = dict(zip(mine.item.sync.members, mine.item.sync.incarnations, strict=False)).get(name)
        if known and report is not None and report.incarnation != known:
            return False  # another data directory: out of the item first, then in as what it is (S5)
        if not known and (report is None or not report.incarnation):
            return False  # nobody could tell later whether a seal of it speaks for these data
        if name in looked.shown.members:
            return True
        if isinstance(promoted_at, Unknown):
            self._journal.trouble("letting standbys into the sync set", promoted_at)
            return False
        if not is_on_line(report, seen.server):
            return False  # positions of another line prove nothing, and a walreceiver tells those as well
        return looked.flushed.get(name, 0) >= promoted_at

    def _standing(
        self, seen: Snapshot, mine: Mine, unsettled: bool, looked: SyncSeen, choice: Choice
    ) -> SyncStanding:
        sync = mine.item.sync
        return SyncStanding(
            sync,
            unsettled,
            looked.shown,
            looked.written,
            self._barrier,
            looked.flushed,
            choice.wanted,
            sealed_members(seen.fresh(), mine.epoch, sync.version),
            looked.proved,
        )

    def _complain(self, now: SyncStanding) -> None:
        if isinstance(now.shown, Unknown) or not (why := complaint(now.sync, now.shown)):
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
                self._failed_at = self._clock.now()
                return False
            self._journal.fine("setting whom commits wait for")
            at("waits-before-item")
            self._journal.event("waits-for", k=step.wait.k, members=",".join(step.wait.members))
            return True
        if isinstance(step, WriteItem):
            sync = SyncSet(
                step.sync.members, step.sync.k, step.sync.version, self._incarnations(seen, mine, step.sync)
            )
            mode = mine.item.mode
            may_claim = claimants(mode, seen.me.name, sync.members, mine.item.may_claim)
            promise = SyncPromise(sync, may_claim, mode)
            landed = self._keeper.write_sync(mine.epoch, promise)
            if landed:
                at("item-before-waits")
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


def is_on_line(report: NodeReport | None, primary: Server | Unknown) -> bool:
    """→ a spare whose WAL went beyond the new primary's beginning tried to stream: PostgreSQL takes up to a
    segment's worth of it as flushed, on the old timeline, for a moment each time.
    """
    standby = report.server if report is not None else None
    if not isinstance(standby, Server) or not isinstance(primary, Server):
        return False
    return standby.timeline >= primary.timeline


def began_at(server: Server) -> int | Unknown:
    """What a standby must have flushed to be on this primary's timeline for sure: a byte of it (S2)."""
    if server.timeline <= 1:
        return 0
    if not server.history:
        return Unknown(f"the history of timeline {server.timeline} is not there: where it began is not known")
    return server.history[-1].lsn + 1


def _progress(step: Step, choice: Choice, looked: SyncSeen) -> SyncProgress:
    waits: dict[type[Step], str] = {
        Settle: "a write of the lease to be settled",
        SetPostgres: "PostgreSQL to obey",
        WriteItem: "the store",
    }
    away = tuple(name for name in looked.shown.members if name not in looked.flushed)
    hang = away if len(looked.shown.members) - len(away) < looked.shown.k else ()
    in_place, waiting_for = False, waits.get(type(step), "")
    if isinstance(step, InPlace):
        in_place, waiting_for = choice.enough, ", ".join(choice.waiting_for)
    elif isinstance(step, AwaitBarrier):
        waiting_for = f"{', '.join(step.behind)} to flush what was committed before"
    elif isinstance(step, LookAgain):
        waiting_for = step.why
    return SyncProgress(in_place, waiting_for, hang, looked.waiting, looked.longest_wait_s)
