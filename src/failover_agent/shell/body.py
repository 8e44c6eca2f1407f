"""What the parts of the shell share: the ports, the settings, and each other."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from failover_agent.core.fencing import OFF, Fencing
from failover_agent.core.health import BALANCED, Limits
from failover_agent.core.model import Endpoint, Heard, Holder, Member, Mode, Timings, Unknown
from failover_agent.core.sync_choice import MOST_MEMBERS
from failover_agent.errors import AgentError
from failover_agent.ports import (
    Addresses,
    BootstrapToken,
    Clock,
    Fence,
    Gate,
    LeaseStore,
    Notebook,
    Peers,
    Postgres,
    Probes,
    RouteTables,
    Supervisor,
)
from failover_agent.shell.campaign import Campaign
from failover_agent.shell.failsafe import Failsafe
from failover_agent.shell.fence_notes import FenceNotes
from failover_agent.shell.fencer import Fencer, Unfenceable
from failover_agent.shell.jobs import Jobs
from failover_agent.shell.journal import Journal
from failover_agent.shell.keeper import Keeper
from failover_agent.shell.lease_memory import Identity
from failover_agent.shell.liveness import Unprobed, Vigil
from failover_agent.shell.orders import ModeOrders, Orders, PauseOrders
from failover_agent.shell.promotions import Promotions
from failover_agent.shell.readers import Readers
from failover_agent.shell.rejoin_turn import RejoinTurn
from failover_agent.shell.relay import Relay, RelayedRoutes, RelayedStore
from failover_agent.shell.sealer import Incarnation, Sealer
from failover_agent.shell.slots import SlotKeeper
from failover_agent.shell.synchroniser import Synchroniser
from failover_agent.shell.threads import Workers
from failover_agent.shell.unfence import Unfencer

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
    fence: Fence = field(default_factory=Unfenceable)


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
    mode: Mode = "async"  # what a cluster that this node begins starts in
    leave_after_s: float = 10.0  # a silent standby leaves the sync set then (S6)
    most_members: int = MOST_MEMBERS  # of the sync set
    version: str = ""
    limits: Limits = BALANCED
    fencing: Fencing = OFF
    failsafe: bool = True  # a holder goes on by promises while the store is away (P1)
    relay: bool = True  # and by peers that reach what it does not (P4)


@dataclass(frozen=True, slots=True, kw_only=True)
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
    campaign: Campaign
    vigil: Vigil
    synchroniser: Synchroniser
    rejoin_turn: RejoinTurn
    fencer: Fencer
    unfencer: Unfencer
    slots: SlotKeeper
    relay: Relay
    orders: Orders = field(default_factory=Orders)
    modes: ModeOrders = field(default_factory=ModeOrders)
    pauses: PauseOrders = field(default_factory=PauseOrders)

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

    def renewed_through(self) -> str:
        """The peer that carries the renewals of this node's lease; empty: none is needed (P4)."""
        store = self.ports.store
        return store.through if isinstance(store, RelayedStore) and self.keeper.mine() else ""

    def ask(self, name: str) -> Heard | None:
        answer = self.ports.peers.ask(name)
        return None if isinstance(answer, Unknown) else answer


def _claimants(settings: Settings) -> tuple[str, ...]:
    """Named only where promises may be asked of them: an older agent takes anybody's claim (P2)."""
    names = (settings.me.name, *(member.name for member in settings.others))
    return tuple(sorted(names)) if settings.failsafe else ()


