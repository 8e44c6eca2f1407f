"""Fences who held the lease and did not give it away, before PostgreSQL here is promoted (docs/fencing.md).

One pass per round of the decision loop, beside it: look, note, ask, look again. Whether PostgreSQL may be
promoted is decided by `core.fencing`, over what this shows.

Remaining window: a request that was sent while the lease was ours may be carried out after we lost it, or
when nobody waits for it any more. It then stops a node that could have stayed up; it lets nobody write.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace

from failover_agent.core.fencing import Fences, Fencing, still_open, waited_for
from failover_agent.core.model import Holder, Unknown
from failover_agent.core.snapshot import Mine
from failover_agent.errors import AgentError, FencePending, FenceRefused, RightMissing
from failover_agent.killpoints import at
from failover_agent.ports import Clock, Fence
from failover_agent.shell.fence_notes import ASKED, FENCED, LET_BACK, FenceNote, FenceNotes
from failover_agent.shell.journal import Journal
from failover_agent.shell.keeper import Keeper
from failover_agent.shell.threads import Workers

ASK_AGAIN_S = 10.0  # between two requests for one fence whose effect does not show
A_PERSON = "a person's word"


class Unfenceable:
    """Implements `ports.Fence` where no method is set: knows nothing, does nothing."""

    def is_fenced(self, instance_id: str) -> bool | Unknown:
        return Unknown(f"no method fences {instance_id}")

    def before(self, instance_id: str) -> Mapping[str, str] | Unknown:
        return Unknown(f"no method fences {instance_id}")

    def fence(self, instance_id: str) -> Unknown | None:
        raise _no_method(instance_id)

    def undo(self, instance_id: str, before: Mapping[str, str]) -> Unknown | None:  # noqa: ARG002  # the port's
        raise _no_method(instance_id)


def _no_method(instance_id: str) -> FenceRefused:
    return FenceRefused.about(
        f"fence of {instance_id}",
        value="fencing.method is none",
        expected="stop-instance or isolate",
        hint="Set primacy_fencing in the inventory and run playbooks/site.yml.",
    )


class Fencer:
    def __init__(
        self,
        me: str,
        fencing: Fencing,
        fence: Fence,
        notes: FenceNotes,
        *,
        keeper: Keeper,
        clock: Clock,
        workers: Workers,
        journal: Journal,
    ) -> None:
        self._me = me
        self._fencing = fencing
        self._fence = fence
        self._notes = notes
        self._keeper = keeper
        self._clock = clock
        self._workers = workers
        self._journal = journal
        self._lock = threading.Lock()
        self._at_work = False
        self._asked_at: dict[str, float] = {}
        self.fences = Fences()

    def begin(self, epoch: int) -> None:
        """One pass over everybody who is open, beside the round; nothing while one is under way."""
        with self._lock:
            if self._at_work:
                return
            self._at_work = True
        self._know(epoch)
        self._workers.start("fence", lambda: self._pass(epoch))

    def _know(self, epoch: int) -> None:
        with self._lock:
            if self.fences.epoch != epoch:
                self.fences = Fences(epoch, since=self._clock.now())
                self._asked_at.clear()

    def _pass(self, epoch: int) -> None:
        try:
            mine = self._keeper.mine()
            for holder in still_open(mine.item, self.fences) if mine is not None else ():
                self._try(epoch, holder)
        finally:
            with self._lock:
                self._at_work = False

    def _try(self, epoch: int, holder: Holder) -> None:
        where, instance_id = f"fencing {holder.name}", holder.instance_id
        seen = self._fence.is_fenced(instance_id)
        if seen is False:
            try:
                asked = self._ask(epoch, holder)
            except AgentError as error:
                self._leave_open(instance_id, str(error.args[0]), refused=isinstance(error, FenceRefused))
                self._journal.trouble(where, error)
                return
            seen = asked if isinstance(asked, Unknown) else self._fence.is_fenced(instance_id)
        if seen is True:
            self._journal.fine(where)
            self._close(epoch, holder, self._fencing.method)
        elif isinstance(seen, Unknown):
            # Who may not look will not see it fenced either, however long it is waited for.
            self._leave_open(instance_id, seen.why, refused=isinstance(seen.cause, RightMissing))
            self._journal.trouble(where, seen)
        elif instance_id not in self.fences.refused:
            self._leave_open(instance_id, "asked for, not seen to be done yet")

    def _ask(self, epoch: int, holder: Holder) -> Unknown | None:
        """Note what undoes it, then ask, if the lease is ours right before. Raises AgentError."""
        instance_id, now = holder.instance_id, self._clock.now()
        if now < self._asked_at.get(instance_id, float("-inf")) + ASK_AGAIN_S:
            return None
        before = self._fence.before(instance_id)
        if isinstance(before, Unknown):
            return before
        unsure = self._keep(epoch, holder, before)
        if before and unsure is not None:
            return unsure  # what nobody could undo is not done
        at("noted-before-fence")
        mine = self._keeper.mine()
        wanted = mine is not None and waited_for(self._fencing, mine.item, self.fences, self._clock.now())
        if not wanted or not self._keeper.holds(epoch):
            return Unknown("not the holder any more, or nobody waits for it")
        self._journal.event("fence", node=holder.name, instance=instance_id, method=self._fencing.method)
        self._asked_at[instance_id] = now
        return self._fence.fence(instance_id)

    def _keep(self, epoch: int, holder: Holder, before: Mapping[str, str]) -> Unknown | None:
        """Over what an earlier try found: when half of it is done, what was there before shows no more."""
        old = self._notes.of(holder.name, holder.instance_id)
        if isinstance(old, Unknown):
            return old
        if old is not None and old.state != LET_BACK:
            before = {**before, **dict(old.before)}
        kept = tuple(sorted(before.items()))
        return self._notes.write(self._note(epoch, holder, ASKED, self._fencing.method, kept))

    def _note(
        self, epoch: int, holder: Holder, state: str, how: str, before: tuple[tuple[str, str], ...]
    ) -> FenceNote:
        wall = round(self._clock.wall())
        return FenceNote(holder.name, holder.instance_id, state, how, self._me, epoch, wall, before)

    def _leave_open(self, instance_id: str, why: str, *, refused: bool = False) -> None:
        with self._lock:
            known = {**dict(self.fences.why), instance_id: why}
            no = self.fences.refused | {instance_id} if refused else self.fences.refused
            self.fences = replace(self.fences, why=tuple(sorted(known.items())), refused=no)

    def _close(self, epoch: int, holder: Holder, how: str) -> None:
        at("fenced-before-note")
        with self._lock:
            if self.fences.epoch == epoch:
                self.fences = replace(self.fences, closed=self.fences.closed | {holder.instance_id})
        self._keeper.fenced(epoch, holder.instance_id)
        self._journal.event("fenced", node=holder.name, instance=holder.instance_id, by=how)
        self._journal.phase("fenced", epoch)
        old = self._notes.of(holder.name, holder.instance_id)
        kept = old.before if isinstance(old, FenceNote) else ()
        if not isinstance(old, Unknown):  # what undoes it must not be written over unread
            self._notes.write(self._note(epoch, holder, FENCED, how, kept))

    def ensure(self, mine: Mine) -> None:
        """The last look before a promotion. Raises FencePending."""
        if waits := self.waits_for(mine):
            raise self._pending(waits)
        for holder in still_open(mine.item, self.fences) if self._fencing.on else ():
            why = self.fences.why_open(holder.instance_id)
            self._journal.event("fence-passed-over", node=holder.name, epoch=mine.epoch, why=why)
            self._keeper.fenced(mine.epoch, holder.instance_id)

    def waits_for(self, mine: Mine | None) -> tuple[Holder, ...]:
        if mine is None:
            return ()
        return waited_for(self._fencing, mine.item, self.fences, self._clock.now())

    def vouch(self, name: str) -> dict[str, object]:
        """A person says that this node runs no more, or reaches nobody. Raises FenceRefused."""
        mine = self._keeper.mine()
        waits = still_open(mine.item, self.fences) if mine is not None else ()
        found = [holder for holder in waits if holder.name == name]
        if mine is None or not found:
            raise FenceRefused.about(
                f"fence of {name}",
                value=f"{self._me} waits for {', '.join(h.name for h in waits) or 'nobody'}",
                expected="the node that holds the lease, and a node that it waits for",
                hint="`failoverctl status` names both; say it there.",
            )
        self._know(mine.epoch)
        for holder in found:
            self._close(mine.epoch, holder, A_PERSON)
        return {"ok": True, "node": name}

    def problems(self, mine: Mine | None) -> tuple[AgentError, ...]:
        waits = self.waits_for(mine)
        return (self._pending(waits),) if waits else ()

    def _pending(self, waits: tuple[Holder, ...]) -> FencePending:
        told = "; ".join(f"{h.name} ({h.instance_id}): {self.fences.why_open(h.instance_id)}" for h in waits)
        return FencePending.about(
            "promotion of this node",
            value=f"waits for the fence of {told}",
            expected="the cloud to show it fenced",
            hint="If you know that it runs no more:"
            f" `failoverctl confirm-fenced {' or '.join(h.name for h in waits)}` on this node."
            " See docs/fencing.md.",
        )
