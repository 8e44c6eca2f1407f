"""What the parts of the shell share: the ports, the settings, and each other."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from failover_agent.core.health import BALANCED, Limits
from failover_agent.core.model import Endpoint, Heard, Holder, Member, Mode, Timings, Unknown
from failover_agent.errors import AgentError
from failover_agent.ports import (
    Addresses,
    BootstrapToken,
    Clock,
    Gate,
    LeaseStore,
    Notebook,
    Peers,
    Postgres,
    Probes,
    RouteTables,
    Supervisor,
)
from failover_agent.shell.jobs import Jobs
from failover_agent.shell.journal import Journal
from failover_agent.shell.keeper import Keeper
from failover_agent.shell.lease_memory import Identity
from failover_agent.shell.liveness import Unprobed, Vigil
from failover_agent.shell.orders import Orders
from failover_agent.shell.promotions import Promotions
from failover_agent.shell.readers import Readers
from failover_agent.shell.sealer import Incarnation, Sealer
from failover_agent.shell.threads import Workers

HALF_REWOUND = "rewinding"  # key of the note that stands in state_dir while a rewind is under way


@dataclass(frozen=True, slots=True)
class Ports:
    clock: Clock
    store: LeaseStore
    gate: Gate
    addresses: Addresses
    routes: RouteTables
    postgres: Postgres
    peers: Peers
    supervisor: Supervisor
    run_notes: Notebook  # gone after a reboot
    state_notes: Notebook  # survives one
    bootstrap_token: BootstrapToken
    probes: Probes = field(default_factory=Unprobed)


@dataclass(frozen=True, slots=True)
class Settings:
    cluster: str
    me: Member
    others: tuple[Member, ...]
    boot_id: str
    interface_id: str
    timings: Timings
    endpoints: tuple[Endpoint, ...]
    lag_limit_bytes: int = 16 * 1024 * 1024
    priority: int = 0
    nofailover: bool = False
    mode: Mode = "async"
    version: str = ""
    limits: Limits = BALANCED


@dataclass(frozen=True, slots=True)
class Body:
    """One agent: what it can do, knows of itself, and is doing."""

    ports: Ports
    settings: Settings
    workers: Workers
    journal: Journal
    keeper: Keeper
    jobs: Jobs
    waker: threading.Event  # set: the loop's next round begins at once
    routes_waker: threading.Event
    readers: Readers
    promotions: Promotions
    incarnation: Incarnation
    sealer: Sealer
    vigil: Vigil
    orders: Orders = field(default_factory=Orders)

    @property
    def me(self) -> str:
        return self.settings.me.name

    def wake(self) -> None:
        self.waker.set()

    def vips(self) -> frozenset[str]:
        return frozenset(e.vip for e in self.settings.endpoints)

    def bind_vips(self) -> None:
        """A node that cannot bind still serves those who know its own address; tried again each round."""
        try:
            for vip in sorted(self.vips() - self.ports.addresses.bound()):
                self.ports.addresses.bind(vip)
            self.journal.fine("binding the virtual address")
        except AgentError as error:
            self.journal.trouble("binding the virtual address", error)

    def unbind_vips(self) -> None:
        try:
            for vip in sorted(self.vips() & self.ports.addresses.bound()):
                self.ports.addresses.unbind(vip)
            self.journal.fine("unbinding the virtual address")
        except AgentError as error:
            self.journal.trouble("unbinding the virtual address", error)

    def fresh_heard(self) -> tuple[Heard, ...]:
        return tuple(h for h in self.ports.peers.reports().values() if isinstance(h, Heard))

    def ask(self, name: str) -> Heard | None:
        answer = self.ports.peers.ask(name)
        return None if isinstance(answer, Unknown) else answer


def make_body(
    ports: Ports,
    settings: Settings,
    fresh_token: Callable[[], str],
    workers: Workers,
    journal: Journal,
) -> Body:
    waker = threading.Event()
    holder = Holder(settings.me.name, settings.me.instance_id, fresh_token())
    keeper = Keeper(
        Identity(settings.cluster, holder, settings.boot_id, settings.version),
        settings.timings,
        store=ports.store,
        gate=ports.gate,
        clock=ports.clock,
        notes=ports.run_notes,
        fresh_token=fresh_token,
        journal=journal,
        changed=waker.set,
        kill=ports.postgres.kill,
    )
    jobs = Jobs(workers, ports.clock, journal, ended=waker.set)
    readers = Readers(keeper.gate, ports.run_notes, settings.boot_id, journal)
    promotions = Promotions(
        settings.me.name, ports.store, ports.state_notes, ports.postgres, ports.clock, journal
    )
    routes_waker = threading.Event()
    incarnation = Incarnation(ports.state_notes, fresh_token)
    sealer = Sealer(
        settings.me.name,
        ports.postgres,
        ports.state_notes,
        incarnation,
        ports.clock,
        settings.timings,
        journal,
    )
    vigil = Vigil(ports.probes, settings.limits, keeper, ports.clock, journal)
    return Body(
        ports,
        settings,
        workers,
        journal,
        keeper,
        jobs,
        waker,
        routes_waker,
        readers,
        promotions,
        incarnation,
        sealer,
        vigil,
    )
