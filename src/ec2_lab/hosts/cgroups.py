"""One cgroup per host: its power switch (kill), its pause button (freeze), the list of all it runs.

Only the unified hierarchy is used. Machines with systemd's hybrid layout have it under
/sys/fs/cgroup/unified, pure ones at /sys/fs/cgroup.
"""

from __future__ import annotations

import contextlib
import functools
import os
import select
import time
from collections.abc import Iterator
from pathlib import Path

from ec2_lab.errors import CommandFailed, MachineMissing
from ec2_lab.model import LabPaths


@functools.cache
def unified() -> Path:
    """Where cgroup v2 is mounted on this machine."""
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split()
        if kind == "cgroup2":
            return Path(where)
    raise MachineMissing("cgroup v2 is not mounted", hint="mount -t cgroup2 cgroup2 /sys/fs/cgroup/unified")


def lab_cgroup(paths: LabPaths) -> Path:
    return unified() / "ec2-lab" / paths.name


class HostCgroup:
    """The cgroup of one host. `payload` below it is what the host itself sees as its root."""

    def __init__(self, paths: LabPaths, instance_id: str) -> None:
        self.path = lab_cgroup(paths) / instance_id

    def create(self) -> None:
        self.path.mkdir(parents=True, exist_ok=True)
        if not (self.path / "cgroup.kill").exists():
            raise MachineMissing(f"{self.path} has no cgroup.kill", hint="the lab needs Linux 5.14 or newer")

    def remove(self) -> None:
        """Remove the empty cgroup and all below it."""
        for folder, _, _ in os.walk(self.path, topdown=False):
            with contextlib.suppress(FileNotFoundError):
                Path(folder).rmdir()

    def pids(self) -> list[int]:
        """All processes of the host, those that run it from outside included."""
        found: list[int] = []
        for folder, _, files in os.walk(self.path):
            if "cgroup.procs" in files:
                with contextlib.suppress(OSError):  # the host may remove a cgroup while we walk
                    found += [int(line) for line in Path(folder, "cgroup.procs").read_text().split()]
        return found

    def init_pid(self) -> int | None:
        """The host's own process 1 as seen from outside, None while it is off."""
        return next((pid for pid in self.pids() if _is_init_of_a_host(pid)), None)

    def populated(self) -> bool:
        return self._events().get("populated") == "1"

    def frozen(self) -> bool:
        """Asked to be frozen; a process stuck in the kernel freezes the moment it comes back from there."""
        try:
            return (self.path / "cgroup.freeze").read_text().strip() == "1"
        except FileNotFoundError:
            return False

    def freeze(self, frozen: bool) -> None:
        (self.path / "cgroup.freeze").write_text("1" if frozen else "0")

    def kill(self) -> None:
        """SIGKILL everything, frozen or not."""
        with contextlib.suppress(FileNotFoundError):
            (self.path / "cgroup.kill").write_text("1")

    def wait_until_empty(self, timeout_s: float) -> bool:
        return self._wait_for("populated", "0", timeout_s)

    def wait_until_frozen(self, timeout_s: float) -> bool:
        return self._wait_for("frozen", "1", timeout_s)

    def _events(self) -> dict[str, str]:
        try:
            return _pairs((self.path / "cgroup.events").read_text())
        except OSError:  # not there, or removed while being read (ENODEV)
            return {}

    def _wait_for(self, key: str, value: str, timeout_s: float) -> bool:
        deadline = time.monotonic() + timeout_s
        try:
            events = (self.path / "cgroup.events").open()
        except FileNotFoundError:
            return key == "populated"
        with events:
            poller = select.poll()
            poller.register(events, select.POLLPRI)  # the kernel notifies after the file was read once
            while True:
                events.seek(0)
                if _pairs(events.read()).get(key) == value:
                    return True
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    return False
                poller.poll(left_s * 1000)


def wait_until_dead(cgroup: HostCgroup, timeout_s: float) -> None:
    """Wait for a killed cgroup to be empty."""
    if not cgroup.wait_until_empty(timeout_s):
        stuck = cgroup.pids()
        raise CommandFailed(
            f"{cgroup.path.name} still has processes {stuck} {timeout_s:g} s after they were killed",
            hint="a process in state D waits for a disk; `cat /proc/PID/stack` shows which",
        )


def instances(paths: LabPaths) -> Iterator[str]:
    """Every instance that has a cgroup in this lab."""
    folder = lab_cgroup(paths)
    if folder.is_dir():
        yield from (child.name for child in folder.iterdir() if child.is_dir())


def _pairs(text: str) -> dict[str, str]:
    return dict(line.split(" ", 1) for line in text.splitlines())


def _is_init_of_a_host(pid: int) -> bool:
    # NSpid lists the pid in every namespace from ours inwards. Exactly two: a container inside the
    # host has an init of its own, one level further in.
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    pids = next((line.split()[1:] for line in status.splitlines() if line.startswith("NSpid:")), [])
    return len(pids) == 2 and pids[1] == "1"
