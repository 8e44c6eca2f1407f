"""The postmaster as a process: who it is, and the instant it ends."""

from __future__ import annotations

import contextlib
import os
import select
import threading
from collections.abc import Callable
from pathlib import Path

from failover_agent.adapters.systemd import Unit, looks

# How soon a postmaster that was started is found; its end is then heard of at once.
_LOOK_EVERY_S = 0.2
_FOR_EVER_S = 10 * 365 * 86400.0


def postmaster(unit: Unit, postgres: str) -> int | None:
    """Its process id, None when none runs.

    Its children change their command line to `postgres: what they do`, so one that still has the
    program's path, and no parent among them, is the postmaster. Children may outlive it.
    """
    members = set(unit.processes())
    for pid in sorted(members):
        with contextlib.suppress(OSError, ValueError, IndexError):
            if _program(pid) == postgres and _parent(pid) not in members:
                return pid
    return None


def _program(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0", 1)[0].decode(errors="replace")


def _parent(pid: int) -> int:
    # After the last parenthesis: a program's name may contain anything.
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def watch_death(unit: Unit, postgres: str, died: Callable[[], None]) -> None:
    """Call `died` each time a postmaster ends, within milliseconds, for as long as this process lives."""

    def watch() -> None:
        for _look in looks(_FOR_EVER_S, _LOOK_EVERY_S):
            pid = postmaster(unit, postgres)
            if pid is not None and wait_for_end(pid, None):
                died()

    threading.Thread(target=watch, name="postmaster-watch", daemon=True).start()


def wait_for_end(pid: int, timeout_s: float | None) -> bool:
    """Wait until the process is gone; False when the time was over first. None waits for ever."""
    try:
        fd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        poll = select.poll()
        poll.register(fd, select.POLLIN)
        return bool(poll.poll(None if timeout_s is None else max(0.0, timeout_s) * 1000))
    finally:
        os.close(fd)
