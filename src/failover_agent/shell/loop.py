"""The decision round: look, decide, act, tell. One at a time, on one thread."""

from __future__ import annotations

from collections.abc import Callable

from failover_agent.core.model import LeaseSeen, NodeReport, Server, ServerState, Unknown
from failover_agent.core.rules import decide
from failover_agent.core.snapshot import Mine, Snapshot
from failover_agent.errors import AgentError, PeerRefused
from failover_agent.shell import mode_switch, pausing
from failover_agent.shell.body import Body
from failover_agent.shell.execute import Executor
from failover_agent.shell.observe import Observer

AWAITED_S = 0.1  # between two looks at what clients wait for
AWAITING = ("await-replay", "await-sync-set")
KEEP_TURN_S = 10.0  # how often a rejoining node asks the holder again for its turn


class Loop:
    def __init__(
        self, body: Body, observer: Observer, report: Callable[[Server | Unknown], NodeReport]
    ) -> None:
        self._body = body
        self._observer = observer
        self._executor = Executor(body, observer)
        self._report = report
        self._round_ended = body.ports.clock.now()
        self._gate_checked = 0.0
        self._turn_asked = 0.0
        self.rule = ""  # the last one that fired
        self.seen: Snapshot | None = None  # what it fired on

    def round(self) -> None:
        clock = self._body.ports.clock
        began = clock.now()
        seen = self._observer.look(began, slept_s=began - self._round_ended)
        decision = decide(seen)
        self.rule, self.seen = decision.rule, seen
        self._body.journal.decision(decision, self._observer.last_epoch)
        self._body.sealer.see(seen)
        if seen.mine is None:
            self._body.sealer.settle()
        self._body.readers.round(seen)
        if seen.mine is None or seen.state() is not ServerState.PRIMARY:
            self._body.synchroniser.forget()
        self._body.rejoin_turn.round()
        for action in decision.actions:
            try:
                self._executor.do(action, seen)
            except AgentError as error:
                self._body.journal.trouble(f"rule {decision.rule}", error)
                break  # the actions after it rely on it
            self._body.journal.fine(f"rule {decision.rule}")
        if seen.mine is not None:  # a seal against the old holder may end after what clients wait for
            self._body.sealer.settle()
        mode_switch.carry_out(self._body, seen)
        pausing.carry_out(self._body)
        self._refuse_order_unless(decision.rule, seen.mine)
        try:
            self._spend_token(seen.lease)
            self._check_gate()
        except AgentError as error:
            self._body.journal.trouble("tidying after the round", error)
        self._keep_slot()
        self._body.slots.round(seen)
        self._body.ports.peers.publish(self._report(seen.server))
        self._round_ended = clock.now()

    def pause_s(self) -> float:
        pause = self._observer.pause_s()
        return min(pause, AWAITED_S) if self.rule in AWAITING else pause

    def _refuse_order_unless(self, rule: str, mine: Mine | None) -> None:
        """An order that this node cannot carry out is answered, not kept for later."""
        order = self._body.orders.open()
        if order is not None and mine is None:
            error = PeerRefused.about(
                f"switchover by {self._body.me}",
                value=f"it does not hold the lease (it does: {rule})",
                expected="the holder of the lease",
                hint="Order it again once a primary serves; `failoverctl status` shows it.",
            )
            self._body.orders.close(order.number, None, error)

    def _spend_token(self, lease: object) -> None:
        """With a lease that names a system, nobody may run initdb any more (L6)."""
        if isinstance(lease, LeaseSeen) and lease.item.system_identifier:
            self._body.ports.bootstrap_token.spend()

    def _check_gate(self) -> None:
        """The adapter watches the table; this finds what the watch missed."""
        now = self._body.ports.clock.now()
        if now - self._gate_checked >= self._body.settings.timings.ttl_s:
            self._gate_checked = now
            self._body.keeper.check_gate()

    def _keep_slot(self) -> None:
        now, holder = self._body.ports.clock.now(), self._body.jobs.turn_from
        if holder and now - self._turn_asked >= KEEP_TURN_S:
            self._turn_asked = now
            self._body.ports.peers.ask_rejoin(holder)
