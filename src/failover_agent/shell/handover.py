"""How a primary leaves: planned (switchover), or because its process died (N3).

Both ways the gate is shut and PostgreSQL is gone before the end of its WAL is read, and the
lease is released only to a node that has received all of it. So nothing acknowledged is
lost, and nobody waits for a lease to expire.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from failover_agent.core.election import elect
from failover_agent.core.lsn import show
from failover_agent.core.model import LeaseItem, NodeReport, Server, ServerState, Unknown
from failover_agent.core.other_facts import candidate_of
from failover_agent.core.snapshot import SwitchoverOrder
from failover_agent.errors import AgentError, PeerRefused, PostgresFailed
from failover_agent.killpoints import at
from failover_agent.shell.body import Body
from failover_agent.shell.orders import HandedOver

STOP_S = 10.0  # a fast shutdown may take this long before it is escalated
CATCH_UP_S = 3.0  # planned: the target must have everything within this time after the stop
LAST_BYTES_S = 0.3  # died: what was on its way to the standbys arrives within this
ASK_S = 0.01  # between two questions to a standby


def switch_over(body: Body, order: SwitchoverOrder) -> None:
    """Carry out a person's order; on any refusal this node goes on serving."""
    try:
        target = _choose(body, order.to)
        result = hand_over(body, target)
    except AgentError as error:
        body.journal.event("switchover-failed", to=order.to, why=str(error.args[0]))
        body.orders.close(order.number, None, error)
    else:
        body.orders.close(order.number, result)


def hand_over(body: Body, target: str) -> HandedOver:
    """Shut, stop, and release to `target` when it has received everything. Raises AgentError."""
    mine = body.keeper.mine()
    if mine is None:
        raise PeerRefused("the lease ended before the switchover began", hint="Order it again.")
    since = body.ports.clock.now()
    body.journal.phase("detected", mine.epoch)
    body.keeper.dismiss()
    body.unbind_vips()  # before anything else: no answer leaves under it any more (G8)
    body.ports.postgres.stop(STOP_S)
    end = body.ports.postgres.wal_end()
    if isinstance(end, Unknown) or not wait_for(body, [target], end, CATCH_UP_S):
        raise PostgresFailed(  # the next round finds a stopped primary and starts it in place
            f"{target} has not received everything up to "
            f"{end.why if isinstance(end, Unknown) else show(end)} within {CATCH_UP_S:g} s",
            hint="This node serves again. Look at the replication lag and order it again.",
        )
    if not body.keeper.release(target):
        raise PeerRefused(
            f"the store did not confirm the release of epoch {mine.epoch} to {target}",
            hint="The lease ends by itself and the best standby takes over; look at the way to the store.",
        )
    body.ports.peers.wake(target)
    body.journal.event("handed-over", to=target, epoch=mine.epoch)
    return HandedOver(target, mine.epoch, since)


def _choose(body: Body, to: str) -> str:
    """The standby to hand over to. Raises PeerRefused with the reason of everyone who cannot."""
    mine = body.keeper.mine()
    if to == body.me:
        raise PeerRefused(f"{to} is the primary already", hint="Name another node.")
    known = [m.name for m in body.settings.others]
    if to and to not in known:
        raise PeerRefused(f"there is no node {to}, there are {', '.join(known)}", hint="Name one of them.")
    reasons = dict.fromkeys(known, "it does not answer")
    fit: list[NodeReport] = []
    for name in [to] if to else known:
        heard = body.ask(name)
        if heard is None or mine is None:
            continue
        reasons[name] = _why_not_streaming(heard.report, body.me)
        if not reasons[name]:
            fit.append(heard.report)
    if mine is not None:
        verdict = elect(
            [candidate_of(r) for r in fit], _at_my_end(body, mine.item), body.settings.lag_limit_bytes
        )
        if verdict.winner:
            return verdict.winner
        reasons.update(verdict.why_not)
    why = "; ".join(f"{name}: {reasons[name]}" for name in ([to] if to else known))
    raise PeerRefused(
        f"no standby can take over ({why})", hint="`failoverctl status` shows state and lag of each."
    )


