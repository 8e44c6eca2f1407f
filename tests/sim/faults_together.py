"""Faults that hurt only together, each at the moment at which the one before it can be made use of.

Drawn one by one they would meet once in thousands of seeds; each is a story that can happen.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from failover_agent.core.model import ServerState, Timings
from tests.sim.faults_network import Undo
from tests.sim.host import Host
from tests.sim.network import Way

if TYPE_CHECKING:
    from tests.sim.faults import Faults
    from tests.sim.world import World


@dataclass(frozen=True, slots=True)
class Back:
    """How a primary comes back, and what is late meanwhile."""

    back_s: tuple[float, float]  # after the first seal, or claim
    way: Callable[[Timings], Way]  # of everybody else to the store
    slow_ttls: float  # and for how long
    renews: bool = True
    hurt: tuple[str, ...] = ()  # who sealed, or claimed
    moment: str = "seal"
    often: int = 1
    again: bool = False  # missed once more, when other things stand than those that were sealed for


BACK = (
    Back((0.1, 0.5), lambda _: Way(away=True), 0.6, hurt=("agent-killed", "agent-killed", "power-loss")),
    Back((0.0, 1.0), lambda _: Way(away=True), 0.3, again=True),
    Back((0.0, 0.1), lambda t: Way(slow_s=0.45 * t.request_timeout_s), 0.5, often=3),
    Back((0.0, 0.1), lambda _: Way(lost_answers=1.0), 0.5, renews=False, moment="claim", often=3),
    Back((0.0, 0.3), lambda _: Way(away=True), 0.6, hurt=("agent-killed",)),
)

SOURCES_LOST = 0.5  # share of the runs


class Together:
    def __init__(self, world: World, dice: random.Random, faults: Faults) -> None:
        self._world = world
        self._dice = dice
        self._faults = faults

    def _after(self, seconds: float, call: Callable[[], None]) -> None:
        self._world.scheduler.after(seconds, call)

    def _all(self, undos: list[Undo]) -> Undo:
        """Also of what the story adds to them later; some may have been taken back. None left: it is over."""

        def undo() -> None:
            while undos:
                undos.pop()()

        return undo

    def _around(self, host: Host) -> list[tuple[str, str]]:
        others = [n for n in self._world.hosts if n != host.name]
        return [link for other in others for link in ((host.name, other), (other, host.name))]

    def _primary(self, otherwise: Host) -> Host:
        """Whom it is worth hurting."""
        serving = (h for h in self._world.in_service() if h.life is not None and h.life.holds_lease())
        return next(serving, otherwise)

    def outage(self, _: Host, __: float) -> Undo:
        """The store is away for everybody and back for each at another time; somebody is hurt meanwhile."""
        world, dice, faults = self._world, self._dice, self._faults
        ways = world.network.store_ways
        ends = {n: faults.once(faults.way(ways, n, Way(away=True))) for n in world.hosts}
        for end in ends.values():
            self._after(world.timings.ttl_s * dice.uniform(1.0, 5.0), end)
        story = dice.random()
        if story < 0.45:  # right after a promise was given, the one who gave it or anybody
            name = dice.choice(
                ("agent-killed", "agent-killed", "power-loss", "pause", "isolated", "zombie-writes")
            )
            length, delay = world.timings.ttl_s * dice.uniform(0.1, 2), dice.uniform(0.0, 1.0)
            whom = faults.victim if dice.random() < 0.4 else None
            faults.trap(
                "promise",
                lambda h: self._after(
                    delay, lambda: faults.strike_by_name(name, whom() if whom else h, length)
                ),
            )
        elif story < 0.8:
            faults.trap("promise", lambda h: self._forgets_and_is_alone(h, ends))
        return self._all(list(ends.values()))

    def lose_what_is_copied(self) -> None:
        """The source of a rewind dies before the copy is consistent; by chance of its own, as all at once."""
        dice, faults, ttl_s = self._world.dice_for("rewound"), self._faults, self._world.timings.ttl_s
        delay, length = dice.uniform(0.0, 0.3), ttl_s * dice.uniform(3.0, 10.0)
        if dice.random() < SOURCES_LOST:
            faults.trap(
                "rewound",
                lambda h: self._after(delay, lambda: faults.strike_by_name("power-loss", h, length)),
            )

    def _forgets_and_is_alone(self, member: Host, ends: dict[str, Undo]) -> None:
        """Who promised loses its memory, and soon afterwards its primary, and has the store again (P1)."""
        world, dice, faults = self._world, self._dice, self._faults
        ttl_s = world.timings.ttl_s
        self._after(
            dice.uniform(0.0, 0.2) * ttl_s, lambda: faults.strike_by_name("agent-killed", member, 0.0)
        )
        self._after(dice.uniform(0.0, 0.2) * ttl_s, ends[member.name])
        for host in world.in_service():
            if host.postgres.state is ServerState.PRIMARY:
                faults.strike_for(dice.uniform(0.5, 2) * ttl_s, "cut off", host, self._cut_off)

    def _cut_off(self, host: Host, _: float) -> Undo:
        """From every peer; what it had of the store it keeps."""
        return self._faults.links(self._around(host))

    def comes_back(self, host: Host, _: float) -> Undo:
        """A primary that nobody hears is heard again once somebody has sealed; what was begun is late.

        Whoever then streams from it, promises to it, or claims by what was true before, deceives somebody.
        """
        world, dice, faults, host = self._world, self._dice, self._faults, self._primary(host)
        ways, ttl_s = world.network.store_ways, world.timings.ttl_s
        alone = faults.once(faults.links(self._around(host)))
        ends = [alone, faults.once(faults.way(ways, host.name, Way(away=True)))]
        (story,) = dice.choices(BACK, [story.often for story in BACK])

        def begun(member: Host) -> None:
            if not ends:
                return
            delay = dice.uniform(*story.back_s)
            self._after(delay, alone)
            if story.renews:
                self._after(delay, ends[1])
            for other in world.in_service():
                if other is not host:
                    end = faults.once(faults.way(ways, other.name, story.way(world.timings)))
                    ends.append(end)
                    self._after(story.slow_ttls * ttl_s, end)
            if story.hurt:
                self._after(0.05, lambda: faults.strike_by_name(dice.choice(story.hurt), member, 0.1 * ttl_s))
            if story.again:
                later = delay + dice.uniform(0.3, 2.0) * ttl_s
                self._after(later, lambda: faults.strike_by_name("isolated", host, ttl_s))

        faults.trap(story.moment, begun)
        return self._all(ends)

    def set_moves(self, host: Host, _: float) -> Undo:
        """A standby is silent until it leaves the sync set, and is back while nobody knows whether it has."""
        world, dice, faults, host = self._world, self._dice, self._faults, self._primary(host)
        others = [h for h in world.in_service() if h is not host]
        if not others:
            return lambda: None
        away = dice.choice(others)
        links = [(host.name, away.name), (away.name, host.name)]
        mend = faults.once(faults.links(links))
        ends, then = [mend], dice.choice(("lags", "lags", "lags at once", "carried", ""))
        way = dice.choice((Way(lost_answers=1.0), Way(late=1.0, late_s=0.6 * world.timings.ttl_s), None))
        delay, length = dice.uniform(0.1, 0.8), world.timings.ttl_s * dice.uniform(0.3, 1.0)

        def back() -> None:
            mend()
            if then == "lags":  # it streams, is to be counted on again, and lags at that moment
                faults.trap("waits", lambda _: faults.strike_by_name("lags", away, length))

            elif then == "carried":  # it is counted on again, hears no more, and nobody knows that it is
                faults.trap("sync", counted)

        def counted(holder: Host) -> None:
            if not ends:
                return
            ends.append(faults.once(faults.links(links)))
            ends.append(faults.once(faults.way(world.network.store_ways, holder.name, Way(lost_answers=1.0))))
            for end in ends[-2:]:
                self._after(2 * world.timings.ttl_s, end)

        def moved(holder: Host) -> None:
            if not ends:
                return
            self._after(delay, back)
            if way is not None:
                end = faults.once(faults.way(world.network.store_ways, holder.name, way))
                ends.append(end)
                self._after(length, end)

        if then == "lags at once":
            faults.trap("waits", lambda _: faults.strike_by_name("lags", away, length))
        faults.trap("sync", moved)
        return self._all(ends)

    def uneven(self, host: Host, _: float) -> Undo | None:
        """One standby receives less than the others, and then the primary is gone."""
        host = self._primary(host)
        others = [h for h in self._world.in_service() if h is not host]
        if len(others) < 2:
            return None
        dice, faults, ttl_s = self._dice, self._faults, self._world.timings.ttl_s
        faults.strike_by_name("lags", dice.choice(others), ttl_s * dice.uniform(1.5, 4.0))
        self._after(
            dice.uniform(0.1, 1.0) * ttl_s,
            lambda: faults.strike_by_name("power-loss", host, ttl_s * dice.uniform(1.5, 4.0)),
        )
        return None

    def dies_promoted(self, host: Host, _: float) -> Undo | None:
        """Whoever is promoted after `host` loses power while hardly anybody knows of its timeline."""
        delay, length = (
            self._dice.uniform(0.03, 0.4),
            self._world.timings.ttl_s * self._dice.uniform(1.0, 3.0),
        )
        strike = self._faults.strike_by_name
        strike("power-loss", self._primary(host), length)
        self._faults.trap("promote", lambda h: self._after(delay, lambda: strike("power-loss", h, length)))
        return None

    def late_route(self, _: Host, __: float) -> Undo | None:
        """Whoever is about to change a route sleeps until its lease is over (R1)."""
        kind, length = self._dice.choice(("pause", "agent-stopped")), self._dice.uniform(0.8, 2.0)
        strike, ttl_s = self._faults.strike_by_name, self._world.timings.ttl_s
        delay = self._dice.uniform(0.0, 0.006)
        self._faults.trap("routes", lambda h: self._after(delay, lambda: strike(kind, h, length * ttl_s)))
        return None

    def data_lost(self, _: Host, __: float) -> Undo | None:
        """A standby's volume fails and is replaced by an empty one; once in a run: two would be a loss."""
        world, item = self._world, self._world.item()
        fit = [
            h
            for h in world.in_service()
            if h.postgres.state is ServerState.STANDBY
            and not h.postgres.half_rewound
            and (item is None or item.last_holder != h.name)
            and not claims(h)
        ]
        if world.data_lost or len(fit) < 2:
            return None
        world.data_lost = True
        pg = self._dice.choice(fit).postgres
        pg.crash()
        pg.wal, pg.system, pg.state = None, "", ServerState.ABSENT
        world.trace(pg.host.name, "data-lost", {})
        return None


def claims(host: Host) -> bool:
    """Holds the lease, or is about to (who claims by seals is sealed first).

    Who loses its data right then leaves the lease to a person, for nobody else may claim it (S2).
    """
    agent = host.life.agent if host.life is not None else None
    if agent is None:
        return False
    return agent.keeper.claiming() or agent.keeper.mine() is not None or bool(agent.body.sealer.against())
