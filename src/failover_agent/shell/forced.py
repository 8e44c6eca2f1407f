"""Carries out a person's order to take over with a loss (S9): look, note it for good, then claim."""

from __future__ import annotations

import threading

from failover_agent.core.accepted_loss import Loss, loss, refusal, waits_for
from failover_agent.core.model import Unknown
from failover_agent.core.snapshot import Snapshot
from failover_agent.errors import PeerRefused, StoreUnreachable
from failover_agent.shell.body import Body

NOTE = "loss#"  # of the epoch that is given up, in the store
SERVES_S = 60.0  # the claim, the promotion and what is left to replay
LOOK_S = 0.05
_HINT = "`failoverctl status` shows who serves; nothing was changed."


def failover(body: Body, seen: Snapshot | None, accept_loss: bool) -> dict[str, object]:
    """On the node that shall take over. Without `accept_loss`: only what may be lost."""
    if seen is None:
        raise _refused(body, f"{body.me} has just begun", hint="Order it again in a moment.")
    if why := refusal(seen):
        raise _refused(body, why, hint=_HINT)
    lost = loss(seen)
    told: dict[str, object] = {
        "target": body.me,
        "lost": {**lost.told(), "bytes": lost.bytes},
        "waits_for": waits_for(seen),
    }
    if not accept_loss:
        return {"ok": True, "done": False, **told}
    _note(body, lost)
    try:
        body.orders.accepted_loss = lost.epoch
        body.wake()
        epoch = _wait_until_serving(body, lost.epoch)
    finally:
        body.orders.accepted_loss = 0
    return {"ok": True, "done": True, "epoch": epoch, **told}


def _note(body: Body, lost: Loss) -> None:
    """Before the claim: what a person decided is known even if this node dies of it."""
    answer = body.ports.store.note(
        f"{NOTE}{lost.epoch}", {"node": body.me, "at": str(round(body.ports.clock.wall())), **lost.told()}
    )
    if isinstance(answer, Unknown):
        raise StoreUnreachable.about(
            "note of the accepted loss in the store",
            value=f"not seen to be written ({answer.why})",
            expected="written before anything is lost",
            hint="Nothing was changed. Order it again once the store answers.",
        )
    body.journal.event("loss-accepted", **lost.told())


def _wait_until_serving(body: Body, after: int) -> int:
    clock = body.ports.clock
    until = clock.now() + SERVES_S
    while clock.now() < until:
        epoch = body.keeper.serving_epoch()
        if epoch > after and body.keeper.holds(epoch):
            return epoch
        clock.wait(threading.Event(), LOOK_S)
    raise PeerRefused.about(
        f"failover to {body.me}",
        value=f"it does not serve after {SERVES_S:g} s",
        expected="to serve, with the loss that was accepted",
        hint=f"See `failoverctl status` and the agent's journal on {body.me}.",
    )


def _refused(body: Body, why: str, hint: str) -> PeerRefused:
    return PeerRefused.about(
        f"failover to {body.me}", value=why, expected="a standby here and a lease that has ended", hint=hint
    )
