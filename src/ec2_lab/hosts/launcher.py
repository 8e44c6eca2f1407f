"""Start systemd-nspawn for one host and wait until its init runs."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ec2_lab.errors import CommandFailed, MachineMissing
from ec2_lab.hosts.cgroups import HostCgroup, wait_until_dead
from ec2_lab.model import LabPaths

LAUNCH = Path(__file__).with_name("launch.sh")
BOOT_TIMEOUT_S = 20.0
KILL_TIMEOUT_S = 10.0
CONSOLE_TAIL_BYTES = 2000


@dataclass(frozen=True, slots=True)
class Launch:
    """Everything nspawn has to be told."""

    machine: str  # unique on this computer
    netns: str
    cgroup: HostCgroup
    folder: Path  # with `disk` and `root`, the places to mount on
    root_loop: Path
    lower: str  # overlay's lowerdir, topmost first
    nodes: tuple[tuple[Path, str], ...]  # (loop device, its path in the host)
    console: Path
    notify: Path


def machine_name(paths: LabPaths, instance_id: str) -> str:
    """What nspawn calls the host; unique on this computer."""
    return f"ec2-{paths.name}-{instance_id}"


def remove_nspawn_folder(machine: str) -> None:
    """nspawn makes one per machine and leaves it behind when it is killed."""
    with contextlib.suppress(FileNotFoundError):
        Path("/run/systemd/nspawn/propagate", machine).rmdir()


def launch(plan: Launch) -> int:
    """Boot the host; returns the pid of its init. CommandFailed carries the end of its console."""
    if shutil.which("systemd-nspawn") is None:
        raise MachineMissing(
            "program systemd-nspawn is not installed", hint="apt-get install systemd-container"
        )
    for name in ("disk", "root"):
        (plan.folder / name).mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        plan.notify.unlink()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready, plan.console.open("ab") as console:
        ready.bind(str(plan.notify))
        process = subprocess.Popen(
            _argv(plan),
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=subprocess.STDOUT,
            cwd="/",
            start_new_session=True,  # the host outlives whoever booted it
            env={
                "PATH": "/usr/sbin:/usr/bin:/sbin:/bin",
                "NOTIFY_SOCKET": str(plan.notify),
                "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1",
                "SYSTEMD_NSPAWN_LOCK": "0",  # our own lock holds, and leaves no files behind
                # /proc/sys/net belongs to the host's own network; the rest of /proc/sys is the machine's.
                "SYSTEMD_NSPAWN_API_VFS_WRITABLE": "network",
            },
        )
        pid = _wait_until_ready(process, ready)
    if pid is None:
        plan.cgroup.kill()
        process.kill()  # it may not have reached its cgroup
        process.wait()
        wait_until_dead(plan.cgroup, KILL_TIMEOUT_S)
        tail = plan.console.read_bytes()[-CONSOLE_TAIL_BYTES:].decode(errors="replace")
        raise CommandFailed(f"{plan.machine} did not boot:\n{tail}", hint=f"all it said is in {plan.console}")
    threading.Thread(target=process.wait, daemon=True).start()  # reap it when the host goes
    return pid


def _argv(plan: Launch) -> list[str]:
    argv = ["unshare", "--mount", "--propagation", "slave", "/bin/sh", str(LAUNCH)]
    argv += [str(plan.cgroup.path), str(plan.root_loop), str(plan.folder), plan.lower]
    argv += ["systemd-nspawn", "--quiet", "--boot", f"--directory={plan.folder / 'root'}"]
    argv += [f"--machine={plan.machine}", f"--network-namespace-path=/run/netns/{plan.netns}"]
    argv += ["--register=no", "--keep-unit", "--resolv-conf=off", "--timezone=off", "--link-journal=no"]
    # All hosts have one clock, so none may set it; everything else root may do on a machine of its own.
    argv += ["--capability=all", "--drop-capability=CAP_SYS_TIME", "--console=read-only"]
    argv += ["--setenv=TERM=dumb", "--setenv=SYSTEMD_COLORS=0"]
    argv += [f"--bind={loop}:{node}" for loop, node in plan.nodes]
    return argv


def _wait_until_ready(process: subprocess.Popen[bytes], ready: socket.socket) -> int | None:
    died = os.pidfd_open(process.pid)
    try:
        while True:
            readable, _, _ = select.select([ready.fileno(), died], [], [], BOOT_TIMEOUT_S)
            if ready.fileno() not in readable:
                return None
            leader = _leader_in(ready.recv(4096).decode().splitlines())
            if leader is not None:
                return leader
    finally:
        os.close(died)


def _leader_in(lines: Iterable[str]) -> int | None:
    # sd_notify of nspawn: READY=1, STATUS=…, X_NSPAWN_LEADER_PID=…
    return next((int(line.split("=")[1]) for line in lines if line.startswith("X_NSPAWN_LEADER_PID=")), None)
