"""A member's side of promises: what it gave, and what it may not do meanwhile (PROTOCOL P1).

Invariant: nobody promises while a claim or a seal of its own stands, and nobody begins a claim or a seal
while a promise binds. Each side looks and notes under one lock, so neither can slip in between.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

from failover_agent.core.model import LeaseItem
from failover_agent.core.promises import (
    Given,
    MemberStanding,
    Promise,
    binds,
    give,
    is_fresh_start,
    is_over,
    why_not_promise,
)
from failover_agent.ports import Clock
from failover_agent.shell.journal import Journal


class Promises:
    def __init__(self, me: str, clock: Clock, journal: Journal) -> None:
        self.lock = threading.RLock()  # held for milliseconds: over a look and its note
        self._me = me
        self._clock = clock
        self._journal = journal
        self._began = clock.now()
        self._given: Given | None = None

    def ask(self, asked: Promise, standing: Callable[[], MemberStanding]) -> str:
        """Why this node does not promise; empty when it has promised (P1)."""
        with self.lock:
            fresh = is_fresh_start(self._began, self._clock.now(), asked.ttl_s, None)
            why = why_not_promise(asked, replace(standing(), fresh=fresh), self._given)
            if why:
                return f"{self._me} does not promise: {why}"
            first = self._given is None or self._given.promise.epoch != asked.epoch
            self._given = give(asked, self._clock.now(), self._given)
        if first:
            self._journal.event("promised", to=asked.holder.name, epoch=asked.epoch, version=asked.version)
        return ""

    def learn(self, item: LeaseItem) -> None:
        """What a consistent read showed may end a promise, and nothing but time else does."""
        with self.lock:
            if self._given is not None and is_over(self._given, item):
                self._given = None
                self._journal.event("promise-over", epoch=item.epoch)

    def bound(self) -> Given | None:
        """The promise that binds at this moment."""
        given = self._given
        return given if binds(given, self._clock.now()) else None

    def epoch(self) -> int:
        """Whose holder a promise of this node binds it to at this moment; 0: nobody's."""
        given = self.bound()
        return given.promise.epoch if given is not None else 0

    def why_not_act(self, ttl_s: float, item: LeaseItem | None) -> str:
        """Why this node may neither vote nor seal; empty when it may."""
        if (given := self.bound()) is not None:
            left = given.until - self._clock.now()
            return f"{self._me} promised {given.promise.holder.name} not to, for another {left:.1f} s"
        if is_fresh_start(self._began, self._clock.now(), ttl_s, item):
            return f"the agent of {self._me} started less than one ttl ago"  # it may have promised
        return ""
