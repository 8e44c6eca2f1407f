"""What people do to a cluster while faults go on: nodes come and go, and the mode of commits changes."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TYPE_CHECKING

from failover_agent.core.model import Mode
from tests.sim.history import ModeOrdered
from tests.sim.host import Host

if TYPE_CHECKING:
    from tests.sim.world import World

Undo = Callable[[], None]

MODES: tuple[Mode, ...] = ("async", "quorum", "strict")


class People:
    def __init__(self, world: World, dice: random.Random) -> None:
        self._world = world
        self._dice = dice

    def add_a_node(self, _: Host, __: float) -> Undo | None:
        """The playbook: a new node, and every other one is told, one after the other."""
        new = [h for h in self._world.hosts.values() if not h.member and h.postgres.wal is None]
        if not new:
            return None
        new[0].member = True
        self._tell(new[0])
        return self._tell_everybody()

    def remove_a_node(self, host: Host, _: float) -> Undo | None:
        """Its agent is stopped for good; its PostgreSQL goes on following, or is stopped as well.

        Only while another one serves, as the guide says: a last holder may be the only one with everything.
        """
        life, item = host.life, self._world.item()
        holder = self._world.hosts.get(item.last_holder) if item is not None else None
        serves = holder is not None and holder.life is not None and holder.life.holds_lease()
        if not serves or holder is host or len(self._world.in_service()) < 3:
            return None
        host.member = False
        if life is not None:
            life.kill()
        if self._dice.random() < 0.5:
            host.postgres.crash()
        return self._tell_everybody()

    def upgrade_the_holder(self) -> None:
        """The playbook: its agent ends, and begins anew within the lease (`Agent.run`, P1).

        The lease counts from when its last renewal was sent, which may have taken a whole request timeout.
        """
        for host in self._world.in_service():
            life, t = host.life, host.timings
            if life is not None and life.agent is not None and life.holds_lease():
                life.away_s = self._dice.uniform(0.4, 0.8) * (t.ttl_s - t.margin_s - t.request_timeout_s)
                life.agent.stop()

    def change_mode(self, host: Host, _: float) -> Undo | None:
        """`failoverctl config --mode` on any node, which may be refused, or stay without an answer."""
        life, world = host.life, self._world
        mode = self._dice.choice(MODES)
        if life is None or not life.alive or life.agent is None:
            return None
        agent = life.agent
        world.history.modes_ordered.append(ModeOrdered(world.scheduler.now, host.name, mode))

        def order() -> None:
            answer = agent.request_mode(mode)
            world.trace(host.name, "mode-answer", {"to": mode, "ok": answer["ok"], "why": answer.get("why")})

        life.spawn("request", lambda: life.run_thread(order))
        return None

    def _tell_everybody(self) -> Undo:
        hosts = self._world.in_service()
        self._dice.shuffle(hosts)
        at = 0.0
        for host in hosts:
            at += self._dice.uniform(0.2, 3.0)
            self._world.scheduler.after(at, lambda host=host: self._tell(host))  # type: ignore[misc]

        def all_the_same() -> None:
            for host in hosts:
                self._tell(host)

        return all_the_same

    def _tell(self, host: Host) -> None:
        """Its configuration names the members of now; its agent is restarted by that."""
        names = tuple(h.name for h in self._world.in_service())
        if not host.member or (names == host.knows and host.life is not None):
            return
        host.knows = names
        life = host.life
        if life is not None and life.alive and life.agent is not None:
            life.agent.stop()
        else:
            self._world.starter(host)()