def _why_not_streaming(report: NodeReport, me: str) -> str:
    server = report.server
    if isinstance(server, Unknown):
        return f"its PostgreSQL does not answer ({server.why})"
    if server.state is not ServerState.STANDBY:
        return f"its PostgreSQL is {server.state.value}, not a standby"
    if not server.streaming or server.upstream != me:
        return f"it does not stream from {me}"
    return ""


def _at_my_end(body: Body, item: LeaseItem) -> LeaseItem:
    server = body.ports.postgres.observe()
    return item.but(lsn=server.received_lsn) if isinstance(server, Server) else item


def recover_primary(body: Body, expect_primary: Callable[[], None], in_place: bool = False) -> None:
    """PostgreSQL died while the lease is ours: hand over if somebody has everything, else start it again.

    `in_place`: start it again whoever has everything.
    """
    mine = body.keeper.mine()
    if mine is not None and body.keeper.serving_epoch():
        body.journal.phase("detected", mine.epoch)
    body.keeper.dismiss()
    body.unbind_vips()
    body.ports.postgres.kill()  # backends and walsenders outlive a postmaster
    heir = _heir(body) if body.jobs.failed_starts == 0 and not in_place else ""
    if heir and body.keeper.release(heir):
        body.ports.peers.wake(heir)
        body.journal.event("handed-over", to=heir, because="PostgreSQL died and it has everything")
        return
    if body.keeper.mine() is not None:
        why = "failover is paused" if in_place else "no standby is known to have everything"
        body.journal.event("restart-in-place", because=why)
        expect_primary()
        body.jobs.start("start", lambda _: start_primary(body))


def _heir(body: Body) -> str:
    """The best standby that has received the end of our WAL on disk; empty when there is none."""
    end = body.ports.postgres.wal_end()
    if isinstance(end, Unknown):
        body.journal.trouble("reading the end of the WAL", end)
        return ""
    names = [h.report.name for h in body.fresh_heard() if _may_inherit(h.report, body.me)]
    return best_of(body, wait_for(body, names, end, LAST_BYTES_S))


def best_of(body: Body, reports: list[NodeReport]) -> str:
    """The one of these standbys to hand over to; empty when there is none, or the lease is gone."""
    mine = body.keeper.mine()
    if not reports or mine is None:
        return ""
    return elect([candidate_of(r) for r in reports], mine.item, body.settings.lag_limit_bytes).winner


def _may_inherit(report: NodeReport, me: str) -> bool:
    server, health = report.server, report.health
    if health.hung or health.full:
        return False
    return isinstance(server, Server) and server.state is ServerState.STANDBY and server.upstream == me


def wait_for(body: Body, names: list[str], end: int, limit_s: float) -> list[NodeReport]:
    """Those of `names` that have received up to `end`, as soon as there is one; none after `limit_s`."""
    clock = body.ports.clock
    until = clock.now() + limit_s
    while names:
        heard = [h for h in (body.ask(name) for name in names) if h is not None]
        complete = [h.report for h in heard if _has(h.report, end)]
        if complete or clock.now() >= until:
            return complete
        clock.wait(threading.Event(), ASK_S)
    return []


def _has(report: NodeReport, end: int) -> bool:
    server = report.server
    return isinstance(server, Server) and server.state is ServerState.STANDBY and server.received_lsn >= end


def start_primary(body: Body) -> None:
    """Start read-write in place, in the epoch in which this node was primary. Raises AgentError."""
    mine = body.keeper.mine()
    if mine is None or not mine.was_primary:
        return  # lost meanwhile: the next round decides anew
    try:
        body.ports.postgres.start_primary(body.keeper.counts_on())
        at("recovered-before-publish")
        body.jobs.failed_starts = 0
    except AgentError:
        body.jobs.failed_starts += 1
        raise
