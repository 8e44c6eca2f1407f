"""A person gives a running cluster another profile: agents are restarted, the holder's last (`agents.yml`).

Until that is done the nodes go by different timings, and where the run ends half-way until it is repeated.
By chance of its own: runs that keep their profile go as they went before this was written.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from failover_agent.core.timings import PROFILES
from tests.sim.faults_network import Undo
from tests.sim.host import Host

if TYPE_CHECKING:
    from tests.sim.faults import Faults
    from tests.sim.world import World

SHARE = 0.08  # of the runs
LOWERED = 0.75  # of these: from the profile whose members wait longest, to one whose members wait less
HURT = ("agent-stopped", "agent-stopped", "isolated", "isolated", "agent-killed")


def draw(dice: random.Random, drawn: str) -> tuple[str, str]:
    """The profile a run begins with, and the one that it is given; mostly both are what was drawn."""
    if dice.random() >= SHARE:
        return drawn, drawn
    if dice.random() < LOWERED:
        return "patient", dice.choice(("fast", "balanced"))
    return drawn, dice.choice(tuple(PROFILES))


class Profiles:
    def __init__(self, world: World, dice: random.Random, faults: Faults) -> None:
        self._world = world
        self._dice = dice
        self._faults = faults

    def unleash(self, seconds: float) -> None:
        dice, world = self._dice, self._world
        if world.profile_to != world.profile:
            at = dice.uniform(0.0, 0.2) * seconds
            world.scheduler.after(at, lambda: self._begin(2 * seconds))

    def _begin(self, seconds: float) -> None:
        """The run ends half-way, and is repeated when the faults are over."""
        self._faults.strike_for(seconds, "another-profile", self._faults.victim(), self._change)

    def _change(self, _: Host, __: float) -> Undo:
        dice, world = self._dice, self._world
        hosts = world.in_service()
        dice.shuffle(hosts)
        hosts.sort(key=self._holds)
        done = len(hosts) - 1 if dice.random() < 0.7 else len(hosts)
        at = 0.0
        for host in hosts[:done]:
            at += dice.uniform(0.2, 2.0)
            world.scheduler.after(at, lambda host=host: self._tell(host))  # type: ignore[misc]
        for _again in range(dice.randint(1, 4)):
            # Members vote again a ttl of the lease after their start (P1).
            world.scheduler.after(at + world.timings.ttl_s * dice.uniform(0.9, 1.6), self._hurt)

        def everybody() -> None:
            for host in world.hosts.values():
                self._tell(host)

        return everybody

    def _holds(self, host: Host) -> bool:
        return host.life is not None and host.life.holds_lease()

    def _tell(self, host: Host) -> None:
        """Its configuration names the profile from now on; its agent is restarted by that."""
        if host.profile == self._world.profile_to:
            return
        host.profile = self._world.profile_to
        life = host.life
        self._world.trace(host.name, "profile", {"to": host.profile})
        if life is not None and life.alive and life.agent is not None:
            life.agent.stop()

    def _hurt(self) -> None:
        """The holder falls silent: how early is it missed, and how long does its gate stay open?"""
        hosts = self._world.in_service()
        holder = next((h for h in hosts if self._holds(h)), None)
        if holder is not None:
            length = self._world.timings.ttl_s * self._dice.uniform(0.3, 1.0)
            self._faults.strike_by_name(self._dice.choice(HURT), holder, length)
