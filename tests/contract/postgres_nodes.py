"""Two real PostgreSQL servers, each in a network namespace and a cgroup of its own, behind real gates.

node 10.9.0.1 ── veth ── 10.9.0.2 client namespace, which is the second node here
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from failover_agent.adapters.clock import SystemClock
from failover_agent.adapters.gate_table import GatePlan, table_text
from failover_agent.adapters.postgres import LocalPostgres, PostgresPlan
from failover_agent.adapters.systemd import looks
from failover_agent.checkup.host import look_again
from failover_agent.core import lsn
from failover_agent.core.model import Server
from failover_agent.errors import PostgresFailed
from tests.support.certificates import Authority

from .namespaces import entered, node_with_neighbours

T = TypeVar("T")

USER = "postgres"
MEMBERS = {"db1": "10.9.0.1", "db2": "10.9.0.2"}
READY_S = 120.0
# Until a fact that nothing stands in the way of has come true: initdb alone may take a minute on a busy
# machine, and an archiver that failed three times rests for one.
SOON_S = 180.0


def newest_bin_dir() -> Path:
    """Fails the test where there is none: a promise that was not tried must not look kept."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[4]))
    if not found:
        pytest.fail("no PostgreSQL server programs below /usr/lib/postgresql; ./run test installs them")
    return found[-1].parent


def cgroup_name(node: str) -> str:
    return f"contract-{os.getpid()}-{node}"


class CgroupUnit:
    """A unit as systemd would hold it: a condition, a cgroup, a process that says when it is ready."""

    def __init__(self, name: str, namespace: str, plan: PostgresPlan) -> None:
        root = next(
            p
            for p in (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))
            if (p / "cgroup.procs").exists()
        )
        self.name = name
        self._cgroup = root / name
        self._namespace = namespace
        self._plan = plan
        self._cgroup.mkdir(exist_ok=True)

    def start(self, timeout_s: float) -> None:
        if not self._plan.may_start.exists():
            raise PostgresFailed("condition failed", hint="the agent did not allow it")
        become = f"exec setpriv --reuid={USER} --regid={USER} --init-groups"
        server = f"{self._plan.program('postgres')} -D {self._plan.data_dir}"
        enter = f"echo $$ > {self._cgroup}/cgroup.procs"
        command = f"{enter}; {become} {server} -c config_file={self._plan.config_file}"
        log = (self._plan.data_dir.parent / "log").open("a")
        with entered(self._namespace):
            subprocess.Popen(
                ("sh", "-c", command),
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
                env={"PATH": os.environ["PATH"], "HOME": "/var/lib/postgresql"},
            )
        pid_file = self._plan.data_dir / "postmaster.pid"
        for left in looks(min(timeout_s, READY_S)):
            with contextlib.suppress(OSError, IndexError):
                lines = pid_file.read_text().splitlines()
                if int(lines[0]) in self.processes() and lines[7].strip() == "ready":
                    return
            if left <= 0:
                raise PostgresFailed(
                    "not ready", hint=(self._plan.data_dir.parent / "log").read_text()[-2000:]
                )

    def stop(self, timeout_s: float) -> None:
        self.kill(timeout_s)

    def kill(self, timeout_s: float) -> None:
        (self._cgroup / "cgroup.kill").write_text("1")
        for _left in looks(timeout_s):
            if not self.processes():
                return
        raise PostgresFailed(f"{self.processes()} survive SIGKILL", hint="They hang in the kernel.")

    def processes(self) -> list[int]:
        listing = self._cgroup / "cgroup.procs"
        return [int(line) for line in listing.read_text().split()] if listing.exists() else []

    def remove(self) -> None:
        self.kill(60)
        self._cgroup.rmdir()


@dataclass
class Node:
    name: str
    namespace: str
    plan: PostgresPlan
    unit: CgroupUnit
    postgres: LocalPostgres

    def sql(self, statement: str) -> Any:
        import psycopg

        with psycopg.connect(
            host=str(self.plan.socket_dir), user=USER, dbname=USER, autocommit=True
        ) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else None


def unanswered(node: Node, statement: str) -> None:
    """Said to a server that may never answer; an error is an answer as well."""
    import psycopg

    with contextlib.suppress(psycopg.Error):
        node.sql(statement)


@contextlib.contextmanager
def empty_nodes() -> Iterator[tuple[Node, Node]]:
    """Not in pytest's own directory: PostgreSQL's user must be able to walk into it."""
    with tempfile.TemporaryDirectory(prefix="pg-contract-") as place:
        Path(place).chmod(0o755)
        with two_nodes(Path(place)) as nodes:
            yield nodes


def certificates(place: Path) -> None:
    """A CA, and for each node a certificate; the keys belong to PostgreSQL's user."""
    authority = Authority(place)
    for name, address in MEMBERS.items():
        _cert, key = authority.certificate(name, address)
        shutil.chown(key, USER, USER)


