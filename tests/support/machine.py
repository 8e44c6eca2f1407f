# the arguments are the ports'; most of these parts need none of them
"""One node's parts in memory: clock, gate, addresses, notes, probes.

What a power loss, a frozen host and a kernel do to them follows what was measured; nothing here sleeps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from failover_agent.core.liveness import Readings, Volume
from failover_agent.errors import GateFailed

if TYPE_CHECKING:
    pass

NOTHING_READ = Readings()


class HandClock:
    """Goes on only when told. A wait inside a call moves it, and the world's physics with it."""

    def __init__(self, moved: Callable[[], None] = lambda: None) -> None:
        self.time = 100.0
        self.moved = moved

    def now(self) -> float:
        return self.time

    def wall(self) -> float:
        return 1_760_000_000 + self.time

    def wait(self, wake: object, timeout_s: float) -> bool:
        if not (is_set := bool(wake.is_set())):  # type: ignore[attr-defined]
            self.time += timeout_s
            self.moved()
        return is_set


@dataclass(slots=True)
class Opening:
    """The gate was open from `begin` until `end` at the latest."""

    begin: float
    end: float
    writes: bool = False  # PostgreSQL was primary behind it


class KernelGate:
    """Shuts by itself at the deadline, whatever the agent does. Keeps every opening.

    `sessions` are connections that clients made while it was open; they outlive its shutting.
    """

    def __init__(self, clock: HandClock) -> None:
        self._clock = clock
        self.openings: list[Opening] = []
        self.sessions = 0
        self.cannot_end_sessions = False
        self.lost = False  # flushed by a stranger, and nft takes nothing any more

    def end_sessions(self) -> int:
        assert not self.is_open(), "what is ended would come back at once"
        if self.sessions and self.cannot_end_sessions:
            raise GateFailed("this kernel cannot", hint="It is a test.")
        ended, self.sessions = self.sessions, 0
        return ended

    def dismiss(self) -> int:
        self._must_be_there()
        assert not self.is_open(), "who is dismissed would come back at once"
        return 0 if self.cannot_end_sessions else self.end_sessions()

    def can_end_sessions(self) -> bool:
        return not self.cannot_end_sessions

    def open_until(self, deadline: float) -> None:
        now = self._clock.now()
        if self.is_open():
            self.openings[-1].end = deadline
        elif deadline > now:
            self.openings.append(Opening(now, deadline))

    def shut(self) -> None:
        self._must_be_there()
        if self.is_open():
            self.openings[-1].end = self._clock.now()

    def is_open(self) -> bool:
        return bool(self.openings) and self.openings[-1].end > self._clock.now()

    def intact(self) -> bool:
        return not self.lost

    def restore(self) -> None:
        self.shut()

    def _must_be_there(self) -> None:
        if self.lost:
            raise GateFailed("nft does not answer", hint="It is a test.")

    def watch(self, disturbed: Callable[[], None]) -> None: ...


class Dummy:
    """Virtual addresses."""

    def __init__(self) -> None:
        self.here: set[str] = set()

    def bind(self, vip: str) -> None:
        self.here.add(vip)

    def unbind(self, vip: str) -> None:
        self.here.discard(vip)

    def bound(self) -> frozenset[str]:
        return frozenset(self.here)


class Pages:
    """A notebook."""

    def __init__(self) -> None:
        self.pages: dict[str, dict[str, object]] = {}

    def load(self, key: str) -> Mapping[str, object] | None:
        return self.pages.get(key)

    def save(self, key: str, value: Mapping[str, object]) -> None:
        self.pages[key] = dict(value)

    def forget(self, key: str) -> None:
        self.pages.pop(key, None)


@dataclass(slots=True)
class Token:
    here: bool = True
    named: str = ""  # the system to adopt; then it is no leave for initdb

    def present(self) -> bool:
        return self.here and not self.named

    def adopts(self) -> str:
        return self.named if self.here else ""

    def spend(self) -> None:
        self.here = False


class Systemd:
    """Keeps what it was told: ("ready" or "alive", status)."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str]] = []
        self.stops = False  # by an order of a person or of the host that goes down

    def ends_for_good(self) -> bool:
        return self.stops

    def ready(self, status: str) -> None:
        self.told.append(("ready", status))

    def alive(self, status: str) -> None:
        self.told.append(("alive", status))


@dataclass(slots=True)
class HandProbes:
    """Shows a healthy node until a test says otherwise."""

    clock: HandClock
    stuck: bool = False  # no session is answered, nobody commits
    hung: bool = False  # no write to the volume comes back
    full: bool = False
    free_bytes: int = 1 << 40
    shown: Readings = NOTHING_READ

    def start(self) -> None: ...

    def watch_primary(self, primary: bool) -> None: ...

    def readings(self) -> Readings:
        was, now = self.shown, int(self.clock.now())
        fsyncs = was.volumes[0].fsyncs if self.hung and was.volumes else now
        self.shown = Readings(
            at=self.clock.now(),
            watched_s=self.clock.now(),
            sessions=was.sessions if self.stuck else now,
            asking=True,
            commits=was.commits if self.stuck else now,
            volumes=(Volume("data", True, fsyncs, waits=True),),
            free_bytes=self.free_bytes,
            full=self.full,
        )
        return self.shown
