"""A simulated EC2 that stops and starts machines: after a while, late, or never (`ports.Fence`).

Assumed: a machine that lost its power still shows `running` until it is stopped. A request that is late
takes effect whoever has become primary meanwhile, until the faults are healed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, TypeVar

from failover_agent.core.fencing import OFF, Fencing
from failover_agent.core.model import Unknown
from tests.sim.history import FenceSeen
from tests.sim.host import Host

if TYPE_CHECKING:
    import random

    from tests.sim.world import World

T = TypeVar("T")


def fencing_of(dice: random.Random) -> Fencing:
    """Most clusters have none; the others every policy."""
    if dice.random() >= 0.15:
        return OFF
    policy, undo = dice.choice(("wait", "promote")), dice.choice(("person", "automatic"))
    return Fencing("stop-instance", policy, dice.uniform(2.0, 20.0), undo)  # type: ignore[arg-type]


class SimFence:
    def __init__(self, world: World, host: Host) -> None:
        self._world = world
        self._host = host

    def _call(self, work: Callable[[], T]) -> T | Unknown:
        world = self._world
        return world.network.call(
            self._host, world.network.ec2_ways, work, self._host.timings.request_timeout_s
        )

    def _target(self, instance_id: str) -> Host:
        return self._world.hosts[instance_id.removeprefix("i-")]

    def is_fenced(self, instance_id: str) -> bool | Unknown:
        target = self._target(instance_id)

        def look() -> bool:
            if target.stopped:
                seen = FenceSeen(self._world.scheduler.now, self._host.name, target.name, not target.up)
                self._world.history.fences.append(seen)
            return target.stopped

        return self._call(look)

    def before(self, instance_id: str) -> Mapping[str, str] | Unknown:
        return self._call(lambda: {"machine": instance_id})

    def fence(self, instance_id: str) -> Unknown | None:
        world, target = self._world, self._target(instance_id)
        heals = world.heals

        def stop() -> None:
            if heals == world.heals:
                world.scheduler.after(target.dice.uniform(0.3, 8.0), off)

        def off() -> None:
            if heals == world.heals and not target.stopped:
                world.trace(target.name, "stopped-by-the-cloud", {})
                if target.up:
                    target.power_off()
                target.stopped = True
                target.touched_at = world.scheduler.now

        answer = self._call(stop)
        return answer if isinstance(answer, Unknown) else None

    def undo(self, instance_id: str, before: Mapping[str, str]) -> Unknown | None:
        world, target = self._world, self._target(instance_id)
        assert before == {"machine": instance_id}, "what undoes a fence is kept with it"

        def start() -> None:
            if target.stopped:
                world.trace(target.name, "started-by-the-cloud", {})
                target.power_on()
                target.touched_at = world.scheduler.now
                world.starter(target)()

        answer = self._call(start)
        return answer if isinstance(answer, Unknown) else None
