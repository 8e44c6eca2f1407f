"""What goes wrong in a run, and when: drawn from the seed, laid over a world, taken back by `heal`."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from failover_agent import killpoints
from failover_agent.core.model import ServerState
from failover_agent.errors import AgentError
from tests.sim.backlogs import Backlogs
from tests.sim.faults_network import NetworkFaults, Undo
from tests.sim.faults_together import Together
from tests.sim.host import Host
from tests.sim.landings import Landings
from tests.sim.pausing import Pauses
from tests.sim.people import People
from tests.sim.profiles import Profiles

if TYPE_CHECKING:
    from tests.sim.world import World

# Points of adapters that a simulation has its own in place of.
IN_ADAPTERS = {
    "allowed-before-start",
    "started-before-signal",
    "copied-before-place",
    "aside-before-place",
    "marked-before-overwrite",
    "overwritten-before-unmark",
}
MODES_ORDERED = 0.25  # share of the runs in which people change what commits are promised
AMBUSHED = (
    *("claim", "claim", "renewal", "renewal", "release", "promise", "promote", "clone", "rewind"),
    *("sync", "waits", "seal"),
)
STORIES = {"outage", "comes-back", "set-moves", "store-flaky"}  # they take their time
# Half of the runs are about one of these: what hurts only where things meet seldom meets in a run about all.
THEMES = ("outage", "comes-back", "set-moves", "data-lost", "uneven", "dies-promoted", "late-route")
OFTENER = 15


class Faults(NetworkFaults):
    def __init__(self, world: World, dice: random.Random) -> None:
        super().__init__(world, dice)
        self._undo: dict[int, Undo] = {}
        self._people = People(world, dice)
        self._together = Together(world, dice, self)
        self._stories = (
            Pauses(world, world.dice_for("failover resumed"), self),
            Landings(world, world.dice_for("landings"), self),
            Profiles(world, world.dice_for("profile changed"), self),
            Backlogs(world, world.dice_for("backlogs"), self),
        )
        self._number = 0
        self._healed = False
        self._kinds: tuple[tuple[int, str, Callable[[Host, float], Undo | None]], ...] = (
            (5, "power-loss", self.power_loss),
            (1, "power-loss-of-all", self.power_loss_of_all),
            (6, "pause", self.pause),
            (5, "agent-killed", self.agent_killed),
            (4, "agent-dies-at", self.agent_dies_at),
            (3, "agent-stopped", self.agent_stopped),
            (3, "starved", self.starved),
            (6, "postmaster-dies", self.postmaster_dies),
            (2, "postgres-hangs", self.postgres_hangs),
            (2, "replay-blocked", self.replay_blocked),
            (3, "lags", self.lags),
            (1, "starts-fail", self.starts_fail),
            (2, "slow-postgres", self.slow_postgres),
            (2, "disk-hangs", self.disk_hangs),
            (1, "disk-full", self.disk_full),
            (2, "receiver-dies", self.receiver_dies),
            (4, "isolated", self.isolated),
            (4, "link-cut", self.link_cut),
            (2, "lossy", self.lossy),
            (2, "slow-links", self.slow_links),
            (4, "store-away", self.store_away),
            (3, "store-slow", self.store_slow),
            (4, "answers-lost", self.answers_lost),
            (4, "zombie-writes", self.zombie_writes),
            (4, "store-flaky", self.store_flaky),
            (2, "store-away-for-all", self.store_away_for_all),
            (4, "outage", self._together.outage),
            (4, "comes-back", self._together.comes_back),
            (3, "set-moves", self._together.set_moves),
            (1, "data-lost", self._together.data_lost),
            (3, "uneven", self._together.uneven),
            (2, "dies-promoted", self._together.dies_promoted),
            (2, "late-route", self._together.late_route),
            (3, "ec2-slow", self.ec2_slow),
            (3, "ec2-late", self.ec2_late),
            (2, "ec2-away", self.ec2_away),
            (1, "stale-routes", self.stale_routes),
            (2, "wall-steps", self.wall_steps),
            (2, "gate-flushed", self.gate_flushed),
            (1, "gate-refuses", self.gate_refuses),
            (1, "address-removed", self.address_removed),
            (9, "switchover", self.switchover),
            (2, "node-added", self._people.add_a_node),
            (1, "node-removed", self._people.remove_a_node),
        )

    def unleash(self, seconds: float) -> None:
        """Lay faults over the next `seconds`, some of them close together."""
        dice, world = self._dice, self._world
        count = dice.randint(4, 16)
        theme = dice.choice(THEMES) if dice.random() < 0.5 else ""
        weights = [weight * (OFTENER if name == theme else 1) for weight, name, _ in self._kinds]
        at = 0.0
        for _ in range(count):
            at = dice.uniform(0, seconds) if dice.random() < 0.6 else at + dice.uniform(0.0, 3.0)
            (_, name, kind) = dice.choices(self._kinds, weights)[0]
            length = world.timings.ttl_s * math.exp(dice.uniform(math.log(0.02), math.log(4)))
            if name in STORIES:
                length = world.timings.ttl_s * dice.uniform(1.5, 4.0)
            if dice.random() < 0.25:
                world.scheduler.after(
                    at,
                    lambda n=name, k=kind, d=length: self._lie_in_wait(n, k, d),  # type: ignore[misc]
                )
            else:
                world.scheduler.after(
                    at,
                    lambda n=name, k=kind, d=length: self._strike(n, k, self.victim(), d),  # type: ignore[misc]
                )
        self._order_modes(seconds)
        self._together.lose_what_is_copied()
        for story in self._stories:
            story.unleash(seconds)

    def _order_modes(self, seconds: float) -> None:
        """In a part of the runs, by chance of its own, so that all others stay as they are."""
        after, dice = self._world.scheduler.after, self._world.dice_for("modes ordered")

        def order() -> None:
            self._strike("mode-ordered", self._people.change_mode, self.victim(), 0.0)
            if dice.random() < 0.5:  # the write that switches is the moment to hurt
                self._hurt_at(("sync",))

        for _ in range(dice.randint(1, 4) if dice.random() < MODES_ORDERED else 0):
            after(dice.uniform(0, seconds), order)

    def victim(self) -> Host:
        hosts = self._world.in_service()
        serving = [h for h in hosts if h.postgres.state is ServerState.PRIMARY]
        return self._dice.choice(serving if serving and self._dice.random() < 0.7 else hosts)

    def _strike(
        self, name: str, kind: Callable[[Host, float], Undo | None], host: Host, length: float
    ) -> None:
        if self._healed:
            return
        world = self._world
        world.trace(host.name, "fault", {"what": name, "for_s": round(length, 3)})
        self._touch(host)
        undo = kind(host, length)
        if undo is None:
            return
        self._number += 1
        number = self._number
        self._undo[number] = undo
        world.scheduler.after(length, lambda: self._take_back(number, name, host))

    def _take_back(self, number: int, name: str, host: Host) -> None:
        undo = self._undo.pop(number, None)
        if undo is not None:
            self._world.trace(host.name, "fault-ends", {"what": name})
            self._touch(host)
            undo()

    def strike_by_name(self, name: str, host: Host, length: float) -> None:
        kind = next(kind for _, known, kind in self._kinds if known == name)
        self._strike(name, kind, host, length)

    def strike_for(
        self, length: float, name: str, host: Host, kind: Callable[[Host, float], Undo | None]
    ) -> None:
        self._strike(name, kind, host, length)

    def _lie_in_wait(self, name: str, kind: Callable[[Host, float], Undo | None], length: float) -> None:
        """Strike when an agent does what is dangerous: right after it asked, before the answer."""
        moment, delay = self._dice.choice(AMBUSHED), self._dice.uniform(0, 0.03)
        after = self._world.scheduler.after
        self.trap(moment, lambda host: after(delay, lambda: self._strike(name, kind, host, length)))

    def trap(self, moment: str, spring: Callable[[Host], None]) -> None:
        if self._healed:
            return  # a story that went on

        def trap(host: Host, what: str) -> bool:
            if what == moment:
                spring(host)
            return what == moment

        self._world.ambushes.append(trap)

    def heal(self) -> None:
        """Take every fault back, and start what was stopped."""
        self._healed = True
        world = self._world
        world.ambushes.clear()
        world.heals += 1
        for undo in list(self._undo.values()):
            undo()
        self._undo.clear()
        killpoints.arm("", self._die)
        for host in world.hosts.values():
            self._touch(host)
            if not host.up:
                host.power_on()
            world.starter(host)()
        world.trace("", "healed", {})

    # Hosts and agents

    def power_loss(self, host: Host, _: float) -> Undo | None:
        if not host.up:
            return None
        host.power_off()

        def on() -> None:
            if not host.up and not host.stopped:
                host.power_on()
                self._world.starter(host)()

        return on

    def power_loss_of_all(self, _: Host, __: float) -> Undo | None:
        """One zone's breaker is every zone's: whoever returns first knows least."""
        undos = [self.power_loss(host, 0.0) for host in self._world.hosts.values()]
        after = self._world.scheduler.after

        def on() -> None:
            for undo in filter(None, undos):
                after(self._dice.uniform(0, 6), undo)

        return on

    def pause(self, host: Host, _: float) -> Undo | None:
        if host.paused or not host.up:
            return None
        host.pause()
        boot = host.boots
        return lambda: host.resume() if host.boots == boot else None

    def agent_killed(self, host: Host, _: float) -> Undo | None:
        life = host.life
        if life is not None and life.alive:
            life.kill()
            host.after(self._dice.uniform(0.5, 1.5), self._world.starter(host))
        return None

    def agent_dies_at(self, _: Host, __: float) -> Undo | None:
        """Whoever next passes one of the agent's points of no return dies there."""
        points = sorted(killpoints.POINTS.keys() - IN_ADAPTERS)
        killpoints.arm(self._dice.choice(points), self._die)
        return lambda: killpoints.arm("", self._die)

    def _die(self) -> None:
        task = self._world.scheduler.current
        if task is None:
            return
        host = self._world.hosts[task.actor.name]
        self._world.trace(host.name, "dies-at", {})
        if host.life is task.actor:
            host.life.kill()
            host.after(self._dice.uniform(0.5, 1.5), self._world.starter(host))
        self._world.scheduler.never()

    def agent_stopped(self, host: Host, _: float) -> Undo | None:
        life = host.life
        if life is None:
            return None
        life.hold()
        return life.release

    def starved(self, host: Host, _: float) -> Undo | None:
        host.starved = self._dice.choice((0.01, 0.05))

        def enough() -> None:
            host.starved = 0.0

        return enough

    # PostgreSQL and its disk

    def postmaster_dies(self, host: Host, _: float) -> Undo | None:
        host.postgres.postmaster_dies()
        return None

    def postgres_hangs(self, host: Host, _: float) -> Undo:
        host.postgres.hangs = True
        return lambda: setattr(host.postgres, "hangs", False)

    def replay_blocked(self, host: Host, _: float) -> Undo:
        host.postgres.replay_blocked = True
        return lambda: setattr(host.postgres, "replay_blocked", False)

    def lags(self, host: Host, _: float) -> Undo:
        receiver = self._world.receivers[host.name]
        receiver.lags = True
        return lambda: setattr(receiver, "lags", False)

    def starts_fail(self, host: Host, _: float) -> Undo:
        host.postgres.starts_to_fail = self._dice.randint(1, 4)
        return lambda: setattr(host.postgres, "starts_to_fail", 0)

    def slow_postgres(self, host: Host, _: float) -> Undo:
        host.postgres.slow = self._dice.uniform(3, 15)
        return lambda: setattr(host.postgres, "slow", 1.0)

    def disk_hangs(self, host: Host, _: float) -> Undo:
        host.disk_hangs = True
        return lambda: setattr(host, "disk_hangs", False)

    def disk_full(self, host: Host, _: float) -> Undo:
        host.disk_full = True
        return lambda: setattr(host, "disk_full", False)

    def receiver_dies(self, host: Host, _: float) -> Undo | None:
        host.postgres.streaming = False
        return None

    # The rest of the node

    def wall_steps(self, host: Host, _: float) -> Undo | None:
        """Forward, or back by less than matters while a pause is short (PROTOCOL G4's bound is wall time)."""
        host.step_wall(self._dice.choice((0.2, 2.0, 60.0, 3600.0, -0.2)))
        return None

    def gate_flushed(self, host: Host, _: float) -> Undo | None:
        if host.up and not host.paused and host.life is not None:
            host.life.gate.stranger_shuts()
        return None

    def gate_refuses(self, host: Host, _: float) -> Undo:
        host.kernel.refuses = True
        return lambda: setattr(host.kernel, "refuses", False)

    def address_removed(self, host: Host, _: float) -> Undo | None:
        host.addresses.here.clear()
        return None

    # People

    def switchover(self, host: Host, _: float) -> Undo | None:
        world = self._world
        life = host.life
        if life is None or not life.alive or life.agent is None:
            return None
        others = [n for n in world.hosts if n != host.name]
        to = self._dice.choice(("", self._dice.choice(others)))
        agent = life.agent

        def order() -> None:
            try:
                with world.handover_of(life):
                    answer: object = agent.request_switchover(to)
            except AgentError as error:
                answer = str(error.args[0])
            world.trace(host.name, "switchover-answer", {"to": to, "answer": answer})

        life.spawn("request", lambda: life.run_thread(order))
        if self._dice.random() < 0.4:  # the moments of a handover are the ones to hurt
            self._hurt_at(("release", "claim"))
        return None

    def _hurt_at(self, moments: tuple[str, ...]) -> None:
        """Whoever next comes to one of `moments`."""
        name, kind = self._dice.choice(
            (
                ("agent-killed", self.agent_killed),
                ("power-loss", self.power_loss),
                ("pause", self.pause),
                ("answers-lost", self.answers_lost),
                ("zombie-writes", self.zombie_writes),
            )
        )
        moment, delay, length = self._dice.choice(moments), self._dice.uniform(0, 0.1), 2.0
        after = self._world.scheduler.after
        self.trap(moment, lambda h: after(delay, lambda: self._strike(name, kind, h, length)))
