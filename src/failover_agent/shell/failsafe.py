"""The holder's side of promises: while the store is away, everybody who may claim is asked not to (P1 to P3).

Every question has a thread of its own, and its answer moves the deadline by itself: no renewal waits for a
member, and no member for a renewal. A promise renews nothing; the write that is under way goes on being sent.

The same question is asked once where nothing is wrong: before the holder's agent ends on purpose (`bridge`).
The lease then ends when the store says it does. What is promised is only that members, which hear no
heartbeat meanwhile, do not claim before, so that the gate may stay open as long (F6).
"""

from __future__ import annotations

import threading
from functools import partial

from failover_agent.core.model import Heard, LeaseItem, Timings, Unknown
from failover_agent.core.promises import Promise, ask_from, carried_until, promised_until, to_ask
from failover_agent.ports import Clock, Peers
from failover_agent.shell.journal import Journal
from failover_agent.shell.lease_desk import LeaseDesk
from failover_agent.shell.threads import Workers

AGAIN_S = 0.2  # between two questions to one member
WHERE = "asking for promises"


class Failsafe:
    def __init__(
        self, peers: Peers, workers: Workers, clock: Clock, timings: Timings, journal: Journal
    ) -> None:
        self._peers = peers
        self._workers = workers
        self._clock = clock
        self._timings = timings
        self._journal = journal
        self._lock = threading.Lock()
        self._epoch = 0  # that the questions below were about
        self._promised: dict[str, float] = {}  # until when we may count on whose promise
        self._last: dict[str, float] = {}  # when each member was last asked
        self._under_way: set[str] = set()

    def round(self, desk: LeaseDesk) -> None:
        """Ask whoever is to be asked now; does not wait for answers. Of the keeper's thread."""
        mine, now = desk.valid(), self._clock.now()
        if mine is None or not desk.store_is_away():
            return
        t = self._timings
        if now < ask_from(mine.valid_until, t.beat_s, t.request_timeout_s):
            return
        names = self._of_whom(desk)
        reports = self._peers.reports()
        if silent := [n for n in names if not isinstance(reports.get(n), Heard)]:
            # One who is silent makes the others' promises worthless: they would be bound for nothing.
            self._journal.trouble(WHERE, f"no answer from {', '.join(silent)}; without, the lease ends")
            return
        promise = self._question(desk, mine.item)
        for name in self._due(names, mine.epoch, now):
            self._workers.start(f"promise-{name}", partial(self._ask, desk, name, promise))

    def bridge(self, desk: LeaseDesk) -> None:
        """Before this life ends on purpose, right after a renewal: have members wait for the next one.

        Returns when all have answered, at the latest after one request timeout. Whoever does not promise is
        not counted; without k of the members the gate shuts as early as F6 says, and a failover may follow.
        """
        mine = desk.valid()
        if mine is None or desk.pending is not None or desk.gate.serving_epoch != mine.epoch:
            return
        promise, waits_for = self._question(desk, mine.item), set(self._of_whom(desk))
        if not promise.early or not waits_for:
            return  # nobody can claim before the lease ends
        answered = threading.Event()

        def ask(name: str) -> None:
            sent = self._clock.now()
            try:
                if self._peers.ask_promise(name, promise) == "":
                    until = promised_until(sent, promise.ttl_s, self._timings.margin_s)
                    desk.promised_by(name, promise.epoch, until)
            finally:
                with self._lock:
                    waits_for.discard(name)
                    if not waits_for:
                        answered.set()

        for name in sorted(waits_for):
            self._workers.start(f"bridge-{name}", partial(ask, name))
        self._clock.wait(answered, self._timings.request_timeout_s)
        self._tell(desk)

    def _tell(self, desk: LeaseDesk) -> None:
        """The next life goes by what was promised to this one."""
        desk.remember()
        mine = desk.valid()
        if mine is not None:
            self._journal.event(
                "leaving",
                epoch=mine.epoch,
                promised=",".join(name for name, _until in mine.promised),
                open_for_s=round(desk.unchallenged_until() - self._clock.now(), 3),
            )

    def _question(self, desk: LeaseDesk, item: LeaseItem) -> Promise:
        ttl_s = min(item.ttl_s, self._timings.ttl_s)
        early = item.mode != "async" and bool(item.sync.members)
        return Promise(desk.id.cluster, item.epoch, desk.id.holder, item.sync.version, ttl_s, early)

    def _of_whom(self, desk: LeaseDesk) -> tuple[str, ...]:
        mine, pending = desk.held()
        if mine is None:
            return ()
        return to_ask(mine.item, pending.item if pending else mine.item, desk.id.holder.name)

    def _due(self, names: tuple[str, ...], epoch: int, now: float) -> list[str]:
        with self._lock:
            if epoch != self._epoch:
                self._epoch, self._promised = epoch, {}
            due = [
                n
                for n in names
                if n not in self._under_way and now - self._last.get(n, float("-inf")) >= AGAIN_S
            ]
            self._under_way.update(due)
            self._last.update(dict.fromkeys(due, now))
        return due

    def _ask(self, desk: LeaseDesk, name: str, promise: Promise) -> None:
        sent = self._clock.now()
        answer: str | Unknown = Unknown("not asked")
        try:
            answer = self._peers.ask_promise(name, promise)
        finally:
            with self._lock:
                self._under_way.discard(name)
        if answer != "":
            why = answer.why if isinstance(answer, Unknown) else answer
            self._journal.trouble(WHERE, f"{name}: {why}")
            return
        with self._lock:
            if promise.epoch != self._epoch:
                return
            self._promised[name] = promised_until(sent, promise.ttl_s, self._timings.margin_s)
            promised = dict(self._promised)
        names = self._of_whom(desk)  # again: who may claim may have grown since
        until = carried_until(promised, names)
        if until is not None and desk.carry(promise.epoch, until, names):
            self._journal.fine(WHERE)