def write_configuration(plan: PostgresPlan, shared: Path) -> None:
    """What role postgresql installs, less its comforts."""
    etc = plan.config_file.parent
    hba, ident = etc / "pg_hba.conf", etc / "pg_ident.conf"
    hba.write_text(
        "local all postgres peer map=primacy\n"
        "hostssl replication replicator 10.9.0.0/24 scram-sha-256\n"
        "hostssl postgres rewinder 10.9.0.0/24 scram-sha-256\n"
    )
    ident.write_text("primacy root postgres\nprimacy postgres postgres\n")
    plan.config_file.write_text(
        f"hba_file='{hba}'\nident_file='{ident}'\nlisten_addresses='*'\nport={plan.port}\n"
        f"unix_socket_directories='{plan.socket_dir}'\nssl=on\nssl_cert_file='{shared}/{plan.node}.crt'\n"
        f"ssl_key_file='{shared}/{plan.node}.key'\nwal_log_hints=on\nhot_standby=on\nwal_keep_size=256MB\n"
        "restart_after_crash=off\nshared_buffers=16MB\nmax_connections=30\nwal_receiver_timeout=5s\n"
        f"wal_retrieve_retry_interval=200ms\ninclude_if_exists='{plan.agent_config_file}'\n"
    )


def make_node(name: str, namespace: str, place: Path, shared: Path, bin_dir: Path) -> Node:
    for part in ("srv", "etc", "run", "state", "socket"):
        (place / part).mkdir(parents=True)
        if part in ("srv", "socket", "etc"):
            shutil.chown(place / part, USER, USER)
        else:  # what is the agent's alone is closed to everybody else, as systemd makes it
            (place / part).chmod(0o700)
    plan = PostgresPlan(
        node=name,
        version=int(bin_dir.parts[4]),
        bin_dir=bin_dir,
        data_dir=place / "srv/main",
        config_file=place / "etc/postgresql.conf",
        agent_config_file=place / "etc/agent.conf",
        user=USER,
        socket_dir=place / "socket",
        port=5432,
        replication_port=5433,
        members=MEMBERS,
        tls_ca=shared / "ca.crt",
        replication_secret=shared / "replication",
        rewind_secret=shared / "rewind",
        run_dir=place / "run",
        state_dir=place / "state",
    )
    write_configuration(plan, shared)
    unit = CgroupUnit(cgroup_name(name), namespace, plan)
    return Node(name, namespace, plan, unit, LocalPostgres(plan, unit, SystemClock()))


@contextlib.contextmanager
def two_nodes(place: Path) -> Iterator[tuple[Node, Node]]:
    bin_dir = newest_bin_dir()
    certificates(place)
    (place / "replication").write_text("a:strange\\secret\n")
    (place / "rewind").write_text("another 'secret'\n")
    gate = table_text(GatePlan(5432, 5433, tuple(MEMBERS.values()), (0, pwd.getpwnam(USER).pw_uid)))
    with node_with_neighbours("pg") as (first, second, _member):
        nodes = []
        for name, namespace in (("db1", first), ("db2", second)):
            with entered(namespace):
                subprocess.run(("nft", "-f", "-"), input=gate, text=True, check=True)
            nodes.append(make_node(name, namespace, place / name, place, bin_dir))
        try:
            yield nodes[0], nodes[1]
        finally:
            for node in nodes:
                log = node.plan.data_dir.parent / "log"
                print(f"--- {node.name}", log.read_text()[-3000:] if log.exists() else "", sep="\n")
                node.unit.remove()


def look(node: Node) -> Server:
    """What it is now: one look that met silence says more of the machine than of PostgreSQL."""
    seen = look_again(lambda: node.postgres.observe(fresh=True))
    assert isinstance(seen, Server), seen
    return seen


def until(fact: Callable[[], bool]) -> None:
    assert any(fact() for _left in looks(SOON_S, 0.05)), "did not come true in time"


def all_received(standby: Node, primary: Node) -> int:
    """Waits until the standby has all that the primary ever began to write; where that ends.

    By the position of inserts: what has been flushed may end within a record, for the WAL writer flushes
    whole pages, and a server that starts again has the whole records only.
    """

    def inserted() -> int:
        return lsn.parse(primary.sql("SELECT pg_current_wal_insert_lsn()")[0][0])

    until(lambda: look(standby).received_lsn == inserted())
    return look(standby).received_lsn


def taken(order: Callable[[], T]) -> T:
    """What comes of an order that gives up after seconds, repeated as the agent does."""
    for left in looks(SOON_S, 0.1):
        try:
            return order()
        except PostgresFailed as refused:
            if left <= 0:
                raise
            print(refused)
    raise AssertionError("the last look comes after the time is over")
