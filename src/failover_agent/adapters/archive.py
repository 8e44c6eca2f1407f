"""Runs a command of PostgreSQL's for WAL, if this node's agent allows it (N6).

Started once per segment: only small parts of the standard library are imported, and none of ours.

What remains open: the agent is asked before the command, once per RECHECK_S while it runs, and after
it. A lease that ends in between is noticed within RECHECK_S, and the command is then killed; what it had
handed to something that lives on without it may still arrive. The segment itself was complete, and
written under the lease, when the command began; readers of the archive are kept from what lies beyond a
fork by the other program, `failover-restore`.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from types import FrameType
from urllib.parse import quote

ASK_TIMEOUT_S = 3.0
RECHECK_S = 1.0
REFUSED = 1
# Above this PostgreSQL takes an exit status for a reason to end itself, or the recovery.
_MOST = 125
_USUAL_SEGMENT = 16 << 20


def archive(agent: str, name: str, command: str) -> int:
    """The exit status for PostgreSQL: 0 only when `name` is archived and the lease was ours throughout."""
    if why := _why_not(agent, f"/archive?file={quote(name)}"):
        return _refuse("failover-archive", f"{name} is not archived: {why}")
    status = _run(command, lambda: _why_not(agent, f"/archive?file={quote(name)}"))
    if isinstance(status, str):
        return _refuse("failover-archive", f"{name}: the command was killed: {status}")
    if status == 0 and (why := _why_not(agent, f"/archive?file={quote(name)}")):
        return _refuse("failover-archive", f"{name} was copied and does not count: {why}")
    return status


def restore(agent: str, name: str, command: str, wal_dir: str = "pg_wal") -> int:
    """The exit status for PostgreSQL: not 0 when `name` is not there, or not of the cluster's line."""
    if why := _why_not(agent, f"/restore?file={quote(name)}&segment_bytes={_segment_bytes(wal_dir)}"):
        return _refuse("failover-restore", f"{name} is not taken from the archive: {why}")
    status = _run(command, lambda: "")
    return status if isinstance(status, int) else REFUSED


def _segment_bytes(wal_dir: str) -> int:
    """As big as any segment that is here; PostgreSQL starts its commands in the data directory."""
    with contextlib.suppress(OSError), os.scandir(wal_dir) as entries:
        for entry in entries:
            if len(entry.name) == 24 and entry.is_file():
                return entry.stat().st_size
    return _USUAL_SEGMENT


def _refuse(program: str, why: str) -> int:
    print(f"{program}: {why}", file=sys.stderr)
    return REFUSED


def _why_not(agent: str, path: str) -> str:
    """Empty when the agent allows it. An agent that does not answer allows nothing."""
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as door:
            door.settimeout(ASK_TIMEOUT_S)
            door.connect(agent)
            door.sendall(f"GET {path} HTTP/1.0\r\nHost: agent\r\n\r\n".encode())
            said = b"".join(iter(lambda: door.recv(65536), b""))
        head, _, body = said.partition(b"\r\n\r\n")
        answer = json.loads(body)
        allowed = head.split(b" ", 2)[1:2] == [b"200"] and answer.get("may") is True
        return "" if allowed else str(answer.get("why") or "the agent refuses it and does not say why")
    except (OSError, ValueError, AttributeError) as error:
        return f"the agent does not answer on {agent} ({error}); see `systemctl status failover-agent`"


def _run(command: str, why_stop: Callable[[], str]) -> int | str:
    """The command's exit status, or why it was killed. Whoever ends us ends it, too."""
    process = subprocess.Popen(("/bin/sh", "-c", command), process_group=0)

    def end(_number: int, _frame: FrameType | None) -> None:
        _kill(process)
        os._exit(_MOST)

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        signal.signal(number, end)
    while True:
        try:
            status = process.wait(RECHECK_S)
        except subprocess.TimeoutExpired:
            if why := why_stop():
                _kill(process)
                return why
        else:
            return min(status, _MOST) if status >= 0 else REFUSED


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
