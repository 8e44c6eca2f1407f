"""Pauses failover, and resumes it: a person's order, carried out by the lease's holder like one for the mode.

Both are one write of the lease. It is sent between two decisions of the holder, and from its sending on the
holder hands over to nobody by itself: nothing that was decided before the pause gives the lease away after.

Where nobody holds the lease any more a pause would be a trap, for nobody else may take it: then whichever
node is asked ends it, under the condition that the item still stands as that node saw it end.
"""

from __future__ import annotations

from datetime import UTC, datetime

from failover_agent.core.model import Landed, LeaseSeen, Unknown
from failover_agent.core.pausing import why_not_resume_here
from failover_agent.core.snapshot import Snapshot
from failover_agent.errors import AgentError, PauseRefused
from failover_agent.shell.body import Body
from failover_agent.shell.orders import PauseTicket

ORDER_S = 15.0  # the store may be away for a moment
_AGAIN = "Look at `failoverctl status`, and order it again: ordered twice it changes nothing."


def request(body: Body, seen: Snapshot | None, holder: str, pause: bool) -> dict[str, object]:
    """On any node: pause, or resume, or have the holder do it, and say what was there before."""
    try:
        if body.keeper.mine():
            return _here(body, pause)
        why = why_not_resume_here(seen) if seen is not None else f"{body.me} has just begun"
        if not pause and not why:
            return _for_nobody(body, seen)
        return _pass_on(body, holder, pause, why)
    except AgentError as error:
        return error.refusal(_order(pause))


def carry_out(body: Body) -> None:
    """In the holder's round: one write, tried again until it is settled."""
    ticket = body.pauses.open()
    if ticket is None:
        return
    mine = body.keeper.mine()
    if mine is None:
        body.pauses.close(ticket, error=_refused(ticket.pause, f"{body.me} lost the lease"))
    elif bool(mine.item.paused) == ticket.pause:
        ticket.since = mine.item.paused
        body.pauses.close(ticket)
    else:
        ticket.before = mine.item.paused
        ticket.sent = True
        since = _utc(body.ports.clock.wall()) if ticket.pause else ""
        if body.keeper.write_pause(mine.epoch, since):
            body.journal.event("paused" if ticket.pause else "resumed", by=body.me, before=ticket.before)
            ticket.since = since
            body.pauses.close(ticket)
            body.wake()


def _here(body: Body, pause: bool) -> dict[str, object]:
    ticket = body.pauses.place(pause)
    body.wake()
    if not body.ports.clock.wait(ticket.done, ORDER_S):
        body.pauses.close(ticket)
        raise _refused(pause, f"the lease was not seen to say so within {ORDER_S:g} s")
    return outcome_of(ticket) | {"holder": body.me}


def outcome_of(ticket: PauseTicket) -> dict[str, object]:
    """Raises AgentError where it was refused."""
    if ticket.error is not None:
        raise ticket.error
    return _told(ticket.pause, ticket.since, ticket.before if ticket.sent else ticket.since)


def _for_nobody(body: Body, seen: Snapshot | None) -> dict[str, object]:
    assert seen is not None, "asked only where a lease was seen to have ended"
    assert isinstance(seen.lease, LeaseSeen), "asked only where a lease was seen to have ended"
    old = seen.lease.item
    if old.paused:
        outcome = body.keeper.resume_for_nobody(old)
        if not isinstance(outcome, Landed):
            why = outcome.why if isinstance(outcome, Unknown) else "it has changed meanwhile"
            raise _refused(False, f"the lease, which nobody holds, was not seen to be written: {why}")
        body.journal.event("resumed", by=body.me, before=old.paused)
        body.wake()
    return _told(False, "", old.paused) | {"holder": ""}


def _pass_on(body: Body, holder: str, pause: bool, why: str) -> dict[str, object]:
    if not holder or holder == body.me:
        raise _refused(pause, why or "nobody holds the lease")
    answer = body.ports.peers.order_pause(holder, pause)
    if isinstance(answer, Unknown):
        raise _refused(pause, f"{holder}, which the lease names, does not answer ({answer.why})")
    if "ok" not in answer:
        raise _refused(pause, f"the agent of {holder} knows no pause: upgrade it ({answer.get('why', '')})")
    return dict(answer)


def _told(pause: bool, since: str, before: str) -> dict[str, object]:
    return {
        "ok": True,
        "paused": pause,
        "since": since,
        "before": bool(before),
        "before_since": before,
        "changed": bool(before) != pause,
    }


def _order(pause: bool) -> str:
    return "pause of failover" if pause else "end of the pause"


def _refused(pause: bool, why: str) -> PauseRefused:
    """What the hint of a resume promises: once the lease has ended, no holder is needed."""
    wait = "" if pause else " Once the lease of a node that is gone has ended, any other node resumes."
    return PauseRefused.about(
        _order(pause),
        value=why,
        expected="a holder of the lease that writes it" if pause else "one that writes it, or none any more",
        hint=_AGAIN + wait,
    )


def _utc(wall: float) -> str:
    return datetime.fromtimestamp(wall, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
