"""Gathers what a claim needs where commits are promised: votes first, then seals (PROTOCOL S1, F1, F2).

Each member is asked beside the others and beside the rounds, so that one that is dying delays nobody. A seal
is asked for only when as many members as a claim needs would give one: a seal given in vain costs the cluster
an acknowledger until the primary writes a new version.

Invariant: answers are kept for one item (epoch, version, token) and forgotten when another is seen to stand.
Whom they are counted for is decided in core.seals; nothing here decides who may claim.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable
from functools import partial

from failover_agent.core.model import LeaseItem, LeaseSeen, Unknown
from failover_agent.core.quorum import seals_needed
from failover_agent.core.seals import Gathered, Seal, Sealed, counted
from failover_agent.errors import AgentError
from failover_agent.ports import Clock, Peers
from failover_agent.shell.journal import Journal
from failover_agent.shell.sealer import Sealer
from failover_agent.shell.threads import Workers

MISTAKE = "asking ended in a mistake, see the journal"


class Campaign:
    def __init__(
        self,
        me: str,
        peers: Peers,
        sealer: Sealer,
        clock: Clock,
        workers: Workers,
        journal: Journal,
        came: Callable[[], None],
    ) -> None:
        self._me = me
        self._peers = peers
        self._sealer = sealer
        self._clock = clock
        self._workers = workers
        self._journal = journal
        self._came = came  # called when an answer may have changed what can be done
        self._lock = threading.Lock()
        self._forget(None)

    def _forget(self, item: LeaseItem | None) -> None:
        self._item = item  # that the answers below are for
        self._asking: set[str] = set()  # no answer yet
        self._would: set[str] = set()  # by a vote of this time around
        self._seals: dict[str, Sealed] = {}
        self._why_not: dict[str, str] = {}
        self._enough_since = math.inf

    # What the loop asks

    def gathered(self, lease: object) -> Gathered:
        """What came for the item that stands. Silence of the store changes no item, so it drops nothing."""
        with self._lock:
            if lease is None or (isinstance(lease, LeaseSeen) and not self._is_for(lease.item)):
                self._forget(None)
            return Gathered(
                tuple(self._seals.values()), self._enough_since, tuple(sorted(self._why_not.items()))
            )

    def _is_for(self, item: LeaseItem) -> bool:
        mine = self._item
        return mine is not None and _which(mine) == _which(item)

    def gather(self, seen: LeaseSeen, members: tuple[str, ...]) -> None:
        """Ask who of `members` has not answered yet. Returns at once where work can run beside us."""
        item = seen.item
        asked = Seal(item.cluster, item.epoch, item.sync.version, "", against=item.last_holder)
        with self._lock:
            if not self._is_for(item):
                self._forget(item)
                self._journal.event(
                    "campaign", epoch=asked.epoch, version=asked.version, against=asked.against
                )
            self._would.clear()
            if why := self._sealer.vote(asked):
                self._why_not[self._me] = why
                return  # whoever would not seal itself asks nobody to
            names = [n for n in members if n not in self._asking and n not in self._seals]
            self._asking.update(names)
        for name in names:
            self._workers.start(f"vote-{name}", partial(self._vote, name, item, asked))

    # Beside the rounds

    def _vote(self, name: str, item: LeaseItem, asked: Seal) -> None:
        why: str | Unknown = Unknown(MISTAKE)
        try:
            why = self._sealer.vote(asked) if name == self._me else self._peers.ask_vote(name, asked)
        finally:
            self._count_vote(name, item, asked, why)

    def _count_vote(self, name: str, item: LeaseItem, asked: Seal, why: str | Unknown) -> None:
        with self._lock:
            if not self._is_for(item):
                return
            self._asking.discard(name)
            if why != "":
                self._why_not[name] = why.why if isinstance(why, Unknown) else why
                return
            self._why_not.pop(name, None)
            self._would.add(name)
            if len({*self._would, *self._seals}) < seals_needed(item.sync):
                return
            sealing = self._would - self._asking - set(self._seals)
            self._asking |= sealing
        for other in sorted(sealing):
            self._workers.start(f"seal-{other}", partial(self._seal, other, item, asked))

    def _seal(self, name: str, item: LeaseItem, asked: Seal) -> None:
        answer: Sealed | Unknown = Unknown(MISTAKE)
        try:
            answer = self._own_seal(asked) if name == self._me else self._peers.ask_seal(name, asked)
        finally:
            self._keep_seal(name, item, answer)

    def _keep_seal(self, name: str, item: LeaseItem, answer: Sealed | Unknown) -> None:
        with self._lock:
            if not self._is_for(item):
                return
            self._asking.discard(name)
            if isinstance(answer, Unknown):
                self._why_not[name] = answer.why
                return
            self._why_not.pop(name, None)
            self._seals[name] = answer
            self._note_when_enough(item)
        self._came()

    def _own_seal(self, asked: Seal) -> Sealed | Unknown:
        try:
            return self._sealer.seal(asked)
        except AgentError as error:
            return Unknown(str(error.args[0]), error)

    def _note_when_enough(self, item: LeaseItem) -> None:
        seals = counted(item, self._seals.values())
        if len(seals) < seals_needed(item.sync) or self._enough_since < math.inf:
            return
        self._enough_since = self._clock.now()
        self._journal.event(
            "seals-gathered", epoch=item.epoch, version=item.sync.version, members=",".join(sorted(seals))
        )


def _which(item: LeaseItem) -> tuple[int, int, str]:
    return (item.epoch, item.sync.version, item.token)
