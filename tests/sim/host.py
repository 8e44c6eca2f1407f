"""A simulated host: its clocks, its kernel's gate and sockets, its notes; what a pause and a power loss do.

Assumed of a paused host (a stopped virtual machine): nothing on it runs and nothing leaves it; the kernel's
timers stand still with it, so an element's timeout in the gate lasts longer by the pause; both clocks have
gone on when it returns (PROTOCOL G4).
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from failover_agent.core.model import Timings
from failover_agent.core.timings import PROFILES
from tests.sim.sched import Event, Scheduler

if TYPE_CHECKING:
    from tests.sim.life import Life
    from tests.sim.postgres import SimPostgres

TIMER_S = 50e-6  # no timer of a kernel is more exact
EPOCH = 1_760_000_000.0


@dataclass(eq=False, slots=True)
class Session:
    """A TCP connection to PostgreSQL's port as the server's kernel knows it."""

    number: int
    process: int  # the postmaster's life that serves it
    as_reader: bool
    local: bool = False  # its commits wait for nobody: outside the promise (S8)
    unsent: list[Callable[[], None]] = field(default_factory=list)  # answers that the gate held back


class KernelTable:
    """The gate's table: an element with a timeout, and beside it an absolute bound in wall time."""

    port_id = 1

    def __init__(self, host: Host) -> None:
        self._host = host
        self.element_until = 0.0  # true time, moved by a pause
        self.bound_ns = 0
        self.refuses = False

    def open(self, port: int, timeout_ms: int, until_wall_ns: int) -> None:  # noqa: ARG002  # there is one port
        host = self._host
        host.busy(0.0002, 0.002)
        if self.refuses:
            raise OSError(12, "out of memory")
        host.reassess()
        self.element_until = host.scheduler.now + timeout_ms / 1000 / host.rate
        self.bound_ns = until_wall_ns
        host.reassess()
        host.retransmit()

    def shut(self) -> None:
        host = self._host
        host.busy(0.0001, 0.001)
        if self.refuses:
            raise OSError(12, "out of memory")
        self.flush()

    def flush(self) -> None:
        self._host.reassess()
        self.element_until = 0.0
        self._host.reassess()

    def until(self) -> float:
        """True time at which it shuts by itself, as things stand."""
        host = self._host
        bound = host.scheduler.now + (self.bound_ns / 1e9 - host.wall()) / host.rate
        return min(self.element_until, bound)

    def is_open(self) -> bool:
        return self._host.scheduler.now < self.until()


class SimClock:
    """One node's CLOCK_BOOTTIME and wall clock. Reading it is where a thread may lose its processor."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def now(self) -> float:
        host = self._host
        scheduler = host.scheduler
        if host.starved and scheduler.current is not None:
            host.may_be_preempted()
        return (scheduler.now - host.booted_at) * host.rate

    def wall(self) -> float:
        return self._host.wall()

    def wait(self, wake: object, timeout_s: float) -> bool:
        host = self._host
        scheduler = host.scheduler
        if isinstance(wake, Event):
            return wake.wait(max(TIMER_S, timeout_s / host.rate))
        until = scheduler.now + max(0.0, timeout_s) / host.rate
        while not (done := bool(wake.is_set())) and scheduler.now < until:  # type: ignore[attr-defined]
            scheduler.sleep(min(0.02, until - scheduler.now))
        return done


class Pages:
    """A notebook on a disk that may hang."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self.pages: dict[str, str] = {}

    def load(self, key: str) -> Mapping[str, object] | None:
        text = self.pages.get(key)
        return json.loads(text) if text is not None else None

    def save(self, key: str, value: Mapping[str, object]) -> None:
        self._host.disk_busy(0.0005, 0.004)
        self.pages[key] = json.dumps(value)

    def forget(self, key: str) -> None:
        self._host.busy(0.0002, 0.002)
        self.pages.pop(key, None)


class Addresses:
    def __init__(self, host: Host) -> None:
        self._host = host
        self.here: set[str] = set()

    def bind(self, vip: str) -> None:
        self._host.busy(0.001, 0.004)
        self.here.add(vip)

    def unbind(self, vip: str) -> None:
        self._host.busy(0.001, 0.004)
        self.here.discard(vip)

    def bound(self) -> frozenset[str]:
        return frozenset(self.here)


