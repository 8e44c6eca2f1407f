"""How a primary leaves a volume that fails it: one that hangs, or one that is full.

Both ways the gate is shut before anything else. What was acknowledged is known without the volume: what
PostgreSQL shows as flushed, asked after the gate was shut, for nothing was acknowledged since.
"""

from __future__ import annotations

from failover_agent.core.liveness import has_room
from failover_agent.core.model import NodeReport, Server, ServerState
from failover_agent.errors import AgentError, PostgresFailed
from failover_agent.killpoints import at
from failover_agent.shell.body import Body
from failover_agent.shell.handover import LAST_BYTES_S, best_of, hand_over, wait_for

KILL_HUNG_S = 1.0  # who hangs in the kernel survives SIGKILL for now


def leave_hung_storage(body: Body) -> None:
    """Give the lease away without touching the volume.

    Processes that hang in the kernel cannot be seen to end. They are harmless: SIGKILL waits for each of
    them, so none runs another instruction of its own when the volume answers again, and the gate is
    shut for whatever the kernel had buffered. The lease goes to a standby that has received all
    that was acknowledged; where none says so, to nobody by name, and the rules of the mode decide (S1, S9).
    """
    mine = body.keeper.mine()
    if mine is not None and body.keeper.serving_epoch():
        body.journal.phase("detected", mine.epoch)
    body.keeper.dismiss()
    body.unbind_vips()
    heir = _heir_of(body, body.ports.postgres.observe(fresh=True))
    at("shut-before-kill")
    try:
        body.ports.postgres.kill(KILL_HUNG_S)
        body.journal.fine("killing PostgreSQL on a hung volume")
    except AgentError as error:
        body.journal.trouble("killing PostgreSQL on a hung volume", error)
    at("killed-before-release")
    body.jobs.give_up()
    if body.keeper.release(heir):
        body.journal.event("handed-over", to=heir or "anybody", because="the storage hangs")
        for name in [heir] if heir else [m.name for m in body.settings.others]:
            body.ports.peers.wake(name)


def _heir_of(body: Body, server: object) -> str:
    """The best standby that has all that PostgreSQL showed as flushed after the gate was shut."""
    if not isinstance(server, Server) or server.state is not ServerState.PRIMARY:
        body.journal.trouble("asking for the end of the WAL", "PostgreSQL does not tell it; nobody is named")
        return ""
    names = [h.report.name for h in body.fresh_heard()]
    return best_of(body, wait_for(body, names, server.received_lsn, LAST_BYTES_S))


def leave_full_disk(body: Body) -> None:
    """Hand over as in a switchover to a standby that has room. Raises AgentError; this node then goes on."""
    fit = [h.report for h in body.fresh_heard() if _streams_and_has_room(h.report, body)]
    target = best_of(body, fit)
    if not target:
        body.jobs.rest()
        raise PostgresFailed("no standby that has room can take over", hint="Make room on this volume.")
    try:
        hand_over(body, target)
    except AgentError:
        body.jobs.rest()
        raise
    body.journal.event("disk-full-left", to=target, free_bytes=body.vigil.health.free_bytes)


def _streams_and_has_room(report: NodeReport, body: Body) -> bool:
    server = report.server
    streams = isinstance(server, Server) and server.state is ServerState.STANDBY and server.streaming
    return streams and has_room(report.health, body.settings.limits)