def make_body(
    ports: Ports,
    settings: Settings,
    fresh_token: Callable[[], str],
    workers: Workers,
    journal: Journal,
) -> Body:
    waker, routes_waker = threading.Event(), threading.Event()
    # What carries others' calls goes by this node's own ways, never by a peer's.
    relay = Relay(ports.store, ports.routes, frozenset(e.vip for e in settings.endpoints), ports.clock)
    if settings.relay:
        ports = replace(ports, store=RelayedStore(ports.store, ports.peers, workers, journal))
    keeper = _keeper(ports, settings, fresh_token, workers, journal, changed=waker.set)
    if settings.relay:
        routes = RelayedRoutes(ports.routes, ports.peers, ports.clock, keeper.mine, journal)
        ports = replace(ports, routes=routes)
    promotions = Promotions(
        settings.me.name, ports.store, ports.state_notes, ports.postgres, ports.clock, journal
    )
    incarnation = Incarnation(ports.state_notes, fresh_token)
    sealer = _sealer(ports, settings, incarnation, keeper, journal)
    synchroniser = Synchroniser(
        keeper, ports.postgres, ports.clock, journal, settings.leave_after_s, settings.most_members
    )
    fencer, unfencer = _fencing(ports, settings, keeper, promotions, workers, journal)
    return Body(
        ports=ports,
        settings=settings,
        workers=workers,
        journal=journal,
        keeper=keeper,
        jobs=Jobs(workers, ports.clock, journal, ended=waker.set),
        waker=waker,
        routes_waker=routes_waker,
        readers=Readers(keeper.gate, ports.run_notes, settings.boot_id, journal),
        promotions=promotions,
        incarnation=incarnation,
        sealer=sealer,
        campaign=Campaign(
            settings.me.name, ports.peers, sealer, ports.clock, workers, journal, came=waker.set
        ),
        vigil=Vigil(ports.probes, settings.limits, keeper, ports.clock, journal),
        synchroniser=synchroniser,
        rejoin_turn=_rejoin_turn(ports, settings, keeper, synchroniser),
        fencer=fencer,
        unfencer=unfencer,
        slots=SlotKeeper(ports.postgres, ports.clock, workers, journal),
        relay=relay,
    )


def _keeper(
    ports: Ports,
    settings: Settings,
    fresh_token: Callable[[], str],
    workers: Workers,
    journal: Journal,
    *,
    changed: Callable[[], None],
) -> Keeper:
    identity = Identity(
        settings.cluster,
        Holder(settings.me.name, settings.me.instance_id, fresh_token()),
        settings.boot_id,
        settings.version,
        fences=settings.fencing.on,
        claimants=_claimants(settings),
    )
    failsafe = Failsafe(ports.peers, workers, ports.clock, settings.timings, journal)
    return Keeper(
        identity,
        settings.timings,
        store=ports.store,
        gate=ports.gate,
        clock=ports.clock,
        notes=ports.run_notes,
        fresh_token=fresh_token,
        journal=journal,
        changed=changed,
        kill=ports.postgres.kill,
        first_mode=settings.mode,
        failsafe=failsafe if settings.failsafe else None,
    )


def _sealer(
    ports: Ports, settings: Settings, incarnation: Incarnation, keeper: Keeper, journal: Journal
) -> Sealer:
    return Sealer(
        settings.me.name,
        ports.postgres,
        ports.state_notes,
        incarnation,
        ports.clock,
        settings.timings,
        journal,
        keeper.promises,
    )


def _rejoin_turn(ports: Ports, settings: Settings, keeper: Keeper, synchroniser: Synchroniser) -> RejoinTurn:
    return RejoinTurn(
        settings.me.name,
        tuple(member.name for member in settings.others),
        keeper,
        synchroniser,
        ports.peers,
        ports.clock,
        settings.timings.request_timeout_s,
    )


def _fencing(
    ports: Ports,
    settings: Settings,
    keeper: Keeper,
    promotions: Promotions,
    workers: Workers,
    journal: Journal,
) -> tuple[Fencer, Unfencer]:
    notes = FenceNotes(ports.store, journal)
    fencer = Fencer(
        settings.me.name,
        settings.fencing,
        ports.fence,
        notes,
        keeper=keeper,
        clock=ports.clock,
        workers=workers,
        journal=journal,
    )
    unfencer = Unfencer(
        settings.fencing,
        ports.fence,
        notes,
        keeper=keeper,
        promoted=promotions.recorded,
        clock=ports.clock,
        journal=journal,
    )
    return fencer, unfencer
