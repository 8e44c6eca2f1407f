"""One node at a time may do what cannot be undone (PROTOCOL N5): the lease holder's word.

The grant lives in the holder's memory; who has one says so itself in its report. So the next holder
learns of a grant of the last from the node that uses it, and waits a whole grant's time for a node
that does not answer.
"""

from __future__ import annotations

import threading

from failover_agent.core.model import Heard, Server, ServerState
from failover_agent.ports import Clock, Peers
from failover_agent.shell.keeper import Keeper

SLOT_S = 30.0  # a rejoining node that does not renew its slot loses it


class RejoinSlot:
    def __init__(
        self, others: tuple[str, ...], keeper: Keeper, peers: Peers, clock: Clock, request_timeout_s: float
    ) -> None:
        self._others = others
        self._keeper = keeper
        self._peers = peers
        self._clock = clock
        self._request_timeout_s = request_timeout_s
        self._lock = threading.Lock()
        self._granted: tuple[str, float] = ("", 0.0)  # who rejoins, until when unless renewed
        self._asked: tuple[int, float] = (0, 0.0)  # first in this epoch, when

    def grant(self, name: str) -> bool:
        """Whether node `name` may begin, or go on."""
        mine, now = self._keeper.mine(), self._clock.now()
        if mine is None:
            return False
        with self._lock:
            if self._asked[0] != mine.epoch:
                self._asked = (mine.epoch, now)
            owner, until = self._granted
            if owner not in ("", name) and now < until and not self._is_whole(owner, until - SLOT_S):
                return False
            if owner != name and self._left_by_another_holder(name, now):
                return False
            self._granted = (name, now + SLOT_S)
            return True

    def _is_whole(self, owner: str, granted_at: float) -> bool:
        """Whether the owner of the slot was seen as a standby without a job after it had asked for it.

        Its job runs before it asks. So an answer received more than a request's time later, and telling
        of no job, is from after a job that ended well.
        """
        heard = self._peers.reports().get(owner)
        if not isinstance(heard, Heard) or heard.at <= granted_at + self._request_timeout_s:
            return False
        server, report = heard.report.server, heard.report
        whole = isinstance(server, Server) and server.state is ServerState.STANDBY
        return whole and not report.doing and not report.rejoins

    def _left_by_another_holder(self, name: str, now: float) -> bool:
        heard = self._peers.reports()
        young = now - self._asked[1] < SLOT_S
        for other in self._others:
            if other == name:
                continue
            answer = heard.get(other)
            if isinstance(answer, Heard):
                if answer.report.rejoins:
                    return True
            elif young:
                return True
        return False
