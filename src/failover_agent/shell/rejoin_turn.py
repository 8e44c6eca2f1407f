"""One node at a time may do what cannot be undone (PROTOCOL N5): the lease holder's word.

Where commits wait for standbys, a node leaves the sync set before it is granted anything (S5), and is taken
in again, as what it is then, once it is whole.

The grant lives in the holder's memory; who has one says so itself in its report. So the next holder
learns of a grant of the last from the node that uses it, and waits a whole grant's time for a node
that does not answer.
"""

from __future__ import annotations

import math
import threading

from failover_agent.core.model import Heard, Server, ServerState
from failover_agent.ports import Clock, Peers
from failover_agent.shell.keeper import Keeper
from failover_agent.shell.synchroniser import Synchroniser

TURN_S = 30.0  # a rejoining node that does not ask again for its turn loses it
ASKS_AGAIN_S = 5.0  # within this a node that was refused has rested and asked again


class RejoinTurn:
    def __init__(
        self,
        me: str,
        others: tuple[str, ...],
        keeper: Keeper,
        synchroniser: Synchroniser,
        peers: Peers,
        clock: Clock,
        request_timeout_s: float,
    ) -> None:
        self._me = me
        self._others = others
        self._keeper = keeper
        self._synchroniser = synchroniser
        self._peers = peers
        self._clock = clock
        self._request_timeout_s = request_timeout_s
        self._lock = threading.Lock()
        self._granted: tuple[str, float] = ("", 0.0)  # who rejoins, until when unless renewed
        self._asked: tuple[int, float] = (0, 0.0)  # first in this epoch, when
        self._refused_at: dict[str, float] = {}  # when a node was last told to ask again; never: -inf
        self._left_at: dict[str, float] = {}  # since when a node is kept out of the sync set

    def grant(self, name: str) -> bool:
        """Whether node `name` may begin, or go on."""
        mine, now = self._keeper.mine(), self._clock.now()
        if mine is None:
            return False
        with self._lock:
            if self._asked[0] != mine.epoch:
                self._asked = (mine.epoch, now)
            owner, until = self._granted
            if owner not in ("", name) and now < until and not self._is_whole(owner, until - TURN_S):
                return False
            if owner != name and self._left_by_another_holder(name, now):
                return False
            self._granted = (name, now + TURN_S)
            free = self._is_free_of_promises(name, now)
            self._refused_at[name] = -math.inf if free else now
            return free

    def _is_free_of_promises(self, name: str, now: float) -> bool:
        """Whether nothing counts on the node's data any more; it is asked again until then."""
        self._left_at[name] = now
        self._synchroniser.leaves(name)
        mine = self._keeper.mine()
        return mine is not None and (mine.item.mode == "async" or self._synchroniser.is_clear_of(name))

    def round(self) -> None:
        """Let who is whole again, and streams, vouch for commits again.

        → a standby that cannot stream rests between two questions; taken for whole, it never left for good.
        → one that streams, and whose promotion was abandoned, rested as well, and was refused for ever.
        """
        with self._lock:
            for name in self._synchroniser.leaving():
                left_at = self._left_at.setdefault(name, self._clock.now())
                asks_again = self._clock.now() < self._refused_at.get(name, -math.inf) + ASKS_AGAIN_S
                if not asks_again and self._is_whole(name, left_at) and self._streams(name):
                    self._synchroniser.returns(name)
                    del self._left_at[name]

    def _is_whole(self, owner: str, granted_at: float) -> bool:
        """Whether the node whose turn it is was seen as a standby without a job after it had asked for it.

        Its job runs before it asks. So an answer received more than a request's time later, and telling
        of no job, is from after a job that ended well.
        """
        heard = self._peers.reports().get(owner)
        if not isinstance(heard, Heard) or heard.at <= granted_at + self._request_timeout_s:
            return False
        server, report = heard.report.server, heard.report
        whole = isinstance(server, Server) and server.state is ServerState.STANDBY
        return whole and not report.doing and not report.rejoins

    def _streams(self, name: str) -> bool:
        heard = self._peers.reports().get(name)
        return (
            isinstance(heard, Heard)
            and isinstance(heard.report.server, Server)
            and heard.report.server.streaming
            and heard.report.server.upstream == self._me
        )

    def _left_by_another_holder(self, name: str, now: float) -> bool:
        heard = self._peers.reports()
        young = now - self._asked[1] < TURN_S
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
