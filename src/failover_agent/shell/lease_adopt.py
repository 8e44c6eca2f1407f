"""Goes on with the lease of this agent's earlier life in the same boot of the same instance (L2)."""

from __future__ import annotations

from dataclasses import replace

from failover_agent.core.model import LeaseItem, Server, ServerState, Version
from failover_agent.core.snapshot import Mine
from failover_agent.shell.gatekeeper import As
from failover_agent.shell.lease_desk import LeaseDesk
from failover_agent.shell.lease_memory import Pending


def adopt(desk: LeaseDesk) -> bool:
    """Whether there was one that could be taken up.

    The caller holds the lock that proves the earlier life ended. Its unsettled write is
    retried unchanged; the renewal after that carries our own nonce. After another boot, or
    in another instance, nothing is adopted: the note would be another machine's.
    """
    left = desk.memory.load()
    if left is None:
        return False
    mine, pending = left
    with desk.writing:
        if desk.clock.now() < mine.valid_until:
            _go_on(desk, mine, pending)
        else:
            _ask_to_go_on(desk, mine, pending)
    if desk.mine is not None:
        desk.journal.event("lease-adopted", epoch=desk.mine.epoch)
        if desk.mine.was_primary:
            desk.gate.resume(desk.mine.epoch, As.PRIMARY)
    return desk.mine is not None


def _go_on(desk: LeaseDesk, mine: Mine, pending: Pending | None) -> None:
    with desk.gate.lock:
        desk.mine, desk.pending = mine, pending
        # Only a lower ttl binds us sooner (L3): what was sent long ago may stand under a promise (P1).
        if pending is not None and pending.item.ttl_s < mine.item.ttl_s:
            desk.shorten(desk.ends(pending))


def _ask_to_go_on(desk: LeaseDesk, mine: Mine, pending: Pending | None) -> None:
    """Our earlier life's right has ended; the gate is shut. Where the store still shows its very
    token, nobody has claimed since, and one conditional renewal makes the epoch ours again."""
    current = desk.store.read()
    known = {mine.item.token, pending.item.token if pending else mine.item.token}
    if not isinstance(current, LeaseItem) or current.epoch != mine.epoch or current.token not in known:
        return
    item = desk.renewal_of(current, Server(ServerState.ABSENT))
    desk.pending = Pending(item, Version(current.epoch, current.token), desk.clock.now())
    desk.send()
    if desk.mine is None:
        desk.pending = None  # one try: if it lands after all, it ends by itself
    else:
        desk.mine = replace(desk.mine, was_primary=mine.was_primary)
        desk.memory.save(desk.mine, None)
