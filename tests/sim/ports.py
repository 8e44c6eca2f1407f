# ruff: noqa: ARG002  # the arguments are the ports'
"""The ports of one simulated agent, over its host, the network and the cloud."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, TypeVar

from failover_agent.adapters.gate import NftGate
from failover_agent.adapters.gate_table import GatePlan
from failover_agent.core.liveness import Readings, Volume, watched
from failover_agent.core.model import (
    Absent,
    Heard,
    LeaseItem,
    Mode,
    NodeReport,
    Unknown,
    Version,
    WriteOutcome,
)
from failover_agent.core.promises import Promise
from failover_agent.core.relay import RouteChange
from failover_agent.core.seals import Seal, Sealed, counts_as_heard
from failover_agent.errors import AgentError
from tests.sim.host import Host
from tests.sim.sched import REQUEST, Call

if TYPE_CHECKING:
    from failover_agent.shell.agent import Agent
    from tests.sim.life import Life
    from tests.sim.world import World

T = TypeVar("T")

_PLAN = GatePlan(port=5432, replication_port=5433, members=(), replication_uids=(0,))


class SimGate(NftGate):
    """The agent's own gate over a simulated kernel: what is tried is the order in which it works."""

    def __init__(self, host: Host) -> None:
        super().__init__(_PLAN, host.clock, kernel=host.kernel)
        self._host = host
        self._disturbed: Callable[[], None] = lambda: None
        self.flushed = False

    def end_sessions(self) -> int:
        self._host.busy(0.001, 0.006)
        return self._host.end_sessions()

    def dismiss(self) -> int:
        return self.end_sessions()

    def can_end_sessions(self) -> bool:
        return True

    def intact(self) -> bool:
        return not self.flushed

    def restore(self) -> None:
        self._host.busy(0.005, 0.03)
        self._host.kernel.flush()
        self.flushed = False

    def watch(self, disturbed: Callable[[], None]) -> None:
        self._disturbed = disturbed

    def stranger_shuts(self) -> None:
        """Somebody loads every table anew: the gate's is shut, and the one that cuts is not there (F3)."""
        self._host.kernel.flush()
        self._host.postgres.dropped = ""
        self.flushed = True
        life = self._host.life
        if life is not None and life.alive:
            life.spawn("gate-watch", self._disturbed)


class SimStore:
    def __init__(self, world: World, host: Host) -> None:
        self._world = world
        self._host = host

    def _call(self, work: Callable[[], T]) -> T | Unknown:
        world = self._world
        return world.network.call(
            self._host, world.network.store_ways, work, self._host.timings.request_timeout_s
        )

    def read(self) -> LeaseItem | Unknown | None:
        return self._call(self._world.store.read)

    def write(self, item: LeaseItem, *, only_if: Absent | Version) -> WriteOutcome:
        made_by = item.token.partition(".")[0]  # who carries it for a peer did not write it
        author = self._world.hosts.get(made_by, self._host)
        self._world.sends(author, item, only_if)
        return self._call(lambda: self._world.lands(author, item, only_if))

    def note(self, key: str, value: Mapping[str, str]) -> Unknown | None:
        return self._call(lambda: self._world.store.note(key, value))

    def notes(self, prefix: str) -> Mapping[str, Mapping[str, str]] | Unknown:
        return self._call(lambda: self._world.store.notes(prefix))


class SimRoutes:
    def __init__(self, world: World, host: Host) -> None:
        self._world = world
        self._host = host

    def _call(self, work: Callable[[], T]) -> T | Unknown:
        world = self._world
        return world.network.call(
            self._host, world.network.ec2_ways, work, self._host.timings.request_timeout_s
        )

    def targets(self, vip: str) -> Mapping[str, str] | Unknown:
        life = self._host.life
        leads_here = set(self._world.shown_routes().values()) == {f"eni-{self._host.name}"}
        if life is not None and life.holds_lease() and not leads_here:
            self._world.ambush(self._host, "routes")
        return self._call(lambda: dict(self._world.shown_routes()))

    def drops_strangers(self, interface_id: str) -> bool | Unknown:
        return self._call(lambda: False)

    def point(self, table_id: str, vip: str, interface_id: str) -> Unknown | None:
        self._look_at_the_lease(table_id)
        answer = self._call(lambda: self._world.route(self._host, table_id, interface_id))
        return answer if isinstance(answer, Unknown) else None

    def _look_at_the_lease(self, table_id: str) -> None:
        """R1: a route is changed by who holds the lease at that moment, or by a peer that it asked."""
        task, life = self._host.scheduler.current, self._host.life
        relayed = task is not None and task.name == REQUEST
        if not relayed and life is not None and life.agent is not None and life.agent.keeper.mine() is None:
            self._world.mistake(self._host, "R1", f"it points {table_id} to itself without the lease")


