"""Gives the lease away: settle, forget, and only then tell the store that it is free."""

from __future__ import annotations

import threading

from failover_agent.core import lease_writes as writes
from failover_agent.core.model import Unknown, Version
from failover_agent.shell.lease_desk import RETRY_S, LeaseDesk, has_landed


def release(desk: LeaseDesk, offered_to: str, *, data_lost: bool = False) -> bool:
    """Shut the gate and give the lease away; False when the store did not confirm it in time.

    Either way it is ours no longer: unconfirmed, it ends by itself.
    """
    desk.gate.shut()
    with desk.writing:
        released = _settle(desk) and _give(desk, offered_to, data_lost)
        with desk.gate.lock:
            desk.mine = desk.pending = None
        if not released:
            desk.forget_note()
    desk.changed()
    return released


def _settle(desk: LeaseDesk) -> bool:
    """Find out which token stands, then forget the lease before anybody may be told that it is free.

    A next life must not go on with a lease whose release may have landed unanswered: it would
    serve beside the heir until the old deadline.
    """
    while desk.valid() is not None and desk.pending is not None:
        desk.send()
        if desk.pending is not None:
            _pause(desk)
    return desk.forget_note()


def _give(desk: LeaseDesk, offered_to: str, data_lost: bool) -> bool:
    mine = desk.valid()
    if mine is None:
        return False
    item = writes.release(mine.item, offered_to, desk.fresh_token(), desk.facts, data_lost=data_lost)
    condition = Version(mine.epoch, mine.item.token)
    while desk.valid() is not None:
        outcome = desk.store.write(item, only_if=condition)
        if not isinstance(outcome, Unknown):
            return has_landed(outcome, item)
        _pause(desk)
    return False


def _pause(desk: LeaseDesk) -> None:
    desk.clock.wait(threading.Event(), RETRY_S)
