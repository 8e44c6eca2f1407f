"""A cluster in memory: the real shell over in-memory ports, one thread, one clock moved by hand.

world = World("db1", "db2")      each node: agent, PostgreSQL, gate, its way to the store
world.bring_up()                 bootstraps until one serves and the others stream
world.power_off("db1")           faults; world.run(seconds) lets time pass
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field

from failover_agent import killpoints
from failover_agent.core.fencing import OFF, Fencing
from failover_agent.core.model import Endpoint, LeaseItem, Member, Mode, ServerState, Timings
from failover_agent.core.timings import PROFILES
from failover_agent.shell.agent import Agent, Ports, Settings
from failover_agent.shell.journal import Journal
from tests.support.fence import Cloud, NodeFence
from tests.support.inline import Inline
from tests.support.machine import Dummy, HandClock, HandProbes, KernelGate, Pages, Systemd, Token
from tests.support.memory import MemoryLeaseStore
from tests.support.memory_postgres import MemoryPostgres
from tests.support.ways import NodePeers, NodeRoutes, NodeStore

VIP = "172.16.52.1"
TICK_S = 0.01  # events closer together than this may happen in any order
BACK_AFTER_S = 1.0  # from a death at a kill point to the next life
WRITE_BYTES = 10  # of WAL that clients write per step while a primary's gate is open


class Died(BaseException):
    """An agent came to the point where it was told to die."""


@dataclass
class Node:
    name: str
    agent: Agent
    postgres: MemoryPostgres
    gate: KernelGate
    run_notes: Pages
    state_notes: Pages
    token: Token
    addresses: Dummy
    store: NodeStore
    probes: HandProbes
    boots: int = 1
    up: bool = True
    frozen: bool = False
    agent_stopped: bool = False
    due: dict[str, float] = field(default_factory=dict)

    @property
    def runs(self) -> bool:
        return self.up and not self.frozen and not self.agent_stopped


class World:
    def __init__(
        self,
        *names: str,
        timings: Timings = PROFILES["balanced"],
        lag_limit_bytes: int = 1 << 24,
        mode: Mode = "async",
        leave_after_s: float = 5.0,
        most_members: int = 16,
        fencing: Fencing = OFF,
        failsafe: bool = False,  # most promises are about what happens without them
        relay: bool = False,
    ) -> None:
        self.fencing = fencing
        self.cloud = Cloud()
        self.checked: set[str] = set()  # interfaces whose source/destination check is on
        self.failsafe = failsafe
        self.relay = relay
        self.timings = timings
        self.given: dict[str, Timings] = {}  # to these nodes since; from the next life of their agents on
        self.mode: Mode = mode
        self.leave_after_s = leave_after_s
        self.most_members = most_members
        self.lag_limit_bytes = lag_limit_bytes
        self.clock = HandClock(self._go_on)
        self._runs = False
        self.store = MemoryLeaseStore()
        self.tables = {"rtb-a": "", "rtb-b": ""}
        self.no_api: set[str] = set()
        self.no_ec2: set[str] = set()  # whose way to the EC2 API alone is dead
        self.lost_answers: set[str] = set()
        self.cut_links: set[frozenset[str]] = set()
        self.late_routes: set[str] = set()  # whose changes of routes take effect when `land_routes` says
        self.on_their_way: list[tuple[str, str]] = []
        self.died: list[str] = []
        self._back_at: dict[str, float] = {}
        self._dies_with_host = False
        self._comes_back = True
        self.no_notes: set[str] = set()  # whose side notes do not reach the store
        self.deaths: dict[str, Callable[[], None]] = {}
        self.events: list[tuple[float, str, str, dict[str, object]]] = []
        self.clients_write = True
        self.acknowledged: dict[str, int] = {}  # by each primary: the end of what its clients were told about
        self.lagging: set[str] = set()
        self.stopped_with_open_gate: list[str] = []
        self.stopped_with_clients: list[str] = []  # who were never told that they wait for nothing
        self.promoted_with_readers: list[str] = []
        self.stopped_with_address: list[str] = []
        self.touched_hung_volumes: list[str] = []
        self.served_unnamed: list[str] = []  # on a timeline that the lease did not name
        self._tokens = itertools.count(1)
        self._members = {n: Member(n, f"10.0.0.{i}", f"az-{i}", f"i-{n}") for i, n in enumerate(names, 1)}
        self.nodes: dict[str, Node] = {}
        for name in names:
            self.nodes[name] = self._node(name)
        for node in self.nodes.values():
            node.agent.begin()

    def _node(self, name: str) -> Node:
        node = Node(
            name,
            agent=None,  # type: ignore[arg-type]  # made right below, over these very parts
            postgres=MemoryPostgres(name, self),
            gate=KernelGate(self.clock),
            run_notes=Pages(),
            state_notes=Pages(),
            token=Token(),
            addresses=Dummy(),
            store=NodeStore(self, name),
            probes=HandProbes(self.clock),
        )
        node.agent = self._agent(node)
        return node

    def _agent(self, node: Node) -> Agent:
        ports = Ports(
            clock=self.clock,
            store=node.store,
            gate=node.gate,
            addresses=node.addresses,
            routes=NodeRoutes(self, node.name),
            postgres=node.postgres,
            peers=NodePeers(self, node.name),
            supervisor=Systemd(),
            run_notes=node.run_notes,
            state_notes=node.state_notes,
            bootstrap_token=node.token,
            probes=node.probes,
            fence=NodeFence(self, node.name),
        )
        settings = Settings(
            cluster="c",
            me=self._members[node.name],
            others=tuple(m for n, m in self._members.items() if n != node.name),
            boot_id=f"{node.name} boot {node.boots}",
            interface_id=f"eni-{node.name}",
            timings=self.given.get(node.name, self.timings),
            endpoints=(Endpoint("writer", VIP, 5432),),
            lag_limit_bytes=self.lag_limit_bytes,
            mode=self.mode,
            leave_after_s=self.leave_after_s,
            most_members=self.most_members,
            version="test",
            fencing=self.fencing,
            failsafe=self.failsafe,
            relay=self.relay,
        )
        journal = Journal(
            self.clock.wall,
            lambda event, values: self.events.append((self.clock.now(), node.name, event, values)),
        )
        node.due = {}
        return Agent(ports, settings, lambda: f"t{next(self._tokens)}", workers=Inline(), journal=journal)

    # Physics

    def replicate(self) -> None:
        for node in self.nodes.values():
            if node.up:
                node.postgres.receive()

    def source_of(self, standby: MemoryPostgres) -> MemoryPostgres | None:
        node = self.nodes.get(standby.upstream)
        if node is None or not node.up or node.frozen or standby.name in self.lagging:
            return None
        return node.postgres

    def can_talk(self, a: str, b: str) -> bool:
        return self.nodes[a].runs and self.nodes[b].runs and frozenset((a, b)) not in self.cut_links

    def postgres(self, name: str) -> MemoryPostgres:
        return self.nodes[name].postgres

    def _write(self) -> None:
        for node in self.nodes.values():
            if node.up and not node.frozen and self.answers(node.name):
                node.gate.sessions += 1
            self._note_opening(node)
            writes = self.acknowledges(node.name) and not (node.probes.stuck or node.probes.hung)
            if self.clients_write and node.up and not node.frozen and writes:
                node.postgres.disk.end += WRITE_BYTES
        self.replicate()
        for node in self.nodes.values():
            if node.up and not node.frozen and self.acknowledges(node.name):
                told = self.acknowledged.get(node.name, 0)
                self.acknowledged[node.name] = max(told, node.postgres.acknowledged())

    def acknowledges(self, name: str) -> bool:
        return self.answers(name) and self.nodes[name].postgres.state is ServerState.PRIMARY

    def reads(self, name: str) -> bool:
        return self.answers(name) and self.nodes[name].postgres.state is ServerState.STANDBY

    def answers(self, name: str) -> bool:
        node = self.nodes[name]
        running = node.postgres.state in (ServerState.PRIMARY, ServerState.STANDBY)
        return node.up and running and node.gate.is_open()

    def _note_opening(self, node: Node) -> None:
        if node.gate.is_open() and node.postgres.state is ServerState.PRIMARY:
            node.gate.openings[-1].writes = True
            item = self.store.read()
            if isinstance(item, LeaseItem) and item.timeline < node.postgres.disk.timeline:
                self.served_unnamed.append(node.name)

    # Time

    def run(self, seconds: float) -> None:
        end = self.clock.time + seconds
        self._runs = True
        try:
            while (moment := self._step(end)) is not None:
                self.clock.time = max(self.clock.time, moment)
        finally:
            self._runs = False
        self.clock.time = max(self.clock.time, end)
        self.replicate()

    def _go_on(self) -> None:
        """Somebody waits: inside a round only the servers go on, outside of all rounds everybody does."""
        if self._runs or not self.nodes:
            self.replicate()
        else:
            self.run(0.0)

    def run_until(self, fact: Callable[[], bool], limit_s: float = 60.0) -> float:
        """Let time pass until `fact`; returns how long it took. Fails after `limit_s`."""
        began = self.clock.time
        while not fact():
            assert self.clock.time - began < limit_s, f"not within {limit_s} s\n{self.story()}"
            self.run(TICK_S)
        return self.clock.time - began

    def _step(self, end: float) -> float | None:
        """Run what is due; the next moment, or None when nothing is left before `end`."""
        self._bring_back()
        moments = [end]
        for node in self.nodes.values():
            if node.runs:
                moments += self._run_due(node)
        self._write()
        soonest = min(moments)
        if self.clock.time >= end:
            return None
        return max(soonest, self.clock.time + 1e-6) if soonest < end else None

    def _run_due(self, node: Node) -> list[float]:
        agent, clock = node.agent, self.clock
        parts = {
            "keeper": (agent.keeper.round, agent.keeper.waker, agent.keeper.pause_s),
            "loop": (agent.loop.round, agent.body.waker, agent.loop.pause_s),
            "router": (agent.router_round, agent.body.routes_waker, agent.router.pause_s),
        }
        for part, (work, waker, pause_s) in parts.items():
            if waker.is_set() or clock.time >= node.due.get(part, 0.0):
                waker.clear()
                try:
                    work()
                except Died:
                    self._died(node)
                    return []
                node.due[part] = clock.time + max(pause_s(), TICK_S / 10)
        return [clock.time if w.is_set() else node.due[p] for p, (_, w, _) in parts.items()]

    # Faults

    def power_off(self, name: str) -> None:
        node = self.nodes[name]
        node.up = False
        node.gate.shut()
        node.gate.sessions = 0
        node.addresses.here.clear()
        node.postgres.state, node.postgres.streaming = ServerState.STOPPED, False

    def cloud_stops(self, instance_id: str) -> None:
        self.cloud.stopped.add(instance_id)
        self.power_off(instance_id.removeprefix("i-"))

    def power_on(self, name: str) -> None:
        node = self.nodes[name]
        node.boots += 1
        node.up = True
        node.run_notes.pages.clear()
        node.agent = self._agent(node)
        node.agent.begin()

    def freeze(self, name: str) -> None:
        """The whole host stops; its kernel's timers go on, and its clock does."""
        self.nodes[name].frozen = True

    def thaw(self, name: str) -> None:
        self.nodes[name].frozen = False

    def stop_agent(self, name: str) -> None:
        self.nodes[name].agent_stopped = True

    def end_agent(self, name: str, for_good: bool = False) -> None:
        """As systemd ends it: with what `Agent.run` does last."""
        self.nodes[name].agent.keeper.leave(for_good)
        self.stop_agent(name)

    def start_agent(self, name: str) -> None:
        node = self.nodes[name]
        node.agent_stopped = False
        node.agent = self._agent(node)
        node.agent.begin()

    def postmaster_dies(self, name: str) -> None:
        postgres = self.nodes[name].postgres
        postgres.state, postgres.streaming = ServerState.STOPPED, False
        self.deaths[name]()

    def land_routes(self) -> None:
        """The API carries out what it was asked long ago."""
        self.tables.update(self.on_their_way)
        self.on_their_way.clear()

    def die_at(self, point: str, *, with_host: bool, comes_back: bool = True) -> None:
        """The first agent (or its whole host) to pass `point` dies there, and is back after a moment."""

        def die() -> None:
            raise Died

        self._dies_with_host = with_host
        self._comes_back = comes_back
        killpoints.arm(point, die)

    def _died(self, node: Node) -> None:
        self.died.append(node.name)
        if self._dies_with_host:
            self.power_off(node.name)
        else:
            node.agent_stopped = True
        if self._comes_back:
            self._back_at[node.name] = self.clock.time + BACK_AFTER_S

    def _bring_back(self) -> None:
        for name in [n for n, at in self._back_at.items() if self.clock.time >= at]:
            del self._back_at[name]
            if self._dies_with_host:
                self.power_on(name)
            else:
                self.start_agent(name)

    # What a test asks

    def bring_up(self) -> str:
        """Bootstrap; returns the name of the primary once everybody else streams."""
        self.run_until(self.is_whole)
        return self.primary()

    def is_whole(self) -> bool:
        up = [n for n in self.nodes.values() if n.up]
        serving = [n for n in up if self.acknowledges(n.name)]
        return len(serving) == 1 and all(n.postgres.streaming for n in up if n is not serving[0])

    def primary(self) -> str:
        return next(n for n in self.nodes if self.acknowledges(n))

    def lease(self) -> LeaseItem:
        item = self.store.read()
        assert isinstance(item, LeaseItem)
        return item

    def rules_of(self, name: str) -> list[str]:
        return [str(v["rule"]) for _, n, e, v in self.events if n == name and e == "decision"]

    def said(self, event: str, by: str = "") -> list[tuple[str, dict[str, object]]]:
        """Which node told of `event`, with which values; only those of node `by`, where one is named."""
        return [(n, v) for _, n, e, v in self.events if e == event and by in ("", n)]

    def story(self) -> str:
        return "\n".join(f"{t:8.3f} {n} {e} {v}" for t, n, e, v in self.events[-40:])
