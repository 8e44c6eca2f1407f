"""Who is fenced, and how a fenced node comes back: by a person's order, by the policy, or by itself.

A machine that was stopped needs to prove nothing: it boots with its gate shut (G1), and PostgreSQL starts
only with the agent's leave, as a standby (N1). One that is cut off and runs can prove nothing: nobody hears
it. So only a stopped one is let back without a person (`undo: automatic`), once there is a new primary. That
need not serve yet: in mode strict it may be the fenced node that its clients wait for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from failover_agent.core.fencing import Fencing
from failover_agent.core.model import Member, Unknown
from failover_agent.errors import AgentError, FenceRefused, NodeFenced
from failover_agent.ports import Clock, Fence
from failover_agent.shell.fence_notes import ASKED, FENCED, LET_BACK, FenceNote, FenceNotes
from failover_agent.shell.journal import Journal
from failover_agent.shell.keeper import Keeper

LOOK_S = 10.0
LATE_S = 900.0  # a request whose effect was never seen may still be carried out within this


class Unfencer:
    def __init__(
        self,
        fencing: Fencing,
        fence: Fence,
        notes: FenceNotes,
        *,
        keeper: Keeper,
        promoted: Callable[[], int],
        clock: Clock,
        journal: Journal,
    ) -> None:
        """`promoted`: the epoch whose beginning by this node stands in the history; 0: none."""
        self._fencing = fencing
        self._fence = fence
        self._notes = notes
        self._keeper = keeper
        self._promoted = promoted
        self._clock = clock
        self._journal = journal
        self._look_at = 0.0
        self.fenced: dict[str, FenceNote] = {}  # by node, as last read

    def round(self) -> None:
        """Every few seconds: who is fenced; and where we were promoted, who came back, or may."""
        now = self._clock.now()
        if not self._fencing.on or now < self._look_at:
            return
        self._look_at = now + LOOK_S
        notes = self._notes.read()
        if isinstance(notes, Unknown):
            return
        self.fenced = {name: note for name, note in notes.items() if note.state == FENCED}
        epoch = self._promoted()
        for note in notes.values() if epoch else ():
            if note.state != LET_BACK and self._keeper.holds(epoch):
                self._settle(note)

    def _settle(self, note: FenceNote) -> None:
        """What the cloud shows of it by now: back already, fenced late, or still fenced."""
        where = f"letting {note.name} back"
        try:
            fenced = self._fence.is_fenced(note.instance_id)
            may_unfence = fenced is True and self._fencing.undo == "automatic"
            unsure = self._fence.undo(note.instance_id, dict(note.before)) if may_unfence else None
        except AgentError as error:
            self._journal.trouble(where, error)
            return
        if isinstance(fenced, Unknown) or isinstance(unsure, Unknown):
            self._journal.trouble(where, unsure or fenced)
            return
        self._journal.fine(where)
        if may_unfence:
            self._let_back(note, "the policy")
        elif fenced and note.state == ASKED:
            self._notes.write(replace(note, state=FENCED))
            self.fenced[note.name] = note
        elif not fenced and (note.state == FENCED or self._clock.wall() > note.at + LATE_S):
            self._let_back(note, "somebody" if note.state == FENCED else "time")

    def unfence(self, member: Member) -> dict[str, object]:
        """A person lets a node back. Raises AgentError."""
        notes = self._notes.read()
        if isinstance(notes, Unknown):
            raise _unsure(member, f"the store does not say what was done ({notes.why})")
        note = notes.get(member.name) or FenceNote(member.name, member.instance_id, LET_BACK)
        done = self._fence.undo(note.instance_id, dict(note.before))
        if isinstance(done, Unknown):
            raise _unsure(member, f"the cloud did not answer ({done.why})")
        self._let_back(note, "a person")
        return {"ok": True, "node": member.name, "instance": note.instance_id}

    def _let_back(self, note: FenceNote, by: str) -> None:
        self._notes.write(replace(note, state=LET_BACK))
        self.fenced.pop(note.name, None)
        self._journal.event("unfenced", node=note.name, instance=note.instance_id, by=by)

    def problems(self) -> tuple[AgentError, ...]:
        return tuple(
            NodeFenced.about(
                f"node {note.name} ({note.instance_id})",
                value=f"fenced ({note.method}) by {note.by} in epoch {note.epoch}",
                expected="back in the cluster",
                hint=f"Find out why it was lost, then `failoverctl unfence {note.name}`."
                " See docs/fencing.md.",
            )
            for note in tuple(self.fenced.values())
        )


def _unsure(member: Member, why: str) -> FenceRefused:
    return FenceRefused.about(
        f"return of {member.name}",
        value=why,
        expected="an answer",
        hint="It may have been done. Say it again, on another node if this one does not get there.",
    )
