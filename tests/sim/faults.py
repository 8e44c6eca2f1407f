"""What goes wrong in a run, and when: drawn from the seed, laid over a world, taken back by `heal`."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from failover_agent.core.model import ServerState
from failover_agent.errors import AgentError
from tests.sim.host import Host
from tests.sim.network import CLIENTS, Way

if TYPE_CHECKING:
    from tests.sim.world import World

Undo = Callable[[], None]

AMBUSHED = ("claim", "claim", "renewal", "renewal", "release", "promote", "clone", "rewind")


class Faults:
    def __init__(self, world: World, dice: random.Random) -> None:
        self._world = world
        self._dice = dice
        self._undo: dict[int, Undo] = {}
        self._number = 0
        self._healed = False
        self._kinds: tuple[tuple[int, str, Callable[[Host, float], Undo | None]], ...] = (
            (5, "power-loss", self.power_loss),
            (6, "pause", self.pause),
            (5, "agent-killed", self.agent_killed),
            (3, "agent-stopped", self.agent_stopped),
            (3, "starved", self.starved),
            (6, "postmaster-dies", self.postmaster_dies),
            (2, "postgres-hangs", self.postgres_hangs),
            (2, "replay-blocked", self.replay_blocked),
            (3, "lags", self.lags),
            (1, "starts-fail", self.starts_fail),
            (2, "slow-postgres", self.slow_postgres),
            (2, "disk-hangs", self.disk_hangs),
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
            (3, "ec2-late", self.ec2_late),
            (2, "ec2-away", self.ec2_away),
            (1, "stale-routes", self.stale_routes),
            (2, "wall-steps", self.wall_steps),
            (2, "gate-flushed", self.gate_flushed),
            (1, "gate-refuses", self.gate_refuses),
            (1, "address-removed", self.address_removed),
            (9, "switchover", self.switchover),
        )

    def unleash(self, seconds: float) -> None:
        """Lay faults over the next `seconds`, some of them close together."""
        dice, world = self._dice, self._world
        count = dice.randint(4, 16)
        at = 0.0
        for _ in range(count):
            at = dice.uniform(0, seconds) if dice.random() < 0.6 else at + dice.uniform(0.0, 3.0)
            weights = [weight for weight, _, _ in self._kinds]
            (_, name, kind) = dice.choices(self._kinds, weights)[0]
            length = world.timings.ttl_s * math.exp(dice.uniform(math.log(0.02), math.log(4)))
            if dice.random() < 0.25:
                world.scheduler.after(
                    at,
                    lambda n=name, k=kind, d=length: self._lie_in_wait(n, k, d),  # type: ignore[misc]
                )
            else:
                world.scheduler.after(
                    at,
                    lambda n=name, k=kind, d=length: self._strike(n, k, self._victim(), d),  # type: ignore[misc]
                )

    def _victim(self) -> Host:
        hosts = list(self._world.hosts.values())
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

    def _touch(self, host: Host) -> None:
        host.touched_at = self._world.scheduler.now

    def _lie_in_wait(self, name: str, kind: Callable[[Host, float], Undo | None], length: float) -> None:
        """Strike when an agent does what is dangerous: right after it asked, before the answer."""
        moment, delay = self._dice.choice(AMBUSHED), self._dice.uniform(0, 0.03)

        after = self._world.scheduler.after
        self._trap(moment, lambda host: after(delay, lambda: self._strike(name, kind, host, length)))

    def _trap(self, moment: str, spring: Callable[[Host], None]) -> None:
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
        for undo in list(self._undo.values()):
            undo()
        self._undo.clear()
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
            if not host.up:
                host.power_on()
                self._world.starter(host)()

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

    # Network

    def _links(self, links: list[tuple[str, str]]) -> Undo:
        network = self._world.network
        for link in links:
            network.cut[link] = network.cut.get(link, 0) + 1
            network.touch(*link)

        def mend() -> None:
            for link in links:
                network.cut[link] -= 1
                network.touch(*link)

        return mend

    def _everybody(self, host: Host) -> list[str]:
        others = [n for n in self._world.hosts if n != host.name]
        return [*others, CLIENTS] if self._dice.random() < 0.3 else others

    def isolated(self, host: Host, _: float) -> Undo:
        """From all peers, one way or both; sometimes from the cloud, too."""
        ways = self._dice.choice(("in", "out", "both", "both"))
        links: list[tuple[str, str]] = []
        for other in self._everybody(host):
            links += [(other, host.name)] if ways != "out" else []
            links += [(host.name, other)] if ways != "in" else []
        mend = self._links(links)
        away = self._way(self._world.network.store_ways, host.name, Way(away=True))
        if self._dice.random() < 0.5:
            away()
            return mend

        def both() -> None:
            mend()
            away()

        return both

    def link_cut(self, host: Host, _: float) -> Undo:
        other = self._dice.choice([n for n in self._world.hosts if n != host.name])
        both = [(host.name, other), (other, host.name)]
        return self._links(self._dice.choice((both, both[:1], both[1:])))

    def lossy(self, host: Host, _: float) -> Undo:
        return self._worse(self._world.network.lossy, host, self._dice.uniform(0.1, 0.7))

    def slow_links(self, host: Host, _: float) -> Undo:
        return self._worse(self._world.network.slow, host, self._dice.uniform(0.05, 2.0))

    def _worse(self, what: dict[tuple[str, str], float], host: Host, value: float) -> Undo:
        others = [n for n in self._world.hosts if n != host.name]
        links = [link for other in others for link in ((host.name, other), (other, host.name))]
        for link in links:
            what[link] = value
            self._world.network.touch(*link)

        def mend() -> None:
            for link in links:
                what.pop(link, None)
                self._world.network.touch(*link)

        return mend

    # The cloud

    def _way(self, ways: dict[str, list[Way]], name: str, way: Way) -> Undo:
        ways.setdefault(name, []).append(way)

        def mend() -> None:
            ways[name].remove(way) if way in ways[name] else None
            for host in self._world.hosts.values():
                self._touch(host)

        if not name:
            self._world.touched_at = self._world.scheduler.now
        return mend

    def store_away(self, host: Host, _: float) -> Undo:
        return self._way(self._world.network.store_ways, host.name, Way(away=True))

    def store_slow(self, host: Host, _: float) -> Undo:
        way = Way(slow_s=self._world.timings.request_timeout_s * self._dice.uniform(0.3, 3))
        return self._way(self._world.network.store_ways, host.name, way)

    def answers_lost(self, host: Host, _: float) -> Undo:
        way = Way(lost_answers=self._dice.choice((0.3, 0.7, 1.0)))
        return self._way(self._world.network.store_ways, host.name, way)

    def zombie_writes(self, host: Host, _: float) -> Undo:
        late_s = self._world.timings.ttl_s * self._dice.uniform(0.2, 4)
        way = Way(late=self._dice.choice((0.2, 0.6, 1.0)), late_s=late_s)
        return self._way(self._world.network.store_ways, host.name, way)

    def store_flaky(self, host: Host, _: float) -> Undo:
        """Answers are lost, one comes through, then nothing: what was believed is put to the test."""
        ways, t = self._world.network.store_ways, self._world.timings
        way = Way(lost_answers=1.0)
        undo = self._way(ways, host.name, way)

        def then(**values: object) -> None:
            for name, value in values.items():
                setattr(way, name, value)

        lost_s = self._dice.uniform(1.0, 4.0) * t.margin_s
        after = self._world.scheduler.after
        after(lost_s, lambda: then(lost_answers=0.0))
        after(lost_s + self._dice.uniform(0.05, 0.4) * t.beat_s, lambda: then(away=True))
        after(lost_s + 2 * t.ttl_s, lambda: then(away=False))
        return undo

    def store_away_for_all(self, _: Host, __: float) -> Undo:
        way = Way(away=True) if self._dice.random() < 0.6 else Way(lost_answers=0.5, late=0.3, late_s=5.0)
        return self._way(self._world.network.store_ways, "", way)

    def ec2_late(self, host: Host, _: float) -> Undo:
        way = Way(late=self._dice.choice((0.5, 1.0)), late_s=self._dice.uniform(1, 30))
        return self._way(self._world.network.ec2_ways, host.name, way)

    def ec2_away(self, host: Host, _: float) -> Undo:
        name = host.name if self._dice.random() < 0.6 else ""
        return self._way(self._world.network.ec2_ways, name, Way(away=True, slow_s=1.0))

    def stale_routes(self, _: Host, __: float) -> Undo:
        self._world.stale_routes = dict(self._world.tables)
        return lambda: setattr(self._world, "stale_routes", None)

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
                answer: object = agent.request_switchover(to)
            except AgentError as error:
                answer = str(error.args[0])
            world.trace(host.name, "switchover-answer", {"to": to, "answer": answer})

        life.spawn("request", lambda: life.run_thread(order))
        if self._dice.random() < 0.4:  # the moments of a handover are the ones to hurt
            name, kind = self._dice.choice(
                (
                    ("agent-killed", self.agent_killed),
                    ("power-loss", self.power_loss),
                    ("pause", self.pause),
                    ("answers-lost", self.answers_lost),
                    ("zombie-writes", self.zombie_writes),
                )
            )
            moment, delay, length = self._dice.choice(("release", "claim")), self._dice.uniform(0, 0.1), 2.0
            self._trap(
                moment, lambda h: world.scheduler.after(delay, lambda: self._strike(name, kind, h, length))
            )
        return None