class SimPeers:
    """As HttpPeers: everybody is asked all the time by a task each, and at once where `ask` says so."""

    def __init__(self, world: World, host: Host, life: Life) -> None:
        self._world = world
        self._host = host
        self._life = life
        self._heard: dict[str, Heard] = {}
        self._others = [name for name in host.knows if name != host.name]
        self._epoch: Callable[[], int] = lambda: 0
        self._heard_by: Callable[[NodeReport, float], None] = lambda _report, _sent_at: None

    def carry(self, epoch: Callable[[], int], heard_by: Callable[[NodeReport, float], None]) -> None:
        self._epoch, self._heard_by = epoch, heard_by

    def begin(self) -> None:
        for name in self._others:
            self._life.spawn(f"peer-{name}", lambda name=name: self._poll(name))  # type: ignore[misc]

    def _poll(self, name: str) -> None:
        while True:
            self.ask(name)
            self._host.scheduler.sleep(self._host.timings.ask_s / self._host.rate)

    def _request(self, name: str, work: Callable[[Agent], T]) -> T | Unknown:
        target = self._world.hosts[name]

        def there() -> T:
            assert target.life is not None
            assert target.life.agent is not None
            return work(target.life.agent)

        return self._world.network.ask(self._host, target, there, self._host.timings.request_timeout_s)

    def reports(self) -> Mapping[str, Heard | Unknown]:
        timings = self._host.timings
        fresh_since = self._host.boottime() - timings.ask_s - 2 * timings.request_timeout_s
        return {name: self._current(name, fresh_since) for name in self._others}

    def _current(self, name: str, since: float) -> Heard | Unknown:
        heard = self._heard.get(name)
        return heard if heard is not None and heard.at >= since else Unknown("not heard lately")

    def ask(self, name: str) -> Heard | Unknown:
        holds, sent_at = self._epoch(), self._host.clock.now()
        answer = self._request(
            name, lambda agent: agent.report_to(self._host.name, holds) if holds else agent.report()
        )
        if isinstance(answer, Unknown):
            return answer
        if counts_as_heard(answer, holds):
            self._heard_by(answer, sent_at)
        heard = Heard(answer, self._host.clock.now())
        self._heard[name] = heard
        return heard

    def ask_rejoin(self, name: str) -> bool | Unknown:
        return self._request(name, lambda agent: agent.grant_rejoin(self._host.name))

    def ask_promise(self, name: str, promise: Promise) -> str | Unknown:
        asked_at = self._host.scheduler.now

        def there(agent: Agent) -> str:
            answer = agent.promise(promise)
            if not answer:
                self._world.promised(self._world.hosts[name], promise, asked_at)
            return answer

        return self._request(name, there)

    def relay_write(self, name: str, item: LeaseItem, only_if: Version) -> WriteOutcome:
        return self._carried(name, lambda agent: agent.relay_write(self._host.name, item, only_if))

    def relay_targets(self, name: str, vip: str) -> Mapping[str, str] | Unknown:
        return self._carried(name, lambda agent: agent.relay_targets(vip))

    def relay_point(self, name: str, change: RouteChange) -> Unknown | None:
        return self._carried(name, lambda agent: agent.relay_point(self._host.name, change))

    def _carried(self, name: str, work: Callable[[Agent], T]) -> T | Unknown:
        def there(agent: Agent) -> T | Unknown:
            try:
                return work(agent)
            except AgentError as error:
                return Unknown(str(error.args[0]))

        return self._request(name, there)

    def order_switchover(self, name: str, to: str) -> Mapping[str, object] | Unknown:
        def order(agent: Agent) -> Mapping[str, object]:
            life = self._world.hosts[name].life
            assert life is not None
            try:
                with self._world.handover_of(life):
                    return agent.request_switchover(to)
            except AgentError as error:
                return {"ok": False, "why": str(error)}

        return self._request(name, order)

    def order_failover(self, name: str, accept_loss: bool) -> Mapping[str, object] | Unknown:
        def order(agent: Agent) -> Mapping[str, object]:
            try:
                return agent.request_failover(name, accept_loss)
            except AgentError as error:
                return {"ok": False, "why": str(error)}

        return self._request(name, order)

    def order_mode(self, name: str, mode: Mode) -> Mapping[str, object] | Unknown:
        return self._request(name, lambda agent: agent.request_mode(mode))

    def order_pause(self, name: str, pause: bool) -> Mapping[str, object] | Unknown:
        return self._request(name, lambda agent: agent.request_pause(pause))

    def ask_vote(self, name: str, seal: Seal) -> str | Unknown:
        return self._request(name, lambda agent: agent.vote(seal))

    def ask_seal(self, name: str, seal: Seal) -> Sealed | Unknown:
        def there(agent: Agent) -> Sealed | Unknown:
            try:
                return agent.seal(seal)
            except AgentError as error:
                return Unknown(str(error.args[0]))

        return self._request(name, there)

    def wake(self, name: str) -> None:
        self._life.spawn(f"wake-{name}", lambda: self._wake(name))

    def _wake(self, name: str) -> None:
        self._request(name, lambda agent: agent.wake())

    def publish(self, report: NodeReport) -> None: ...


