"""Takes the pulse of this node once per round, and says aloud what people should know (N4)."""

from __future__ import annotations

from dataclasses import replace

from failover_agent.core import liveness
from failover_agent.core.health import Health, Limits
from failover_agent.core.liveness import Pulse, Readings
from failover_agent.core.model import Server, ServerState, Unknown
from failover_agent.ports import Clock, Probes
from failover_agent.shell.journal import Journal
from failover_agent.shell.keeper import Keeper


class Unprobed:
    """Implements `ports.Probes` where nothing is probed: nothing is ever taken for stuck, hung or full."""

    def start(self) -> None: ...

    def watch_primary(self, primary: bool) -> None: ...

    def readings(self) -> Readings:
        return Readings()


class Vigil:
    def __init__(
        self, probes: Probes, limits: Limits, keeper: Keeper, clock: Clock, journal: Journal
    ) -> None:
        self._probes = probes
        self._limits = limits
        self._keeper = keeper
        self._clock = clock
        self._journal = journal
        self._pulse: Pulse | None = None
        self._alarms: dict[str, str] = {}
        self._near_misses = 0
        self.health = Health()

    def round(self, server: Server | Unknown, before: Server | None) -> Health:
        """`before` is the last look that found an answer; a silent primary is still watched as one."""
        known = server if isinstance(server, Server) else before
        was_primary = known is not None and known.state is ServerState.PRIMARY
        self._probes.watch_primary(was_primary)
        readings = self._probes.readings()
        self._pulse = liveness.beat(self._pulse, readings, server, was_primary, self._clock.now())
        health = liveness.judge(self._pulse, self._limits, self._keeper.renewals())
        found = liveness.alarms(health, self._limits)
        self.health = replace(health, alarms=tuple(sorted(found))) if found else health
        self._say(found)
        return self.health

    def forget(self) -> None:
        """Every silence begins anew: who slept has not watched (N7), and who left has nothing to watch."""
        self._pulse = None

    def _say(self, found: dict[str, str]) -> None:
        for name in found.keys() - self._alarms.keys():
            self._journal.event("alarm", name=name, why=found[name])
        for name in self._alarms.keys() - found.keys():
            self._journal.event("alarm-over", name=name)
        self._alarms = found
        renewals = self.health.renewals
        if renewals.near_misses > self._near_misses:
            self._journal.event("near-miss", used_percent=round(100 * renewals.used_last))
        self._near_misses = renewals.near_misses
