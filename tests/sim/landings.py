"""Faults at the writes of a new epoch by which most changes: its first sync set, and the one that grows it.

Before the first has landed nobody vouches; by either more nodes may claim than before. By chance of its own:
runs without these stories go as they went before they were written.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from tests.sim.faults_network import Undo
from tests.sim.host import Host
from tests.sim.network import Way

if TYPE_CHECKING:
    from tests.sim.faults import Faults
    from tests.sim.world import World

SHARE = 0.3  # of the runs


class Landings:
    def __init__(self, world: World, dice: random.Random, faults: Faults) -> None:
        self._world = world
        self._dice = dice
        self._faults = faults

    def unleash(self, seconds: float) -> None:
        dice, after = self._dice, self._world.scheduler.after
        for _ in range(dice.randint(1, 3) if dice.random() < SHARE else 0):
            after(dice.uniform(0.0, seconds), self._begin)

    def _begin(self) -> None:
        """Another epoch, and what happens to its writes."""
        host = self._holder()
        if host is not None:
            moment, story = self._dice.choice((("first-set", self._killed), ("set-grows", self._unheard)))
            self._faults.trap(moment, story)
            self._faults.strike_by_name(self._dice.choice(("switchover", "power-loss")), host, 1.0)

    def _holder(self) -> Host | None:
        hosts = self._world.in_service()
        return next((h for h in hosts if h.life is not None and h.life.holds_lease()), None)

    def _killed(self, holder: Host) -> None:
        """Its next life knows neither whether the write landed, nor that it is about to."""
        delay = self._dice.uniform(0.0, 0.06)
        self._world.scheduler.after(delay, lambda: self._faults.strike_by_name("agent-killed", holder, 0.05))

    def _unheard(self, holder: Host) -> None:
        """It lands, and nobody tells its holder, who goes on by promises: also of the one who is new."""
        self._faults.strike_for(2 * self._world.timings.ttl_s, "answers-lost-for-all", holder, self._lose)

    def _lose(self, _: Host, __: float) -> Undo:
        ways = self._world.network.store_ways
        ends = [self._faults.way(ways, name, Way(lost_answers=1.0)) for name in self._world.hosts]

        def undo() -> None:
            for end in ends:
                end()

        return undo
