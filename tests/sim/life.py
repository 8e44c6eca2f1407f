"""One life of an agent's process: the real `Agent.run`, its threads as tasks, until it is killed or dies."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from failover_agent.core.liveness import LIMITS
from failover_agent.core.model import Endpoint
from failover_agent.core.timings import PROFILES
from failover_agent.shell.agent import Agent, Ports, Settings
from failover_agent.shell.journal import Journal
from tests.sim.fence import SimFence
from tests.sim.history import Death
from tests.sim.host import Host
from tests.sim.ports import (
    SimGate,
    SimPeers,
    SimProbes,
    SimRoutes,
    SimStore,
    SimSupervisor,
    SimToken,
    SimWorkers,
)
from tests.sim.sched import Actor

if TYPE_CHECKING:
    from tests.sim.world import World

VIP = "172.16.52.1"
RESTART_S = 1.0  # systemd's RestartSec
WATCHDOG_S = 60.0


class Life(Actor):
    def __init__(self, world: World, host: Host) -> None:
        super().__init__(world.scheduler, host.name)
        self.world = world
        self.host = host
        self.agent: Agent | None = None
        self.number = world.next_life()
        self.gate = SimGate(host)
        self.store = SimStore(world, host)
        self.peers = SimPeers(world, host, self)
        self.supervisor = SimSupervisor(host)
        self.away_s = RESTART_S  # from its end to the next life
        self._tokens = 0
        host.postgres.refused = ""
        host.timings = PROFILES[host.profile]
        if host.paused:
            self.hold()
        self.spawn("main", self._main)
        self._watch()

    def _token(self) -> str:
        self._tokens += 1
        return f"{self.host.name}.{self.number}.{self._tokens}"

    def _main(self) -> None:
        self.agent = Agent(
            self._ports(), self._settings(), self._token, workers=SimWorkers(self), journal=self._journal()
        )
        self.peers.begin()
        self.run_thread(self.agent.run)
        self.ends()

    def _ports(self) -> Ports:
        host = self.host
        return Ports(
            clock=host.clock,
            store=self.store,
            gate=self.gate,
            addresses=host.addresses,
            routes=SimRoutes(self.world, host),
            postgres=host.postgres,
            peers=self.peers,
            supervisor=self.supervisor,
            run_notes=host.run_notes,
            state_notes=host.state_notes,
            bootstrap_token=SimToken(host),
            probes=SimProbes(host),
            fence=SimFence(self.world, host),
        )

    def _settings(self) -> Settings:
        world, members = self.world, self.world.members
        return Settings(
            cluster="c",
            me=members[self.host.name],
            others=tuple(members[name] for name in self.host.knows if name != self.host.name),
            boot_id=f"{self.host.name} boot {self.host.boots}",
            interface_id=f"eni-{self.host.name}",
            timings=self.host.timings,
            endpoints=(Endpoint("writer", VIP, 5432),),
            lag_limit_bytes=world.lag_limit_bytes,
            mode=world.mode,
            leave_after_s=world.leave_after_s,
            limits=LIMITS[self.host.profile],
            fencing=world.fencing,
            failsafe=world.failsafe,
            relay=world.relay,
        )

    def _journal(self) -> Journal:
        name = self.host.name
        return Journal(self.host.clock.wall, lambda event, values: self.world.trace(name, event, values))

    def run_thread(self, work: Callable[[], None]) -> None:
        """Run `work`; what ends it by an error that nobody foresaw is told."""
        try:
            work()
        except Exception as error:
            self.world.trace(self.host.name, "died", {"why": repr(error)})
            self.world.history.deaths.append(Death(self.scheduler.now, self.host.name, repr(error)))

    def ends(self) -> None:
        """The process is gone; systemd starts the next one."""
        if not self.alive:
            return
        self.alive = False
        self.host.after(self.away_s, self.world.starter(self.host))

    def holds_lease(self) -> bool:
        return self.alive and self.agent is not None and self.agent.keeper.mine() is not None

    def kill(self) -> None:
        self.alive = False

    def _watch(self) -> None:
        if self.alive and not self.host.paused and self.scheduler.now - self.supervisor.told_at > WATCHDOG_S:
            self.world.trace(self.host.name, "watchdog", {})
            self.kill()
            self.host.after(RESTART_S, self.world.starter(self.host))
        if self.alive:
            self.host.after(WATCHDOG_S / 4, self._watch)
