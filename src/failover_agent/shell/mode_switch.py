"""Switches at run time what commits are promised: a person's order, carried out by the lease's holder (S3).

The lease item names the mode; what a node's configuration names counts only where a cluster begins. One
write under the item's version changes it, and the rounds of the synchroniser do the rest: towards async the
store comes first by this very write, from async on PostgreSQL waits before anybody is counted on.
"""

from __future__ import annotations

from failover_agent.core.facts import i_am_primary
from failover_agent.core.lease_writes import switched
from failover_agent.core.model import Mode, Server, Unknown
from failover_agent.core.snapshot import Snapshot
from failover_agent.core.sync_choice import least_acknowledgements
from failover_agent.errors import AgentError, ModeRefused, PeerRefused
from failover_agent.killpoints import at
from failover_agent.shell.body import Body
from failover_agent.shell.lease_desk import SyncPromise

ORDER_S = 15.0  # the store may be away for a moment; nothing waits for standbys here


def request(body: Body, holder: str, mode: Mode) -> dict[str, object]:
    """On any node: switch, or have the holder switch, and say what was there before."""
    try:
        return _here(body, mode) if body.keeper.mine() else _pass_on(body, holder, mode)
    except AgentError as error:
        return error.refusal(f"switch to mode {mode}")


def carry_out(body: Body, seen: Snapshot) -> None:
    """In the holder's round: one write under the version of the item, tried again until it is settled."""
    ticket = body.modes.open()
    if ticket is None:
        return
    mine = body.keeper.mine()
    if mine is None:
        body.modes.close(ticket, error=_no_holder("lost the lease"))
    elif mine.item.mode == ticket.mode:
        body.modes.close(ticket)
    elif not (mine.was_primary or i_am_primary(seen)):  # one whose gate waits for standbys switches
        # → async, and the new holder still replayed: told to switch to quorum it wrote that it alone may
        # claim, and was lost; the one before it, with all that had been acknowledged, was shut out for good.
        body.modes.close(ticket, error=_no_holder("is held by a node that is not promoted yet"))
    elif why := _why_not(seen, ticket.mode, body.settings.most_members):
        body.modes.close(ticket, error=why)
    else:
        ticket.before = mine.item.mode
        sync, may_claim = switched(mine.item, ticket.mode, body.me)
        if body.keeper.write_sync(mine.epoch, SyncPromise(sync, may_claim, ticket.mode)):
            at("switched-before-sync")
            body.journal.event("mode", mode=ticket.mode, before=ticket.before, version=sync.version)
            body.modes.close(ticket)
            body.wake()  # the sync set follows at once; a write without an answer is settled by the keeper


def _why_not(seen: Snapshot, mode: Mode, most_members: int) -> ModeRefused | None:
    """Strict promises that commits wait; with too few standbys they would go on unheld instead."""
    if mode != "strict":
        return None
    there = seen.server.replicas if isinstance(seen.server, Server) else ()
    missing = sorted(m.name for m in seen.others if m.name not in there)
    least = least_acknowledgements(len(seen.others), most_members)
    if len(seen.others) - len(missing) >= least:
        return None
    return ModeRefused.about(
        "mode strict",
        value=f"{len(seen.others) - len(missing)} standby(s) stream; away: {', '.join(missing)}",
        expected=f"at least {least}, as each commit waits for so many",
        hint="Bring a standby back and order it again. Nothing was changed.",
    )


def _here(body: Body, mode: Mode) -> dict[str, object]:
    ticket = body.modes.place(mode)
    body.wake()
    if not body.ports.clock.wait(ticket.done, ORDER_S):
        body.modes.close(ticket)
        raise ModeRefused.about(
            "mode of the lease",
            value=f"not seen to be {mode} within {ORDER_S:g} s",
            expected=mode,
            hint="The store may not have answered. Look at `failoverctl config`, and order it again.",
        )
    if ticket.error is not None:
        raise ticket.error
    before = ticket.before or mode
    return {"ok": True, "mode": mode, "before": before, "changed": before != mode, "holder": body.me}


def _pass_on(body: Body, holder: str, mode: Mode) -> dict[str, object]:
    if not holder or holder == body.me:
        raise _no_holder("is held by nobody who serves")
    answer = body.ports.peers.order_mode(holder, mode)
    if isinstance(answer, Unknown):
        raise PeerRefused.about(
            f"order to {holder} to switch to mode {mode}",
            value=f"no answer ({answer.why})",
            expected="an answer",
            hint="It may still be carried out. Look at `failoverctl config`, and order it again.",
        )
    return dict(answer)


def _no_holder(value: str) -> ModeRefused:
    return ModeRefused.about(
        "the lease",
        value=value,
        expected="a primary that holds it, for it alone switches the mode",
        hint="Wait for a primary (`failoverctl status`), and order it again.",
    )
