"""Network namespaces for tests: a node and its neighbours, joined by a wire each.

    client 10.9.0.2 ── veth ── node 10.9.0.1      member 10.9.1.2 ── veth ── node 10.9.1.1

Only the calling thread enters; sockets stay in the namespace they were made in.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

from failover_agent.adapters.systemd import looks

THERE_S = 60.0
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def ip(*args: str) -> None:
    subprocess.run(("ip", *args), check=True, capture_output=True)


@contextlib.contextmanager
def entered(name: str) -> Iterator[None]:
    """The calling thread is in namespace `name` inside the block."""
    here = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    there = os.open(f"/run/netns/{name}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        _setns(there)
        yield
    finally:
        _setns(here)
        os.close(there)
        os.close(here)


def _setns(fd: int) -> None:
    if _libc.setns(fd, _CLONE_NEWNET) != 0:
        raise OSError(ctypes.get_errno(), "setns")


@contextlib.contextmanager
def node_with_neighbours(prefix: str) -> Iterator[tuple[str, str, str]]:
    """Names of three namespaces: node, client, member."""
    _sweep(prefix)
    node, client, member = (f"{prefix}-{os.getpid()}-{role}" for role in ("node", "client", "member"))
    try:
        for number, name in enumerate((node, client, member)):
            ip("netns", "add", name)
            ip("-n", name, "link", "set", "lo", "up")
            if name != node:
                net = f"10.9.{number - 1}"
                six = f"fd00:{number}::"
                ip("link", "add", "eth0", "netns", name, "type", "veth", "peer", f"to{number}", "netns", node)
                for where, device, last in ((name, "eth0", 2), (node, f"to{number}", 1)):
                    ip("-n", where, "addr", "add", f"{net}.{last}/24", "dev", device)
                    ip("-n", where, "addr", "add", f"{six}{last}/64", "dev", device, "nodad")
                    ip("-n", where, "link", "set", device, "up")
        for number, name in ((1, client), (2, member)):
            with entered(name):
                # The first packet over IPv6 waits a second for its neighbour; no test shall.
                until_there(f"fd00:{number}::1")
        yield node, client, member
    finally:
        for name in (node, client, member):
            subprocess.run(("ip", "netns", "del", name), check=False, capture_output=True)


def until_there(address: str) -> None:
    """Until a connection is refused: on a machine that stands still a neighbour may not be found at once."""
    found: OSError = TimeoutError(address)
    for _left in looks(THERE_S, 0.1):
        try:
            socket.create_connection((address, 9), timeout=5).close()
        except ConnectionRefusedError:
            return
        except OSError as error:
            found = error
    raise found


def _sweep(prefix: str) -> None:
    """Remove what test runs left that were killed; those that live are not ours to touch."""
    for path in Path("/run/netns").glob(f"{prefix}-*-*"):
        owner = path.name.split("-")[1]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            subprocess.run(("ip", "netns", "del", path.name), check=False, capture_output=True)
