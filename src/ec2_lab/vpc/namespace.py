"""A network namespace one can work in: a thread that lives there, starts programs and opens sockets.

Namespaces belong to threads, not processes, so the daemon keeps one thread in each of the lab's own
namespaces. A program started from that thread starts in the namespace; `ip netns exec` and its
mounts, several milliseconds each, are not needed.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import subprocess
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from ec2_lab.errors import CommandFailed

RUN_NETNS = Path("/run/netns")
CLONE_NEWNET = 0x40000000
COMMAND_TIMEOUT_S = 10.0
BACKLOG = 128

T = TypeVar("T")


def enter(name: str) -> None:
    """Move the calling thread into a named network namespace (`os.setns` came with Python 3.12)."""
    libc = ctypes.CDLL(None, use_errno=True)
    fd = os.open(RUN_NETNS / name, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if libc.setns(fd, CLONE_NEWNET) != 0:
            code = ctypes.get_errno()
            raise OSError(code, f"cannot enter network namespace {name}: {os.strerror(code)}")
    finally:
        os.close(fd)


def exists(name: str) -> bool:
    return (RUN_NETNS / name).exists()


def add(name: str) -> None:
    command(["ip", "netns", "add", name])


def delete(name: str) -> None:
    """Remove a namespace's name; the kernel removes what is in it once nobody uses it."""
    if exists(name):
        command(["ip", "netns", "delete", name])


def names() -> list[str]:
    """All named namespaces of the machine."""
    return sorted(p.name for p in RUN_NETNS.iterdir()) if RUN_NETNS.is_dir() else []


def inhabited(name: str) -> bool:
    """Whether any process lives in the namespace."""
    wanted = (RUN_NETNS / name).stat().st_ino
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            # Processes come and go while we look.
            with contextlib.suppress(OSError):
                if (process / "ns/net").stat().st_ino == wanted:
                    return True
    return False


def command(argv: list[str], text: str = "") -> str:
    """Run one of our own programs with `text` as its input; CommandFailed with what it said otherwise."""
    try:
        done = subprocess.run(argv, input=text, text=True, capture_output=True, timeout=COMMAND_TIMEOUT_S)
    except subprocess.TimeoutExpired as late:
        raise CommandFailed(
            f"`{' '.join(argv)}` did not finish within {COMMAND_TIMEOUT_S:g} s",
            hint="look at the machine's load; `ec2-lab down` removes what is left",
        ) from late
    if done.returncode != 0:
        raise CommandFailed(
            f"`{' '.join(argv)}` ended with {done.returncode}: {done.stderr.strip()}",
            hint=f"it was given:\n{text}" if text else "run it by hand",
        )
    return done.stdout


def batch(lines: Iterable[str], *, netns: str = "") -> None:
    """Give `ip` several commands at once; it stops at the first that fails."""
    text = "\n".join(lines)
    if text:
        inside = ["-n", netns] if netns else []
        command(["ip", *inside, "-batch", "-"], text + "\n")


def batch_anyway(lines: Iterable[str]) -> None:
    """The same, going on after failures: for removing what may not be there."""
    with contextlib.suppress(CommandFailed):
        command(["ip", "-force", "-batch", "-"], "\n".join(lines) + "\n")


class Room:
    """A namespace of the lab's own, with a thread in it. Made fresh: what had the name before is removed."""

    def __init__(self, name: str) -> None:
        delete(name)
        add(name)
        self.name = name
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name, initializer=lambda: enter(name))
        self.ip(["link set lo up"])

    def do(self, work: Callable[[], T]) -> T:
        """Run `work` inside and return its result."""
        return self._thread.submit(work).result()

    def ip(self, lines: Iterable[str]) -> None:
        self.do(lambda: batch(lines))

    def nft(self, text: str) -> None:
        """One transaction: all of it or nothing."""
        self.do(lambda: command(["nft", "-f", "-"], text))

    def sysctl(self, settings: dict[str, str]) -> None:
        def write() -> None:
            for key, value in settings.items():
                Path("/proc/sys", *key.split(".")).write_text(value)

        self.do(write)

    def listen(self, address: str, port: int) -> socket.socket:
        """A listening TCP socket; it stays in this namespace whichever thread uses it."""

        def make() -> socket.socket:
            made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                made.bind((address, port))
                made.listen(BACKLOG)
            except OSError:
                made.close()
                raise
            return made

        return self.do(make)

    def close(self) -> None:
        self._thread.shutdown()
        delete(self.name)
