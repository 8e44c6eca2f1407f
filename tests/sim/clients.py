"""Clients that write unique numbers, and readers that stay; through the address, or to a node itself."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from failover_agent.core.model import ServerState
from tests.sim.commits import RUNNING
from tests.sim.history import Ack
from tests.sim.host import Host, Session
from tests.sim.life import VIP
from tests.sim.network import CLIENTS

if TYPE_CHECKING:
    from tests.sim.world import World

ANSWER_TIMEOUT_S = 2.0


class Client:
    """One connection, one write at a time. `table`: through this route table; empty: to any node."""

    def __init__(
        self, world: World, table: str, every_s: float, dice: random.Random, *, local: bool = False
    ) -> None:
        self._world = world
        self._local = local  # with synchronous_commit = local
        self._table = table
        self._every_s = every_s
        self._dice = dice
        self._host: Host | None = None
        self._session: Session | None = None
        self._waits_since: float | None = None
        self._next = 0
        self._tick()

    def _tick(self) -> None:
        world = self._world
        world.scheduler.after(self._dice.uniform(0.5, 1.5) * self._every_s, self._tick)
        now = world.scheduler.now
        if self._waits_since is not None:
            if now - self._waits_since < ANSWER_TIMEOUT_S:
                return
            self._leave()
        if self._session is None:
            self._connect()
        if self._session is not None and self._host is not None:
            self._write(self._host, self._session, now)

    def _leave(self) -> None:
        self._session = self._host = self._waits_since = None

    def _target(self) -> Host | None:
        world = self._world
        if not self._table:
            hosts = list(world.hosts.values())
            self._next += 1
            return hosts[self._next % len(hosts)]
        host = world.hosts.get(world.tables[self._table].removeprefix("eni-"))
        return host if host is not None and VIP in host.addresses.here else None

    def _connect(self) -> None:
        host = self._target()
        if host is None or not self._reaches(host) or not host.gate_lets_pass():
            return
        if host.postgres.state is ServerState.PRIMARY and not host.postgres.stopping:
            self._host, self._session = (
                host,
                self._world.open_session(host, as_reader=False, local=self._local),
            )

    def _reaches(self, host: Host) -> bool:
        network = self._world.network
        return network.passes(CLIENTS, host.name) and network.passes(host.name, CLIENTS)

    def _write(self, host: Host, session: Session, now: float) -> None:
        if not self._reaches(host) or not host.talks():
            self._waits_since = now  # packets into silence
            return
        refused = session.number not in host.sessions or not host.kernel.is_open()
        if refused or not host.postgres.serves(session) or not host.postgres.writes():
            self._leave()
            return
        self._waits_since = now
        number = self._world.next_write()

        def told(line: int, lsn: int) -> None:
            at = self._world.scheduler.now
            if not self._world.network.passes(host.name, CLIENTS):
                return  # it left the node, and reached nobody: no promise was heard
            self._world.acknowledged(Ack(at, host.name, number, line, lsn, now, self._local))
            if self._session is session:
                self._waits_since = None

        host.postgres.commit(session, number, told)


class Reader:
    """Connects to a standby, stays, and tries to write now and then: in recovery that is refused."""

    def __init__(self, world: World, host: Host, every_s: float, dice: random.Random) -> None:
        self._world = world
        self._host = host
        self._every_s = every_s
        self._dice = dice
        self._session: Session | None = None
        self._tick()

    def _tick(self) -> None:
        world, host = self._world, self._host
        world.scheduler.after(self._dice.uniform(0.5, 1.5) * self._every_s, self._tick)
        session = self._session
        if session is None or session.number not in host.sessions or not host.postgres.serves(session):
            self._session = None
            if (
                host.gate_lets_pass()
                and host.postgres.state is ServerState.STANDBY
                and not host.postgres.stopping
            ):
                self._session = world.open_session(host, as_reader=True)
        elif host.gate_lets_pass() and host.postgres.writes() and host.postgres.state in RUNNING:
            number, now = world.next_write(), world.scheduler.now
            host.postgres.commit(
                session,
                number,
                lambda line, lsn: world.acknowledged(
                    Ack(world.scheduler.now, host.name, number, line, lsn, now)
                ),
            )