class Host:
    def __init__(self, scheduler: Scheduler, name: str, index: int, az: str, dice: random.Random) -> None:
        self.scheduler = scheduler
        self.name = name
        self.index = index
        self.az = az
        self.dice = dice
        self.rate = 1 + dice.uniform(-0.00045, 0.00045)
        self.up = True
        self.paused = False
        self.stopped = False  # by the cloud, as it shows
        self.boots = 1
        self.kernel = KernelTable(self)
        self.clock = SimClock(self)
        self.run_notes = Pages(self)
        self.state_notes = Pages(self)
        self.addresses = Addresses(self)
        self.token = True
        self.sessions: dict[int, Session] = {}
        self.disk_hangs = False
        self.disk_full = False
        self.member = True  # of the cluster, by the inventory
        self.knows: tuple[str, ...] = ()  # the members that its own configuration names
        self.profile = "balanced"  # that its configuration names
        self.timings: Timings = PROFILES[self.profile]  # that its agent's present life goes by
        self.starved = 0.0  # chance that a look at the clock costs the processor
        self.postgres: SimPostgres = None  # type: ignore[assignment]  # the world sets both
        self.life: Life | None = None
        self.touched_at = 0.0  # when a fault last began or ended here
        self.moved_at = 0.0  # when its WAL or the state of its PostgreSQL last changed
        self.on_change: Callable[[Host], None] = lambda _: None  # what clients could be told has changed
        self.booted_at = -dice.uniform(10, 1e6)
        self._wall_step = dice.uniform(-0.05, 0.05)
        self._paused_at = 0.0
        self._parked: list[Callable[[], None]] = []

    # Clocks

    def boottime(self) -> float:
        return (self.scheduler.now - self.booted_at) * self.rate

    def wall(self) -> float:
        return EPOCH + self._wall_step + self.scheduler.now * self.rate

    def step_wall(self, seconds: float) -> None:
        self.reassess()
        self._wall_step += seconds
        self.reassess()

    # Time that things on this host take

    def busy(self, least_s: float, most_s: float) -> None:
        self.scheduler.sleep(least_s + (most_s - least_s) * self.dice.random())  # uniform costs twice as much

    def disk_busy(self, least_s: float, most_s: float) -> None:
        self.busy(least_s, most_s)
        while self.disk_hangs and self.scheduler.current is not None:
            self.scheduler.sleep(0.2)

    def may_be_preempted(self) -> None:
        if self.starved and self.dice.random() < self.starved:
            self.scheduler.sleep(self.dice.expovariate(2.0))

    def after(self, seconds: float, call: Callable[[], None]) -> None:
        """Something of this boot, that stands still while the host is paused."""
        self.scheduler.after(seconds, partial(self._now, self.boots, call))

    def _now(self, boot: int, call: Callable[[], None]) -> None:
        if self.up and self.boots == boot:
            if self.paused:
                self._parked.append(partial(self._now, boot, call))
            else:
                call()

    # What clients can be told

    def reassess(self) -> None:
        self.on_change(self)

    def talks(self) -> bool:
        return self.up and not self.paused

    def gate_lets_pass(self) -> bool:
        return self.up and not self.paused and self.kernel.is_open()

    def answer(self, session: Session, send: Callable[[], None]) -> None:
        """An answer on its way out: through the gate, or kept by TCP until the gate lets it pass."""
        if session.number not in self.sessions:
            return
        if self.gate_lets_pass():
            send()
        else:
            session.unsent.append(send)

    def retransmit(self) -> None:
        """The gate is open: what sockets, orphans too, still have to say leaves within a moment."""
        for session in list(self.sessions.values()):
            if session.unsent:
                kept, session.unsent = session.unsent, []
                for send in kept:
                    self.after(0.05, lambda session=session, send=send: self.answer(session, send))  # type: ignore[misc]

    def end_sessions(self) -> int:
        ended = len(self.sessions)
        self.sessions.clear()
        return ended

    # Faults

    def pause(self) -> None:
        self.reassess()
        self.paused, self._paused_at = True, self.scheduler.now
        if self.life:
            self.life.hold()
        self.reassess()

    def resume(self) -> None:
        if not self.paused:
            return
        self.kernel.element_until += self.scheduler.now - self._paused_at
        self.paused = False
        if self.life:
            self.life.release()
        parked, self._parked = self._parked, []
        for call in parked:
            self.scheduler.at(self.scheduler.now, call)
        self.reassess()
        self.retransmit()

    def power_off(self) -> None:
        self.resume()
        self.reassess()
        self.up = False
        if self.life:
            self.life.kill()
        self.postgres.crash()
        self.kernel.element_until, self.kernel.refuses = 0.0, False
        self.postgres.dropped = ""
        self.sessions.clear()
        self.addresses.here.clear()
        self.run_notes.pages.clear()
        self.reassess()

    def power_on(self) -> None:
        self.boots += 1
        self.booted_at = self.scheduler.now - 5
        self.up = True
        self.stopped = False
