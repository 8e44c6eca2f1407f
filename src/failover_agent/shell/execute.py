"""Carries out what a decision asks for. Every step may die after any line: the next round repairs it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from failover_agent.core import snapshot as s
from failover_agent.core.model import Server, ServerState, Unknown
from failover_agent.errors import AgentError, PeerRefused, PostgresFailed, RewindNotBegun
from failover_agent.killpoints import at
from failover_agent.ports import Progress
from failover_agent.shell.body import HALF_REWOUND, Body
from failover_agent.shell.handover import recover_primary, switch_over
from failover_agent.shell.leave import leave_full_disk, leave_hung_storage
from failover_agent.shell.observe import Observer

FENCE_STOP_S = 5.0  # the gate is shut already: time for a clean end, which makes the rewind cheap
CLONE_AFTER_REFUSALS = 3  # rewinds refused in a row: the WAL they need is gone for good
PROMOTE_S = 30.0  # the rule `await-replay` leaves little to replay; the whole loop waits meanwhile


class Executor:
    def __init__(self, body: Body, observer: Observer) -> None:
        self._body = body
        self._observer = observer
        self._refused_rewinds = 0
        self._seen: s.Snapshot | None = None  # what the decision rests on
        self._hands: dict[type, Callable[[Any], object]] = {
            s.DropBeliefs: self._drop_beliefs,
            s.ShutGate: lambda _: body.keeper.dismiss(),
            s.UnbindVips: lambda _: body.unbind_vips(),
            s.StopPostgres: lambda _: body.ports.postgres.stop(FENCE_STOP_S),
            s.Claim: self._claim,
            s.GatherSeals: lambda a: body.campaign.gather(a.seen, a.members),
            s.Release: self._release,
            s.Init: self._init,
            s.RecoverPrimary: lambda a: recover_primary(body, observer.expect_primary, a.in_place),
            s.FenceFirst: lambda a: body.fencer.begin(a.epoch),
            s.TakeOver: self._take_over,
            s.Serve: self._serve,
            s.AwaitSyncSet: self._serve,
            s.PublishIdentity: lambda _: self._publish(),
            s.SwitchOver: lambda a: switch_over(body, a.order),
            s.LeaveHungStorage: lambda _: leave_hung_storage(body),
            s.LeaveFullDisk: lambda _: leave_full_disk(body),
            s.StartStandby: self._start_standby,
            s.Follow: self._follow,
            s.Rewind: self._rewind,
            s.Clone: self._clone,
        }

    def do(self, action: s.Action, seen: s.Snapshot) -> None:
        """Carry out what was decided on `seen`.

        Raises AgentError; the rest of the decision is then left to the next round.
        """
        self._seen = seen
        self._hands[type(action)](action)

    def _drop_beliefs(self, _: s.DropBeliefs) -> None:
        self._body.keeper.drop("slept longer than the lease")
        self._observer.forget()
        self._body.wake()

    def _claim(self, action: s.Claim) -> None:
        if action.seen is not None:
            self._body.journal.phase("detected", action.seen.item.epoch)
        if self._body.sealer.against():
            at("sealed-before-claim")
        self._body.keeper.claim(action.seen)
        self._body.wake()

    def _release(self, action: s.Release) -> None:
        self._body.jobs.give_up()
        self._body.keeper.release(action.offered_to, data_lost=action.data_lost)

    def _take_over(self, action: s.TakeOver) -> None:
        """Bind, end every session, wake the router, promote, publish, open: in this order, while the lease
        is ours (G6). The routes may be changed from then on, before or after the gate opens."""
        body = self._body
        at("claimed-before-bind")
        body.bind_vips()
        mine = body.keeper.mine()
        if mine is None or mine.epoch != action.epoch or body.keeper.serving_epoch() == action.epoch:
            return  # served already: a PostgreSQL that hangs is still seen as the standby that it was
        body.fencer.ensure(mine)
        timeline = self._observer.timeline()
        self._observer.expect_primary()
        try:
            body.keeper.prepare(action.epoch)
            body.routes_waker.set()  # bound, and nobody else's sessions are left: the route may come
            at("shut-before-intent")
            body.promotions.intend(action.epoch, timeline)
            at("intended-before-promote")
            body.ports.postgres.promote(PROMOTE_S, mine.valid_until, above=mine.item.timeline)
        except AgentError as error:
            body.jobs.failed_starts += 1
            if isinstance(error, PostgresFailed):
                body.unbind_vips()
                body.ports.postgres.stop(FENCE_STOP_S)  # what was told and not seen must not come true later
            raise
        body.jobs.failed_starts = 0
        body.journal.phase("promoted", action.epoch)
        at("promoted-before-publish")
        server = self._publish()
        if server is None:
            return  # the rule `publish` goes on
        at("published-before-open")
        if self._may_open(action.epoch, server):
            self._open(action.epoch)
            at("opened-before-record")
        else:
            for member in body.settings.others:  # who learns of us now vouches for commits sooner
                body.ports.peers.wake(member.name)
        body.workers.start("after-promotion", lambda: self._after_promotion(action.epoch))

    def _publish(self) -> Server | None:
        """PostgreSQL here, once the lease item names the timeline it is on; None: it does not yet."""
        keeper, server = self._body.keeper, self._body.ports.postgres.observe()
        if not isinstance(server, Server) or server.state is not ServerState.PRIMARY:
            return None
        keeper.know(server)
        for _ in range(2):  # a renewal that was under way before may settle first, and does not name it
            keeper.renew_now()
            mine = keeper.mine()
            if mine is not None and mine.item.timeline >= server.timeline:
                return server
        return None

    def _may_open(self, epoch: int, server: Server) -> bool:
        """Bring the sync set towards what the mode wants; whether clients may be let in, or stay in (S2)."""
        body = self._body
        mine = body.keeper.mine()
        if mine is None or self._seen is None:
            return False
        progress = body.synchroniser.round(self._seen, server)
        is_open = body.keeper.serving_epoch() == epoch
        return is_open or progress.in_place or mine.item.mode == "async"

    def _after_promotion(self, epoch: int) -> None:
        """Beside the rounds: the history, then a checkpoint, so that others may rewind against us sooner."""
        try:
            self._body.promotions.record(epoch)
            self._body.ports.postgres.checkpoint()
        except AgentError as error:
            self._body.journal.trouble("the checkpoint after the promotion", error)

    def _serve(self, action: s.Serve | s.AwaitSyncSet) -> None:
        self._body.bind_vips()
        server = self._seen.server if self._seen else None
        if isinstance(server, Server) and self._may_open(action.epoch, server):
            self._open(action.epoch)
        self._body.promotions.record(action.epoch)
        self._body.ports.bootstrap_token.spend()

    def _open(self, epoch: int) -> None:
        body = self._body
        body.keeper.was_primary()
        if body.keeper.serving_epoch() == epoch or not body.keeper.holds(epoch):
            return
        body.keeper.serve(epoch)
        if body.keeper.serving_epoch() != epoch:
            return  # the last beat is too old: after the next
        body.journal.phase("opened", epoch)
        body.routes_waker.set()  # the API may take its time, or fail: who finds us is served
        body.wake()

    def _follow(self, action: s.Follow) -> None:
        """Not whom this node is sealed against: the seal's end comes with a read of the lease (F4)."""
        if not action.upstream or action.upstream != self._body.sealer.against():
            self._body.ports.postgres.follow(action.upstream, action.slot)

    # Long jobs

    def _init(self, _: s.Init) -> None:
        body = self._body

        def init(progress: Progress) -> None:
            at("claimed-before-init")
            body.incarnation.end()
            body.ports.postgres.init(progress)
            at("initialised-before-note")
            body.keeper.was_primary()  # fresh data: it starts as primary without a promotion

        body.jobs.start("initdb", init)

    def _start_standby(self, action: s.StartStandby) -> None:
        body = self._body

        def start(_: Progress) -> None:
            try:
                body.promotions.forget_what_never_came(body.ports.postgres.observe())
                sealed = action.upstream == body.sealer.against()
                body.ports.postgres.start_standby("" if sealed else action.upstream)  # F3
                if action.upstream:  # else it is to be promoted, and only that shall end the count
                    body.jobs.failed_starts = 0
            except AgentError:
                body.jobs.failed_starts += 1
                raise

        body.jobs.start("start", start)

    def _rewind(self, action: s.Rewind) -> None:
        body, postgres = self._body, self._body.ports.postgres

        def rewind(progress: Progress) -> None:
            self._get_slot(action.upstream)
            at("granted-before-stop")
            postgres.stop(FENCE_STOP_S)
            body.ports.state_notes.save(HALF_REWOUND, {"upstream": action.upstream})
            body.incarnation.end()
            at("noted-before-rewind")
            self._rewind_or_note(action.upstream, progress)
            at("rewound-before-notes")
            body.promotions.forget()
            body.ports.state_notes.forget(HALF_REWOUND)
            at("rewound-before-start")
            postgres.start_standby(action.upstream)

        body.jobs.start("rewind", rewind)

    def _rewind_or_note(self, upstream: str, progress: Progress) -> None:
        """A failure leaves the note, and a clone follows; except while nothing was changed yet."""
        try:
            kept = self._body.ports.postgres.rewind(upstream, progress)
            self._refused_rewinds = 0
            self._body.journal.event("diverged-kept", at=kept.get("kept"), lost=json.dumps(kept.get("lost")))
        except RewindNotBegun:
            self._refused_rewinds += 1
            if self._refused_rewinds < CLONE_AFTER_REFUSALS:
                self._body.ports.state_notes.forget(HALF_REWOUND)
            else:
                self._refused_rewinds = 0
            raise

    def _clone(self, action: s.Clone) -> None:
        body, postgres = self._body, self._body.ports.postgres

        def clone(progress: Progress) -> None:
            if action.over_existing:
                self._get_slot(action.upstream)
                postgres.stop(FENCE_STOP_S)
            at("granted-before-copy")
            body.incarnation.end()
            postgres.clone(action.upstream, progress)
            at("cloned-before-notes")
            body.promotions.forget()
            body.ports.state_notes.forget(HALF_REWOUND)
            at("cloned-before-start")
            postgres.start_standby(action.upstream)

        body.jobs.start("clone", clone)

    def _get_slot(self, holder: str) -> None:
        """One node at a time may do what cannot be undone (N5)."""
        answer = self._body.ports.peers.ask_rejoin(holder)
        if isinstance(answer, Unknown):
            raise PostgresFailed(
                f"{holder} does not say whether {self._body.me} may rejoin ({answer.why})",
                hint="It is asked again; look at the agents' port between the two.",
            )
        if not answer:
            raise PeerRefused(
                f"{holder} lets another node rejoin before {self._body.me}", hint="Wait; it is asked again."
            )
        self._body.jobs.turn_from = holder
