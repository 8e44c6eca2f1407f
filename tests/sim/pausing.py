"""A person pauses failover for a while, and resumes it for certain: by whichever node obeys."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.sim.history import PauseOrdered
from tests.sim.host import Host

if TYPE_CHECKING:
    from tests.sim.faults import Faults
    from tests.sim.world import World

Undo = Callable[[], None]

SHARE = 0.15  # of the runs
WHILE_PAUSED = ("power-loss", "power-loss", "postmaster-dies", "starts-fail", "isolated", "disk-hangs")
AGAIN_S = 1.5  # between two tries to resume
LATE_S = 20.0  # an order to pause may be carried out this long after it was given


class Pauses:
    def __init__(self, world: World, dice: random.Random, faults: Faults) -> None:
        self._world = world
        self._dice = dice
        self._faults = faults
        self._paused_at = 0.0  # when the last pause was ordered
        self._resuming = False

    def unleash(self, seconds: float) -> None:
        """By chance of its own; the primary then often meets what it would be replaced for."""
        world, faults = self._world, self._faults
        after, dice, ttl_s = world.scheduler.after, world.dice_for("paused"), world.timings.ttl_s

        def pause() -> None:
            faults.strike_for(ttl_s * dice.uniform(1.0, 5.0), "failover-paused", faults.victim(), self.pause)
            if dice.random() < 0.7:
                name, length = dice.choice(WHILE_PAUSED), ttl_s * dice.uniform(0.5, 3.0)
                after(dice.uniform(0.0, 2.0), lambda: faults.strike_by_name(name, faults.victim(), length))

        for _ in range(dice.randint(1, 2) if dice.random() < SHARE else 0):
            after(dice.uniform(0, seconds), pause)

    def pause(self, host: Host, _: float) -> Undo | None:
        """`failoverctl pause` on any node, which may be refused, or stay without an answer."""
        if not self._order(host, pause=True):
            return None
        self._paused_at = self._world.scheduler.now
        return self._resume

    def _resume(self) -> None:
        if not self._resuming:
            self._resuming = True
            self._try()

    def _try(self) -> None:
        """Until the lease says so, and no earlier order to pause can come late."""
        world = self._world
        item, now = world.item(), world.scheduler.now
        paused = item is not None and bool(item.paused)
        if not paused and now >= self._paused_at + LATE_S:
            self._resuming = False
            return
        if paused:
            self._order(self._dice.choice(world.in_service()), pause=False)
        world.scheduler.after(AGAIN_S, self._try)

    def _order(self, host: Host, *, pause: bool) -> bool:
        life, world = host.life, self._world
        if life is None or not life.alive or life.agent is None or not host.up:
            return False
        agent = life.agent
        world.history.pauses_ordered.append(PauseOrdered(world.scheduler.now, host.name, pause))

        def order() -> None:
            answer = agent.request_pause(pause)
            world.trace(
                host.name, "pause-answer", {"pause": pause, "ok": answer["ok"], "why": answer.get("why")}
            )

        life.spawn("request", lambda: life.run_thread(order))
        return True
