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
    NodeReport,
    Unknown,
    Version,
    WriteOutcome,
)
from failover_agent.core.seals import Seal, Sealed
from failover_agent.errors import AgentError
from tests.sim.host import Host
from tests.sim.sched import Call

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
        """Somebody loads the table anew, shut."""
        self._host.kernel.flush()
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
        return world.network.call(self._host, world.network.store_ways, work, world.timings.request_timeout_s)

    def read(self) -> LeaseItem | Unknown | None:
        return self._call(self._world.store.read)

    def write(self, item: LeaseItem, *, only_if: Absent | Version) -> WriteOutcome:
        self._world.sends(self._host, item, only_if)
        return self._call(lambda: self._world.lands(self._host, item, only_if))

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
        return world.network.call(self._host, world.network.ec2_ways, work, world.timings.request_timeout_s)

    def targets(self, vip: str) -> Mapping[str, str] | Unknown:
        return self._call(lambda: dict(self._world.shown_routes()))

    def point(self, table_id: str, vip: str, interface_id: str) -> Unknown | None:
        answer = self._call(lambda: self._world.route(self._host, table_id, interface_id))
        return answer if isinstance(answer, Unknown) else None


class SimPeers:
    """As HttpPeers: everybody is asked all the time by a task each, and at once where `ask` says so."""

    def __init__(self, world: World, host: Host, life: Life) -> None:
        self._world = world
        self._host = host
        self._life = life
        self._heard: dict[str, Heard] = {}
        self._others = [name for name in world.hosts if name != host.name]

    def begin(self) -> None:
        for name in self._others:
            self._life.spawn(f"peer-{name}", lambda name=name: self._poll(name))  # type: ignore[misc]

    def _poll(self, name: str) -> None:
        while True:
            self.ask(name)
            self._host.scheduler.sleep(self._world.timings.poll_s / self._host.rate)

    def _request(self, name: str, work: Callable[[Agent], T]) -> T | Unknown:
        target = self._world.hosts[name]

        def there() -> T:
            assert target.life is not None
            assert target.life.agent is not None
            return work(target.life.agent)

        return self._world.network.ask(self._host, target, there, self._world.timings.request_timeout_s)

    def reports(self) -> Mapping[str, Heard | Unknown]:
        timings = self._world.timings
        fresh_since = self._host.boottime() - timings.poll_s - 2 * timings.request_timeout_s
        return {name: self._current(name, fresh_since) for name in self._others}

    def _current(self, name: str, since: float) -> Heard | Unknown:
        heard = self._heard.get(name)
        return heard if heard is not None and heard.at >= since else Unknown("not heard lately")

    def ask(self, name: str) -> Heard | Unknown:
        answer = self._request(name, lambda agent: agent.report())
        if isinstance(answer, Unknown):
            return answer
        heard = Heard(answer, self._host.clock.now())
        self._heard[name] = heard
        return heard

    def ask_rejoin(self, name: str) -> bool | Unknown:
        return self._request(name, lambda agent: agent.grant_rejoin(self._host.name))

    def order_switchover(self, name: str, to: str) -> Mapping[str, object] | Unknown:
        def order(agent: Agent) -> Mapping[str, object]:
            try:
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
            free_bytes=1 << 40,
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
