"""The agent of one node: its threads, and what others may ask of it.

Rounds are plain methods (`loop.round`, `keeper.round`, `router.round`); the threads here
only call them, so a simulation can call the very same on one thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import replace

from failover_agent.core.logical_loss import logical_slots_at_risk
from failover_agent.core.model import (
    LeaseItem,
    Mode,
    NodeReport,
    Server,
    ServerState,
    SyncProgress,
    Unknown,
    Version,
    WriteOutcome,
)
from failover_agent.core.problems import problems
from failover_agent.core.promises import Promise
from failover_agent.core.promotion import Standing
from failover_agent.core.relay import RouteChange
from failover_agent.core.seals import Seal, Sealed
from failover_agent.errors import AgentError, PeerRefused, PeerSilent, PostgresFailed
from failover_agent.shell import archive, forced, mode_switch, pausing
from failover_agent.shell.body import Body, Ports, Settings, make_body
from failover_agent.shell.journal import Journal
from failover_agent.shell.loop import Loop
from failover_agent.shell.observe import Observer
from failover_agent.shell.routes import Router
from failover_agent.shell.status import cluster_status
from failover_agent.shell.threads import Threads, Workers

__all__ = ["Agent", "Ports", "Settings"]

ORDER_S = 60.0  # a switchover is given up when it has not begun and ended here within this
TARGET_SERVES_S = 30.0  # and its target must serve within this
ASK_S = 0.02  # between two questions to the target


class Agent:
    def __init__(
        self,
        ports: Ports,
        settings: Settings,
        fresh_token: Callable[[], str],
        *,
        workers: Workers | None = None,
        journal: Journal | None = None,
    ) -> None:
        workers = workers or Threads()
        journal = journal or Journal(ports.clock.wall)
        self.body: Body = make_body(ports, settings, fresh_token, workers, journal)
        self.keeper = self.body.keeper
        self.observer = Observer(self.body)
        self.loop = Loop(self.body, self.observer, self._report_of)
        self.router = Router(self.body)
        ports.peers.carry(self._epoch_held, self.keeper.heard_by)
        self._stopping = threading.Event()
        self._failure: BaseException | None = None
        self._keeper_seen = ports.clock.now()

    # Running

    def begin(self) -> None:
        """Take up what an earlier life left, and listen for what must not wait for a round."""
        self._settle()
        self.keeper.adopt()
        self.body.readers.adopt()
        self.body.sealer.begin()
        self.body.ports.gate.watch(self.keeper.disturbed)
        self.body.ports.postgres.on_death(self.wake)
        self.body.ports.probes.start()

    def _settle(self) -> None:
        try:
            self.body.ports.postgres.settle()
        except AgentError as error:
            self.body.journal.trouble("taking back what an earlier start left", error)

    def run(self) -> None:
        """Run until `stop`. PostgreSQL, the gate and the lease are left as they are: a next life goes on.

        Raises what a thread died of; nothing is done about it here, the lease ends by itself.
        """
        self.begin()
        clock = self.body.ports.clock
        # A life that cannot end one round must not renew what an earlier one held: it would keep the
        # lease from everybody, start after start, and never serve.
        self.loop.round()
        self._keeper_seen = clock.now()
        self._spawn("keeper", self._keeper_round, self.keeper.waker, self.keeper.pause_s)
        self._spawn("router", self.router_round, self.body.routes_waker, self.router.pause_s)
        self.body.ports.supervisor.ready("running")
        while not self._stopping.is_set():
            self.loop.round()
            self._tell_supervisor()
            clock.wait(self.body.waker, self.loop.pause_s())
            self.body.waker.clear()
        if self._failure is not None:
            raise self._failure
        self.keeper.leave(for_good=self.body.ports.supervisor.ends_for_good())

    def stop(self) -> None:
        self._stopping.set()
        for waker in (self.body.waker, self.keeper.waker, self.body.routes_waker):
            waker.set()

    def wake(self) -> None:
        """The next round begins at once: something changed."""
        self.body.wake()

    def router_round(self) -> None:
        self.router.round()
        self.router.look_at_interface()
        self.body.unfencer.round()
        self.observer.reaches_ec2 = self.router.reaches_ec2()

    def _keeper_round(self) -> None:
        self.keeper.round()
        self._keeper_seen = self.body.ports.clock.now()

    def _spawn(
        self, name: str, work: Callable[[], None], waker: threading.Event, pause_s: Callable[[], float]
    ) -> None:
        clock = self.body.ports.clock

        def rounds() -> None:
            try:
                while not self._stopping.is_set():
                    work()
                    clock.wait(waker, pause_s())
                    waker.clear()
            except BaseException as error:  # impossible by design: end the process, systemd starts anew
                self.body.journal.event("fatal", thread=name, why=repr(error))
                self._failure = error
                self.stop()

        self.body.workers.start(name, rounds)

    def _tell_supervisor(self) -> None:
        """The loop runs; say that we live only if the keeper does, too."""
        silent_s = self.body.ports.clock.now() - self._keeper_seen
        if silent_s <= 2 * self.body.settings.timings.ttl_s:
            self.body.ports.supervisor.alive(self.loop.rule)

    # What others ask

    def report(self) -> NodeReport:
        """This node, looked at now."""
        return self._report_of(self.body.ports.postgres.observe())

    def report_to(self, name: str, epoch: int) -> NodeReport:
        """The same for member `name`, which says that it holds the lease in `epoch` (F1, F6).

        Noted first: a seal given before shows in the report, one given later waits. That this life has read
        the epoch is looked at last: a seal ends only after a later one was read, so no end of it is missed.

        → db2 slept, db1 and db3 sealed, db1 claimed, db3 read that and was sealed no more: db2 woke, took
        db3's answer for proof that nobody had claimed, and opened beside db1.
        """
        self.body.sealer.hear(name)
        report = self.report()
        return replace(report, noted=epoch if self.observer.last_epoch == epoch else 0)

    def _epoch_held(self) -> int:
        mine = self.keeper.mine()
        return mine.epoch if mine else 0

    def _report_of(self, server: Server | Unknown) -> NodeReport:
        settings = self.body.settings
        is_primary = isinstance(server, Server) and server.state is ServerState.PRIMARY
        return NodeReport(
            name=settings.me.name,
            az=settings.me.az,
            instance_id=settings.me.instance_id,
            server=server,
            epoch=self.observer.last_epoch,
            holds_lease=self.keeper.mine() is not None,
            doing=self.body.jobs.doing(),
            reaches_ec2=self.router.reaches_ec2(),
            reads_store=self.observer.reads_store(),
            nofailover=settings.nofailover or self.body.jobs.stands_back() or self._is_abandoned(),
            priority=settings.priority,
            version=settings.version,
            serving=is_primary and self.keeper.holds(self.keeper.serving_epoch()),
            interface_id=settings.interface_id,
            rejoins=bool(self.body.jobs.turn_from),
            sync=self._sync(is_primary),
            incarnation=self.body.incarnation.told(),
            sealed=self.body.sealer.sealed_version(),
            reads_open=self.keeper.gate.reads_open(self.body.ports.clock.now()),
            health=self.body.vigil.health,
            kept=self.body.slots.told,
            promised=self.keeper.promises.epoch(),
            paused=bool(self.observer.item and self.observer.item.paused),
            suspects_after_s=self.body.sealer.suspects_after_s(),
        )

    def _sync(self, is_primary: bool) -> SyncProgress | None:
        mine = self.keeper.mine()
        if mine is None or not is_primary or mine.item.mode == "async":
            return None
        return self.body.synchroniser.progress

    def _is_abandoned(self) -> bool:
        return self.observer.standing is Standing.ABANDONED

    def cluster(self) -> dict[str, object]:
        """What `failoverctl status --json` prints."""
        found = cluster_status(self.body, self.observer, self.router, self.report())
        return found | {"rule": self.loop.rule, "problems": [error.fields() for error in self.problems()]}

    def problems(self) -> tuple[AgentError, ...]:
        """What of this node a person should know or repair, each once, by class and fields."""
        seen = self.loop.seen
        found = problems(seen, self.body.settings.cluster) if seen is not None else ()
        body = self.body
        found = (*found, *body.fencer.problems(self.keeper.mine()), *body.unfencer.problems())
        found = (*found, *self.router.problems())
        told = {(type(e).__name__, e.object, e.value): e for e in (*found, *body.journal.troubles())}
        return tuple(told.values())

    def vote(self, asked: Seal) -> str:
        """Why this node would not seal; empty when it would (F1)."""
        return self.body.sealer.vote(asked)

    def seal(self, asked: Seal) -> Sealed:
        """Take nothing more from the old primary, and say how far this node's WAL goes. Raises AgentError."""
        answer = self.body.sealer.seal(asked)
        self.wake()  # it may be this node's turn to claim: it need not find out at its next poll
        return answer

    def promise(self, asked: Promise) -> str:
        """Why this node does not promise the holder that asks not to claim; empty when it has (P1)."""

        def seen() -> tuple[tuple[int, int], int, LeaseItem | None]:
            # In this order: a later epoch is learnt before it ends a seal, as in `report_to` (F6).
            return self.body.sealer.sealed_version(), self.observer.last_epoch, self.observer.item

        return self.keeper.promise(asked, seen)

    def relay_write(self, asker: str, item: LeaseItem, only_if: Version) -> WriteOutcome:
        """Carry a holder's own write of the lease, unchanged (P4). Raises PeerRefused."""
        return self.body.relay.write(asker, item, only_if)

    def relay_targets(self, vip: str) -> Mapping[str, str] | Unknown:
        """Look at the route tables for a peer. Raises PeerRefused."""
        return self.body.relay.targets(vip)

    def relay_point(self, asker: str, change: RouteChange) -> Unknown | None:
        """Change a route for the holder, while its lease lasts (R1). Raises AgentError."""
        return self.body.relay.point(asker, change)

    def grant_rejoin(self, name: str) -> bool:
        """Whether node `name` may do, or go on with, what cannot be undone: one at a time (N5)."""
        granted = self.body.rejoin_turn.grant(name)
        if not granted:
            self.wake()  # it may have to leave the sync set first, and asks again
        return granted

    def may_archive(self, name: str) -> dict[str, object]:
        return archive.may_archive(self.body, name)

    def may_restore(self, name: str, segment_bytes: int) -> dict[str, object]:
        return archive.may_restore(self.body, name, segment_bytes)

    def request_switchover(self, to: str) -> dict[str, object]:
        """Hand over to `to` (empty: the best standby); returns when the target serves, or why not.

        Asked of a node that does not hold the lease, it is passed on to the holder.
        """
        try:
            return self._switch_over(to) if self.keeper.mine() else self._pass_on(to)
        except AgentError as error:
            return error.refusal(f"switchover to {to or 'the best standby'}")

    def request_failover(self, to: str, accept_loss: bool) -> dict[str, object]:
        """Let `to` take a free lease although something may be lost; returns when it serves, or why not."""
        try:
            if to == self.body.me:
                return forced.failover(self.body, self.loop.seen, accept_loss)
            answer = self.body.ports.peers.order_failover(to, accept_loss)
            if isinstance(answer, Unknown):
                raise _unheard(f"order to {to} to take over", answer)
            return dict(answer)
        except AgentError as error:
            return error.refusal(f"failover to {to}")

    def unfence(self, name: str) -> dict[str, object]:
        """Let a fenced node back, on a person's order, by whichever node is asked. Raises AgentError."""
        members = {m.name: m for m in (self.body.settings.me, *self.body.settings.others)}
        return self.body.unfencer.unfence(members[name])

    def confirm_fenced(self, name: str) -> dict[str, object]:
        """Take a person's word that `name` runs no more. Raises AgentError where nobody waits for it."""
        answer = self.body.fencer.vouch(name)
        self.wake()
        return answer

    def request_mode(self, mode: Mode) -> dict[str, object]:
        """Switch what commits are promised, or have the holder do it; returns what was there before."""
        return mode_switch.request(self.body, self.observer.holder_name, mode)

    def request_pause(self, pause: bool) -> dict[str, object]:
        """Pause failover, or resume it, or have the holder do it; returns what was there before."""
        return pausing.request(self.body, self.loop.seen, self.observer.holder_name, pause)

    def _pass_on(self, to: str) -> dict[str, object]:
        holder = self.observer.holder_name
        if not holder or holder == self.body.me:
            raise PeerRefused.about(
                "the lease",
                value="held by nobody who serves",
                expected="a primary that hands it over",
                hint="Wait for a primary; see `failoverctl status`.",
            )
        answer = self.body.ports.peers.order_switchover(holder, to)
        if isinstance(answer, Unknown):
            raise _unheard(f"order to {holder}, which holds the lease, to hand it over", answer)
        return dict(answer)

    def _checkpoint_first(self) -> None:
        """While clients are served, and on the caller's thread: the shutdown has less to write then."""
        clock = self.body.ports.clock
        began = clock.now()
        self.body.ports.postgres.checkpoint()
        if (took := clock.now() - began) > ORDER_S:
            raise PostgresFailed.about(
                "checkpoint before the switchover",
                value=f"took {took:.0f} s",
                expected=f"{ORDER_S:g} s at most",
                hint="Nothing was changed. Order it again: the next checkpoint has less to write.",
            )

    def _switch_over(self, to: str) -> dict[str, object]:
        clock = self.body.ports.clock
        self._checkpoint_first()
        lost = logical_slots_at_risk(self.loop.seen) if self.loop.seen is not None else {}
        ticket = self.body.orders.place(to)
        self.wake()
        if not clock.wait(ticket.done, ORDER_S):
            self.body.orders.withdraw(ticket)
            raise PeerRefused.about(
                f"switchover to {to or 'the best standby'}",
                value=f"not ended after {ORDER_S:g} s",
                expected="the lease to be handed over",
                hint="It may be under way: look at `failoverctl status` before ordering again.",
            )
        if ticket.error is not None:
            raise ticket.error
        done = ticket.result
        assert done is not None, "an order without error has a result"
        until = clock.now() + TARGET_SERVES_S
        while clock.now() < until:
            heard = self.body.ask(done.target)
            if heard is not None and heard.report.serving and heard.report.epoch > done.epoch:
                outage_s = round(clock.now() - done.since, 3)
                return {
                    "ok": True,
                    "from": self.body.me,
                    "target": done.target,
                    "outage_s": outage_s,
                    "lost_logical_slots": list(lost.get(done.target, ())),
                }
            clock.wait(threading.Event(), ASK_S)
        raise PeerSilent.about(
            f"switchover to {done.target}",
            value=f"it has the lease's offer and is not heard to serve after {TARGET_SERVES_S:g} s",
            expected="to serve",
            hint=f"Look at the agent's journal on {done.target}.",
        )


def _unheard(order: str, answer: Unknown) -> PeerSilent:
    return PeerSilent.about(
        order,
        value=f"no answer ({answer.why})",
        expected="an answer",
        hint="It may still carry it out: look at `failoverctl status` before ordering again.",
    )
