"""systemd: the supervisor we report to, and the units we command."""

from __future__ import annotations

import contextlib
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from failover_agent.adapters import programs
from failover_agent.errors import PostgresFailed

CGROUP_ROOTS = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))
SHOW_TIMEOUT_S = 5.0
SCANS = 100  # of cgroups that come and go meanwhile
JOBS_S = 1.0  # a restart waits for it


class NotifySupervisor:
    """Implements `ports.Supervisor` by sd_notify(3); silent where systemd did not start us."""

    def __init__(self) -> None:
        self._address = os.environ.get("NOTIFY_SOCKET", "")

    def ready(self, status: str) -> None:
        self._tell(f"READY=1\nSTATUS={status}")

    def alive(self, status: str) -> None:
        self._tell(f"WATCHDOG=1\nSTATUS={status}")

    def ends_for_good(self) -> bool:
        """By the job that systemd has for us: `restart` brings us back, without one Restart= does."""
        unit = _own_unit()
        if not self._address or not unit:
            return False
        try:
            jobs = programs.run(("systemctl", "list-jobs", "--plain", "--no-legend", unit), timeout_s=JOBS_S)
        except (programs.TookTooLong, OSError):
            return False
        # "1234 failover-agent.service stop running"
        return any(line.split()[1:3] == [unit, "stop"] for line in jobs.out.splitlines())

    def _tell(self, message: str) -> None:
        if not self._address:
            return
        # An abstract address starts with a zero byte, which the environment shows as @.
        address = "\0" + self._address[1:] if self._address.startswith("@") else self._address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as out:
            out.settimeout(1.0)
            with contextlib.suppress(OSError):  # a full queue of systemd is no reason to stumble
                out.sendto(message.encode(), address)


class Unit(Protocol):
    """A service that holds processes in a cgroup of its own."""

    def start(self, timeout_s: float) -> None: ...

    def stop(self, timeout_s: float) -> None: ...

    def kill(self, timeout_s: float) -> None: ...

    def processes(self) -> list[int]: ...


class SystemdUnit:
    """One unit, by systemctl and by its cgroup directly where that is quicker and surer."""

    def __init__(self, name: str) -> None:
        self._name = name

    def start(self, timeout_s: float) -> None:
        """Start and wait until the service says that it is ready. Raises PostgresFailed."""
        # A unit that failed too often is refused by systemd; who may start is our decision alone.
        self._systemctl("reset-failed", timeout_s=SHOW_TIMEOUT_S, must=False)
        self._systemctl("start", timeout_s=timeout_s)

    def stop(self, timeout_s: float) -> None:
        """Ask it to stop and wait for the end. Raises PostgresFailed when that takes too long."""
        self._systemctl("stop", timeout_s=timeout_s)

    def kill(self, timeout_s: float) -> None:
        """Kill every process of the cgroup in the kernel, then see them gone. Raises PostgresFailed."""
        cgroup = self._cgroup()
        if cgroup is not None:
            try:
                (cgroup / "cgroup.kill").write_text("1")
            except OSError:  # a kernel before 5.14
                self._systemctl("kill", "--signal=SIGKILL", timeout_s=SHOW_TIMEOUT_S, must=False)
            for _look in looks(timeout_s):
                if not self.processes():
                    break
            else:
                raise PostgresFailed(
                    f"processes of {self._name} survive SIGKILL: {self.processes()}",
                    hint="They hang in the kernel, most likely on a stuck disk; look at `dmesg`.",
                )
        # systemd learns of it on its own; stopping settles what the unit is called afterwards.
        self._systemctl("stop", timeout_s=SHOW_TIMEOUT_S, must=False)

    def processes(self) -> list[int]:
        """Process ids in the unit's cgroup and below it."""
        found: list[int] = []
        for listing in self._listings():
            with contextlib.suppress(OSError):
                found += [int(line) for line in listing.read_text().split()]
        return found

    def _listings(self) -> list[Path]:
        """Of the unit's cgroup and those below it; none where the unit has none."""
        scans = 0
        while (cgroup := self._cgroup()) is not None:
            try:
                return list(cgroup.rglob("cgroup.procs"))
            except OSError as error:  # systemd removed one of them meanwhile: what it held has ended
                scans += 1
                if scans == SCANS:
                    raise PostgresFailed(
                        f"{cgroup} cannot be read: {error}", hint="Look at `dmesg`."
                    ) from error
        return []

    def _cgroup(self) -> Path | None:
        """Services of the system live under system.slice; found by path, without asking systemd."""
        own = _own_cgroup_root()
        for root in CGROUP_ROOTS:
            for base in (root / own.lstrip("/"), root):
                path = base / "system.slice" / self._name
                if (path / "cgroup.procs").exists():
                    return path
        return None

    def _systemctl(self, *args: str, timeout_s: float, must: bool = True) -> None:
        try:
            done = programs.run(("systemctl", *args, self._name), timeout_s=timeout_s)
        except programs.TookTooLong as error:
            if must:
                raise PostgresFailed(
                    f"systemctl {args[0]} {self._name} took longer than {timeout_s:g} s",
                    hint=f"See `journalctl -u {self._name}`.",
                ) from error
            return
        if must and not done.ok:
            raise PostgresFailed(
                f"systemctl {args[0]} {self._name}: {done.last_words()}",
                hint=f"See `journalctl -u {self._name}`.",
            )


def looks(timeout_s: float, every_s: float = 0.01) -> Iterator[float]:
    """Look again and again until the time is over; the last look comes after it. Yields the time left."""
    end = time.clock_gettime(time.CLOCK_BOOTTIME) + timeout_s
    while True:
        left = end - time.clock_gettime(time.CLOCK_BOOTTIME)
        yield left
        if left <= 0:
            return
        time.sleep(min(every_s, max(left, 0.0)))  # the world has no condition variable for this


def _own_cgroup_root() -> str:
    """Where init's cgroup is seen from here; "/" nearly always."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/1/cgroup").read_text().splitlines():
            if line.startswith("0::"):
                return line[3:].removesuffix("/init.scope") or "/"
    return "/"


def _own_unit() -> str:
    """The service that this process runs in; empty where it is none."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            if (name := Path(line).name).endswith(".service"):
                return name
    return ""
