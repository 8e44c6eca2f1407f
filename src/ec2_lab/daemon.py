"""The process behind one lab: `python -m ec2_lab.daemon --lab NAME --image ROOT [--ready-fd N]`.

It builds the VPC, the machines and the door, serves the API, the metadata service and the control
interface, and removes everything when it is told to end. What it leaves when it is killed, the next
`up` or `down` of that name removes.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import secrets
import signal
import socket
import string
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

from ec2_lab import control
from ec2_lab.errors import CommandFailed
from ec2_lab.model import API_ADDRESS, DYNAMODB_ADDRESS, METADATA_ADDRESS, S3_ADDRESS, LabPaths

log = logging.getLogger("ec2_lab.daemon")

REGION = "eu-central-1"
API_PORT = 80
THREADS = 32  # per listening address; a slow answer keeps one
CONNECTIONS_MAX = 1000  # over all of them: one loop serves them all
BACKLOG = 128


@dataclass(frozen=True, slots=True)
class Endpoint:
    """How clients on this computer reach the lab's API."""

    url: str
    region: str
    access_key_id: str
    secret_access_key: str

    @staticmethod
    def file(paths: LabPaths) -> Path:
        return paths.run / "endpoint.json"

    @classmethod
    def read(cls, paths: LabPaths) -> Endpoint:
        return cls(**json.loads(cls.file(paths).read_text()))

    def write(self, paths: LabPaths) -> None:
        flags = os.O_CREAT | os.O_WRONLY | os.O_TRUNC
        with os.fdopen(os.open(self.file(paths), flags, 0o600), "w") as file:
            json.dump(asdict(self), file)


def _fresh_endpoint(port: int) -> Endpoint:
    letters = string.ascii_uppercase + "234567"
    key = "AKIA" + "".join(secrets.choice(letters) for _ in range(16))  # as AWS writes them
    return Endpoint(f"http://127.0.0.1:{port}", REGION, key, secrets.token_urlsafe(30))


@dataclass(frozen=True, slots=True)
class Process:
    """A daemon, named so that a later process with its number is not taken for it."""

    pid: int
    started: str  # clock ticks after boot, field 22 of /proc/PID/stat

    @classmethod
    def of(cls, pid: int) -> Process | None:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            return None
        fields = stat.rpartition(")")[2].split()
        return None if fields[0] in "ZX" else cls(pid, fields[19])

    @classmethod
    def running(cls, paths: LabPaths) -> Process | None:
        """The daemon of this lab, None when it is dead or was never there."""
        try:
            pid, started = (paths.run / "daemon.pid").read_text().split()
        except (FileNotFoundError, ValueError):
            return None
        now = cls.of(int(pid))
        return now if now and now.started == started else None

    def write(self, paths: LabPaths) -> None:
        (paths.run / "daemon.pid").write_text(f"{self.pid} {self.started}\n")


class Servers:
    """All of the lab's WSGI applications on one socket loop; each has its own worker threads."""

    def __init__(self) -> None:
        self._map: dict[int, Any] = {}

    def add(self, application: control.Wsgi, listening: socket.socket) -> None:
        import waitress.server  # type: ignore[import-untyped]  # it has no stubs

        waitress.server.create_server(
            application,
            map=self._map,
            sockets=[listening],
            threads=THREADS,
            connection_limit=CONNECTIONS_MAX,
            # The metadata service must see X-Forwarded-For in order to refuse it.
            clear_untrusted_proxy_headers=False,
            ident=None,
        )

    def run(self) -> None:
        from waitress import wasyncore

        wasyncore.loop(timeout=30.0, use_poll=True, map=self._map)


def _unix_socket(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)  # nobody else may open it, not even for a moment
    try:
        made.bind(str(path))
    finally:
        os.umask(before)
    made.listen(BACKLOG)
    return made


def _end(_signal: int, _frame: object) -> NoReturn:
    raise SystemExit(0)


def serve(paths: LabPaths, image_root: Path, ready: Callable[[], None]) -> None:
    """Bring the lab up and serve it until SIGTERM or SIGINT; removes all of it then."""
    from ec2_lab import hosts, vpc
    from ec2_lab.door import app as door_app

    # Before there is anything to remove: from here on a signal is an orderly end.
    signal.signal(signal.SIGTERM, _end)
    signal.signal(signal.SIGINT, _end)
    try:
        wires = vpc.Vpc(paths)
        door = door_app.build(paths, wires, hosts.Hosts(paths, image_root))
        local = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
        endpoint = _fresh_endpoint(local.getsockname()[1])
        door.front.rights.trust(endpoint.access_key_id)
        servers = Servers()
        servers.add(door.wsgi, local)
        for address in (API_ADDRESS, DYNAMODB_ADDRESS, S3_ADDRESS):
            servers.add(door.at(address), wires.listen("internet", address, API_PORT))
        servers.add(door.metadata, wires.listen("router", METADATA_ADDRESS, API_PORT))
        about = _about(paths, image_root, endpoint)
        servers.add(control.app(door.region, lambda: about), _unix_socket(paths.control_socket))
        endpoint.write(paths)
        log.info("lab %s is up, its API at %s", paths.name, endpoint.url)
        ready()
        servers.run()
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the cleaning is not to be interrupted
        log.info("lab %s ends", paths.name)
        hosts.sweep(paths)
        vpc.sweep(paths)


def _about(paths: LabPaths, image_root: Path, endpoint: Endpoint) -> dict[str, object]:
    return {
        "lab": paths.name,
        "pid": os.getpid(),
        "endpoint": endpoint.url,
        "region": endpoint.region,
        "image": str(image_root),
        "since": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="ec2_lab.daemon")
    parser.add_argument("--lab", required=True)
    parser.add_argument("--image", required=True, type=Path)
    parser.add_argument("--ready-fd", type=int, help="gets one line when the lab serves, then is closed")
    given = parser.parse_args()
    paths = LabPaths(given.lab)
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s.%(msecs)03d %(levelname)s %(name)s: %(message)s",
        datefmt="%Y-%m-%dT%H:%M:%S",
    )
    logging.getLogger("botocore").setLevel(logging.WARNING)
    me = Process.of(os.getpid())
    if me is None:
        raise CommandFailed("/proc does not show our own process", hint="mount /proc")
    me.write(paths)

    def ready() -> None:
        if given.ready_fd is not None:
            os.write(given.ready_fd, b"ready\n")
            os.close(given.ready_fd)

    status = 0
    try:
        serve(paths, given.image, ready)
    except SystemExit:
        log.info("all removed")
    except Exception:
        log.exception("lab %s failed", paths.name)
        status = 1
    with contextlib.suppress(OSError):
        sys.stderr.flush()
    # Workers may still wait for machines that are gone by now; nobody needs their answers.
    os._exit(status)


if __name__ == "__main__":
    main()
