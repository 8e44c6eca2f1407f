"""The network and the cloud's calls: delays, silence one way or both, losses, and calls that land late."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from failover_agent.core.model import Unknown
from tests.sim.host import Host
from tests.sim.sched import REQUEST, Call, Scheduler

T = TypeVar("T")

CLIENTS = "clients"  # as one end of a link


@dataclass(slots=True, eq=False)  # two alike are two faults
class Way:
    """How calls on one way to the cloud fare."""

    away: bool = False
    slow_s: float = 0.0  # added each way, up to this much
    lost_requests: float = 0.0  # chances
    lost_answers: float = 0.0
    late: float = 0.0  # chance that a call nobody waits for any more lands after all
    late_s: float = 0.0  # and how much later at most


class Network:
    def __init__(self, scheduler: Scheduler, dice: random.Random) -> None:
        self._scheduler = scheduler
        self._dice = dice
        self.cut: dict[tuple[str, str], int] = {}  # from, to: how many faults cut it
        self.lossy: dict[tuple[str, str], float] = {}
        self.slow: dict[tuple[str, str], float] = {}
        self.changed: dict[tuple[str, str], float] = {}  # when a link last got better or worse
        self.store_ways: dict[str, list[Way]] = {}
        self.ec2_ways: dict[str, list[Way]] = {}

    def touch(self, a: str, b: str) -> None:
        self.changed[(a, b)] = self._scheduler.now

    def passes(self, a: str, b: str) -> bool:
        """Whether a stream from a to b flows."""
        return not self.cut.get((a, b))

    def healthy_since(self, a: str, b: str) -> float:
        """Since when nothing has been wrong between the two, in both directions; infinity: something is."""
        for link in ((a, b), (b, a)):
            if self.cut.get(link) or self.lossy.get(link) or self.slow.get(link):
                return float("inf")
        return max(self.changed.get((a, b), 0.0), self.changed.get((b, a), 0.0))

    def delay(self, a: str, b: str) -> float | None:
        """One packet's way; None: it is lost."""
        link = (a, b)
        if self.cut.get(link) or (link in self.lossy and self._dice.random() < self.lossy[link]):
            return None
        way_s = 0.0003 + (0.003 - 0.0003) * self._dice.random()  # uniform costs twice as much
        return way_s + self._dice.random() * self.slow.get(link, 0.0)

    def ask(self, a: Host, b: Host, work: Callable[[], T], timeout_s: float) -> T | Unknown:
        """Ask the agent on `b`, from a task on `a`; `work` runs as a task of b's agent."""
        box: list[T] = []
        waiters: list[Call] = []

        def arrive() -> None:
            life = b.life
            if b.up and life is not None and life.alive and life.agent is not None:
                life.spawn_now(REQUEST, serve)

        def serve() -> None:
            result = work()
            if (back := self.delay(b.name, a.name)) is not None:
                self._scheduler.after(back, lambda: deliver(result))

        def deliver(result: T) -> None:
            box.append(result)
            for wake in waiters:
                wake()

        if (there := self.delay(a.name, b.name)) is not None:
            self._scheduler.after(there, arrive)
        self._scheduler.block(waiters, timeout_s / a.rate)
        return box[0] if box else Unknown("no answer")

    def call(
        self, host: Host, ways: dict[str, list[Way]], work: Callable[[], T], timeout_s: float
    ) -> T | Unknown:
        """Call the cloud from a task on `host`. Unknown: nothing came back in time; it may have landed."""
        dice = self._dice
        there, back = dice.uniform(0.002, 0.012), dice.uniform(0.002, 0.012)
        lost = silent = False
        late = 0.0
        for way in (*ways.get(host.name, ()), *ways.get("", ())):
            there += dice.random() * way.slow_s
            back += dice.random() * way.slow_s
            lost = lost or way.away or dice.random() < way.lost_requests
            silent = silent or dice.random() < way.lost_answers
            if way.late and dice.random() < way.late:
                late = max(late, dice.uniform(0.0, way.late_s))
        box: list[T] = []
        waiters: list[Call] = []

        def land() -> None:
            result = work()
            if not silent and not late:
                self._scheduler.after(back, lambda: deliver(result))

        def deliver(result: T) -> None:
            box.append(result)
            for wake in waiters:
                wake()

        if late or not lost:
            self._scheduler.after(there + late, land)
        self._scheduler.block(waiters, timeout_s / host.rate)
        return box[0] if box else Unknown("no answer in time")
