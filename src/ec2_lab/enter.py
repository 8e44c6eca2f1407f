"""Ways into a host: a process inside all its namespaces, and a TCP stream from the VPC's inside.

Imported by a command that has to start quickly, hence nothing heavy here.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import json
import os
import selectors
import signal
import socket
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from ec2_lab.errors import CommandFailed, LabError, NoSuchHost
from ec2_lab.hosts.cgroups import HostCgroup
from ec2_lab.model import LabPaths

CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS = 0x00020000, 0x02000000, 0x04000000
CLONE_NEWIPC, CLONE_NEWPID, CLONE_NEWNET = 0x08000000, 0x20000000, 0x40000000

# The host's cgroup for what came in this way: below `payload`, so that the host itself sees it too.
CGROUP = "payload/ec2-lab-exec"
CONNECT_TIMEOUT_S = 10.0
# A host whose power was cut says no word more: without keepalive a tunnel into it would wait for ever.
GONE = (errno.ETIMEDOUT, errno.EHOSTUNREACH, errno.ENETUNREACH)
KEEPALIVE = ((socket.TCP_KEEPIDLE, 60), (socket.TCP_KEEPINTVL, 20), (socket.TCP_KEEPCNT, 3))
CHUNK_BYTES = 65536
CANNOT_EXECUTE = 126  # as shells say it
NOT_FOUND = 127


class HostOff(LabError):
    """The host is not running."""


def run_in(paths: LabPaths, host: str, argv: Sequence[str]) -> int:
    """Run `argv` as root inside `host` and return its exit status, as a shell would give it.

    The process shares our stdin, stdout and stderr and belongs to the host: it freezes and dies with
    it (status 137 after a crash). `host` is a name, an instance id or a private address. The calling
    program may have threads; the forked child only makes system calls before it executes `argv`.
    """
    instance_id = _find(paths, host)["instance_id"]
    cgroup = HostCgroup(paths, instance_id)
    init = cgroup.init_pid()
    if init is None:
        raise HostOff(f"host {host} ({instance_id}) is off", hint=f"Start it: ec2-lab fault start {host}")
    own_folder = cgroup.path / CGROUP
    own_folder.mkdir(exist_ok=True)
    procs = os.open(own_folder / "cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
    inside, outside = os.pidfd_open(init), os.pidfd_open(os.getpid())
    try:
        # A pid namespace is entered by children only; ours is put back at once.
        _setns(inside, CLONE_NEWPID)
        try:
            child = os.fork()
            if child == 0:
                _become(procs, inside, argv)
        finally:
            _setns(outside, CLONE_NEWPID)
    finally:
        for fd in (procs, inside, outside):
            os.close(fd)
    return _wait(child)


def tunnel(paths: LabPaths, host: str, port: int) -> None:
    """Join stdin and stdout with a TCP connection to `host`, made from inside the VPC's router.

    The stand-in for an EC2 Instance Connect Endpoint, for ssh's ProxyCommand. Returns when both
    directions have ended; closing one leaves the other open. A host that is silent for two minutes has ended.
    """
    address = _address(paths, host)
    namespace = Path("/run/netns") / paths.router_netns
    try:
        fd = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError as missing:
        raise CommandFailed(
            f"lab {paths.name} has no network namespace {namespace}", hint=f"is lab {paths.name} up?"
        ) from missing
    _setns(fd, CLONE_NEWNET)
    os.close(fd)
    try:
        connection = socket.create_connection((address, port), timeout=CONNECT_TIMEOUT_S)
    except OSError as refused:
        raise CommandFailed(
            f"no connection to {host} ({address}) port {port}: {refused}",
            hint="is the host running and not cut?",
        ) from refused
    with connection:
        connection.settimeout(None)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for option, value in KEEPALIVE:
            connection.setsockopt(socket.IPPROTO_TCP, option, value)
        try:
            _pump(connection, sys.stdin.fileno(), sys.stdout.fileno())
        except OSError as error:
            if error.errno not in GONE:
                raise


def _become(procs: int, inside: int, argv: Sequence[str]) -> None:
    """In the child: join the host, then turn into the program. Never returns."""
    status = CANNOT_EXECUTE
    try:
        os.write(procs, b"0")  # first of all, so that whatever hits the host from here on hits us
        _setns(inside, CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWNET | CLONE_NEWCGROUP)
        os.chdir("/root")
        os.execvpe(argv[0], list(argv), _environment())  # noqa: S606 -- an argument list, that is the point
    except FileNotFoundError:
        status = NOT_FOUND
        os.write(2, f"{argv[0]}: not found in the host\n".encode())
    except OSError as error:
        os.write(2, f"{argv[0]}: {error.strerror}\n".encode())
    finally:
        os._exit(status)


def _environment() -> dict[str, str]:
    return {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": "/root",
        "USER": "root",
        "LOGNAME": "root",
        "SHELL": "/bin/bash",
        "LANG": "C.UTF-8",
        "TERM": os.environ.get("TERM", "dumb"),
    }


def _wait(child: int) -> int:
    """Wait for the child, passing on what is meant for it."""

    def pass_on(number: int, _frame: object) -> None:
        with contextlib.suppress(ProcessLookupError):  # it ended in this very moment
            os.kill(child, number)

    if threading.current_thread() is not threading.main_thread():
        return _exit_status(child)  # signals are the main thread's, and its own business
    # The terminal sends its signals to the child itself; here they must only not kill us.
    before = {number: signal.signal(number, signal.SIG_IGN) for number in (signal.SIGINT, signal.SIGQUIT)}
    before |= {number: signal.signal(number, pass_on) for number in (signal.SIGTERM, signal.SIGHUP)}
    try:
        return _exit_status(child)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _exit_status(child: int) -> int:
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return 128 - code if code < 0 else code


def _pump(connection: socket.socket, source: int, sink: int) -> None:
    with selectors.DefaultSelector() as selector:
        # A regular file as stdin cannot be polled, and is always readable; ssh gives pipes or sockets.
        selector.register(connection, selectors.EVENT_READ)
        selector.register(source, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select():
                if key.fileobj is connection:
                    data = connection.recv(CHUNK_BYTES)
                    if data:
                        _write_all(sink, data)
                    else:
                        selector.unregister(connection)
                        os.close(sink)
                else:
                    data = os.read(source, CHUNK_BYTES)
                    if data:
                        connection.sendall(data)
                    else:
                        selector.unregister(source)
                        connection.shutdown(socket.SHUT_WR)


def _write_all(sink: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(sink, view) :]


def _address(paths: LabPaths, host: str) -> str:
    try:
        socket.inet_aton(host)
    except OSError:
        return _find(paths, host)["private_ip"]
    return host


def _find(paths: LabPaths, host: str) -> dict[str, str]:
    """The state file of the host with this name, instance id or private address."""
    known: list[dict[str, str]] = []
    for file in sorted((paths.run / "hosts").glob("*.json")):
        try:
            known.append(json.loads(file.read_text()))
        except FileNotFoundError:
            continue  # destroyed meanwhile
    for facts in known:
        if host in (facts["name"], facts["instance_id"], facts["private_ip"]):
            return facts
    names = ", ".join(facts["name"] for facts in known) or "none"
    raise NoSuchHost(f"no host {host} in lab {paths.name}", hint=f"hosts that were booted: {names}")


def _setns(fd: int, kind: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)  # os.setns comes with Python 3.12
    if libc.setns(fd, kind) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"setns: {os.strerror(error)}")
