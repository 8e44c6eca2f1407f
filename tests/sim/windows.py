"""Since when and until when clients of a node could be told that a write is committed."""

from __future__ import annotations

from dataclasses import dataclass

from tests.sim.history import History, Window
from tests.sim.host import Host


@dataclass(slots=True)
class _Open:
    line: int
    begin: float
    until: float  # when the kernel shuts the gate by itself


class Windows:
    def __init__(self, history: History) -> None:
        self._history = history
        self._open: dict[str, _Open] = {}

    def look(self, host: Host) -> None:
        """Something of `host` is about to change, or has just changed."""
        now, pg = host.scheduler.now, host.postgres
        until = host.kernel.until() if host.up and not host.paused and pg.writes() else 0.0
        line = pg.wal.line.number if pg.wal is not None else 0
        window = self._open.get(host.name)
        if window is not None and (until <= now or window.until <= now or window.line != line):
            self._end(host.name, now)
            window = None
        if until > now:
            if window is None:
                self._open[host.name] = _Open(line, now, until)
            else:
                window.until = until

    def is_open(self, host: Host) -> bool:
        self.look(host)
        return host.name in self._open

    def end(self, host: Host) -> None:
        self.look(host)
        self._end(host.name, host.scheduler.now)

    def _end(self, name: str, now: float) -> None:
        window = self._open.pop(name, None)
        if window is not None:
            self._history.windows.append(Window(name, window.line, window.begin, min(now, window.until)))
