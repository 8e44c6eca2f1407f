"""WAL for a minute that standbys have and have not replayed, while their primary is lost or they restart.

A position is what was flushed, a promotion waits for replay, and who is restarted begins at its last
restartpoint. By chance of its own: runs without these stories go as they went before they were written.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from failover_agent.core.model import ServerState
from tests.sim.faults_network import Undo
from tests.sim.host import Host
from tests.sim.people import People

if TYPE_CHECKING:
    from tests.sim.faults import Faults
    from tests.sim.world import World

SHARE = 0.1  # of the runs
MIB = 1 << 20
OF_PRIMARIES = (
    "power-loss",
    "postmaster-dies",
    "agent-stopped",
    "isolated",
    "switchover",
    "power-loss-of-all",
)
OF_STANDBYS = ("power-loss", "postmaster-dies", "agent-killed", "pause")


class Backlogs:
    def __init__(self, world: World, dice: random.Random, faults: Faults) -> None:
        self._world = world
        self._dice = dice
        self._faults = faults
        self._people = People(world, dice)

    def unleash(self, seconds: float) -> None:
        dice, after = self._dice, self._world.scheduler.after
        for _ in range(dice.randint(1, 2) if dice.random() < SHARE else 0):
            after(dice.uniform(0.0, 0.4) * seconds, self._begin)

    def _begin(self) -> None:
        dice, after, faults = self._dice, self._world.scheduler.after, self._faults
        primary, standbys = self._roles()
        if primary is None or not standbys:
            return
        for host in standbys:
            if dice.random() < 0.8:
                faults.strike_for(dice.uniform(5, 90), "replays-slowly", host, self._slow)
        after(dice.uniform(0.0, 1.0), lambda: faults.strike_for(0.0, "writes-much", primary, self._bulk))
        if dice.random() < 0.5:
            restarted, name = dice.choice(standbys), dice.choice(OF_STANDBYS)
            length = dice.uniform(0.1, 3.0)
            after(dice.uniform(0.5, 6.0), lambda: faults.strike_by_name(name, restarted, length))
        how, away_s = dice.choice(OF_PRIMARIES), self._world.timings.ttl_s * dice.uniform(0.5, 4.0)
        after(dice.uniform(1.0, 6.0), lambda: faults.strike_by_name(how, primary, away_s))
        faults.trap("claim", self._while_it_replays)

    def _while_it_replays(self, holder: Host) -> None:
        """Who has the lease is not promoted yet: people give orders, and it may be lost as well."""
        dice, after, faults = self._dice, self._world.scheduler.after, self._faults

        def order() -> None:
            asked = dice.choice(self._world.in_service())
            faults.strike_for(0.0, "mode-ordered", asked, self._people.change_mode)

        for _ in range(dice.randint(0, 2)):
            after(dice.uniform(0.1, 4.0), order)
        if dice.random() < 0.5:
            away_s = dice.uniform(0.5, 20.0)
            after(dice.uniform(0.5, 6.0), lambda: faults.strike_by_name("power-loss", holder, away_s))

    def _roles(self) -> tuple[Host | None, list[Host]]:
        hosts = self._world.in_service()
        primary = next((h for h in hosts if h.postgres.state is ServerState.PRIMARY), None)
        return primary, [h for h in hosts if h is not primary]

    def _slow(self, host: Host, _: float) -> Undo:
        """16 MiB are the least that a promotion waits for with a rule of its own (`await-replay`)."""
        bytes_s = self._dice.choice((1, 2, 4, 8)) * MIB
        host.postgres.replay_slowly(bytes_s, self._dice.choice((0, 4, 64)) * MIB)
        return host.postgres.replay_at_once

    def _bulk(self, host: Host, _: float) -> Undo | None:
        host.postgres.write_much(self._dice.choice((1, 20, 40, 100, 200)) * MIB)
        return None
