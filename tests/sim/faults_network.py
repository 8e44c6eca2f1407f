"""What goes wrong between nodes, and between nodes and the cloud."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from failover_agent.shell.lease_desk import RETRY_S
from tests.sim.host import Host
from tests.sim.network import CLIENTS, Way

if TYPE_CHECKING:
    from tests.sim.world import World

Undo = Callable[[], None]


class NetworkFaults:
    def __init__(self, world: World, dice: random.Random) -> None:
        self._world = world
        self._dice = dice

    def _touch(self, host: Host) -> None:
        host.touched_at = self._world.scheduler.now

    @staticmethod
    def once(undo: Undo) -> Undo:
        """For what several events take back."""
        left = [undo]
        return lambda: left.pop()() if left else None

    def links(self, links: list[tuple[str, str]]) -> Undo:
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
        mend = self.links(links)
        away = self.way(self._world.network.store_ways, host.name, Way(away=True))
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
        return self.links(self._dice.choice((both, both[:1], both[1:])))

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

    def way(self, ways: dict[str, list[Way]], name: str, way: Way) -> Undo:
        ways.setdefault(name, []).append(way)

        def mend() -> None:
            ways[name].remove(way) if way in ways[name] else None
            for host in self._world.hosts.values():
                self._touch(host)

        if not name:
            self._world.touched_at = self._world.scheduler.now
        return mend

    def store_away(self, host: Host, _: float) -> Undo:
        return self.way(self._world.network.store_ways, host.name, Way(away=True))

    def store_slow(self, host: Host, _: float) -> Undo:
        way = Way(slow_s=self._world.timings.request_timeout_s * self._dice.uniform(0.3, 3))
        return self.way(self._world.network.store_ways, host.name, way)

    def answers_lost(self, host: Host, _: float) -> Undo:
        way = Way(lost_answers=self._dice.choice((0.3, 0.7, 1.0)))
        return self.way(self._world.network.store_ways, host.name, way)

    def zombie_writes(self, host: Host, _: float) -> Undo:
        late_s = self._world.timings.ttl_s * self._dice.uniform(0.2, 4)
        way = Way(late=self._dice.choice((0.2, 0.6, 1.0)), late_s=late_s)
        return self.way(self._world.network.store_ways, host.name, way)

    def store_flaky(self, host: Host, _: float) -> Undo:
        """Answers are lost, one comes through, then nothing: what was believed is put to the test."""
        ways, t = self._world.network.store_ways, self._world.timings
        way = Way(lost_answers=1.0)
        undo = self.way(ways, host.name, way)

        def then(**values: object) -> None:
            for name, value in values.items():
                setattr(way, name, value)

        lost_s = self._dice.uniform(1.0, 4.0) * t.margin_s
        after = self._world.scheduler.after
        after(lost_s, lambda: then(lost_answers=0.0))
        # Long enough for one retry to be answered, too short for the next beat as well.
        answered_s = self._dice.uniform(0.8, 1.1) * (t.request_timeout_s + RETRY_S)
        after(lost_s + answered_s, lambda: then(away=True))
        after(lost_s + 2 * t.ttl_s, lambda: then(away=False))
        return undo

    def store_away_for_all(self, _: Host, __: float) -> Undo:
        way = Way(away=True) if self._dice.random() < 0.6 else Way(lost_answers=0.5, late=0.3, late_s=5.0)
        return self.way(self._world.network.store_ways, "", way)

    def ec2_late(self, host: Host, _: float) -> Undo:
        way = Way(late=self._dice.choice((0.5, 1.0)), late_s=self._dice.uniform(1, 30))
        return self.way(self._world.network.ec2_ways, host.name, way)

    def ec2_slow(self, host: Host, _: float) -> Undo:
        way = Way(slow_s=self._world.timings.request_timeout_s * self._dice.uniform(0.2, 0.9))
        return self.way(self._world.network.ec2_ways, host.name, way)

    def ec2_away(self, host: Host, _: float) -> Undo:
        name = host.name if self._dice.random() < 0.6 else ""
        return self.way(self._world.network.ec2_ways, name, Way(away=True, slow_s=1.0))

    def stale_routes(self, _: Host, __: float) -> Undo:
        self._world.stale_routes = dict(self._world.tables)
        return lambda: setattr(self._world, "stale_routes", None)