class SimProbes:
    """A fresh session and a small synced write, tried all the time beside the agent."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._asks = False
        self._shown = Readings()

    def start(self) -> None: ...

    def watch_primary(self, primary: bool) -> None:
        self._asks = primary

    def readings(self) -> Readings:
        host, before = self._host, self._shown
        now = int(host.boottime())
        hangs = host.postgres.hangs or host.disk_hangs
        written = before.volumes[0].fsyncs if host.disk_hangs and before.volumes else now
        at = host.boottime()
        self._shown = Readings(
            at=at,
            watched_s=watched(before.watched_s, at if before.at is None else before.at, at),
            sessions=before.sessions if hangs else now,
            asking=self._asks,
            commits=before.commits if hangs else host.postgres.commits,
            volumes=(Volume("data", True, written, waits=True),),
            free_bytes=1 << 20 if host.disk_full else 1 << 40,
        )
        return self._shown


class SimToken:
    def __init__(self, host: Host) -> None:
        self._host = host

    def present(self) -> bool:
        return self._host.token

    def adopts(self) -> str:
        return ""

    def spend(self) -> None:
        self._host.token = False


class SimSupervisor:
    def __init__(self, host: Host) -> None:
        self._host = host
        self.told_at = host.scheduler.now

    def ends_for_good(self) -> bool:
        return False

    def ready(self, status: str) -> None:
        self.told_at = self._host.scheduler.now

    def alive(self, status: str) -> None:
        self.told_at = self._host.scheduler.now


class SimWorkers:
    """Work beside the rounds, as tasks of the same process."""

    def __init__(self, life: Life) -> None:
        self._life = life

    def start(self, name: str, work: Callable[[], None]) -> None:
        self._life.spawn(name, lambda: self._life.run_thread(work))

    def all(self, works: Sequence[Callable[[], None]]) -> None:
        if len(works) < 2:
            for work in works:
                work()
            return
        left = len(works)
        waiters: list[Call] = []

        def run(work: Callable[[], None]) -> None:
            nonlocal left
            work()
            left -= 1
            if not left:
                for wake in waiters:
                    wake()

        for work in works:
            self._life.spawn("parallel", lambda work=work: run(work))  # type: ignore[misc]
        self._life.scheduler.block(waiters, None)
