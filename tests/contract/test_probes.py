"""The probes against a real PostgreSQL on a volume of its own: what hangs, what is busy, what is full."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from failover_agent.adapters.clock import SystemClock
from failover_agent.adapters.postgres import process
from failover_agent.adapters.probe_disk import BALLAST
from failover_agent.adapters.probes import NodeProbes
from failover_agent.core import liveness
from failover_agent.core.health import Health, Limits, Renewals
from failover_agent.core.liveness import FULL_BYTES, Pulse
from failover_agent.core.model import Server, ServerState
from failover_agent.errors import PostgresFailed

from .namespaces import node_with_neighbours
from .postgres_nodes import Node, certificates, look, make_node, newest_bin_dir, unanswered, until

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]

LIMITS = Limits(stuck_after_s=6.5, storage_hung_after_s=4.5, ballast_bytes=2 * FULL_BYTES)
VOLUME_MIB = 640


class Watch:
    """Takes the pulse as the decision round does, several times a second, on a thread of its own."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._probes = NodeProbes(node.plan, LIMITS, SystemClock())
        self._over = threading.Event()
        self._pulse: Pulse | None = None
        self.health = Health()
        self.worst_stuck_s = 0.0

    def __enter__(self) -> Watch:
        self._probes.start()
        self._probes.watch_primary(True)
        self._thread = threading.Thread(target=self._rounds)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()
        self._probes.stop()

    def _rounds(self) -> None:
        while not self._over.wait(0.2):
            seen = self._node.postgres.observe()
            readings, now = self._probes.readings(), SystemClock().now()
            self._pulse = liveness.beat(self._pulse, readings, seen, True, now)
            self.health = liveness.judge(self._pulse, LIMITS, Renewals())
            self.worst_stuck_s = max(self.worst_stuck_s, liveness.stuck_s(self.health))

    def begin_anew(self) -> None:
        self.worst_stuck_s = 0.0

    def is_stuck(self) -> bool:
        return liveness.is_stuck(self.health, LIMITS)


@pytest.fixture(scope="module")
def one_node() -> Iterator[Node]:
    """A primary whose data lies on an ext4 of its own, reserved blocks and all."""
    bin_dir = newest_bin_dir()
    assert bin_dir is not None
    with contextlib.ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="probes-")))
        place.chmod(0o755)
        certificates(place)
        (place / "replication").write_text("one\n")
        (place / "rewind").write_text("two\n")
        namespace, _other, _third = stack.enter_context(node_with_neighbours("pr"))
        node = make_node("db1", namespace, place / "db1", place, bin_dir)
        volume = node.plan.data_dir.parent
        mount(place / "disk.img", volume)
        stack.callback(lambda: subprocess.run(("umount", str(volume)), check=True))
        stack.callback(node.unit.remove)
        stack.callback(
            lambda: subprocess.run(("fsfreeze", "-u", str(volume)), check=False, capture_output=True)
        )
        with node.plan.config_file.open("a") as config:
            config.write("max_wal_size=64MB\nmin_wal_size=32MB\nsuperuser_reserved_connections=5\n")
        node.postgres.init(lambda _: None)
        yield node


@pytest.fixture
def node(one_node: Node) -> Node:
    """Running, whatever the test before left, and with an empty table."""
    if look(one_node).state is not ServerState.PRIMARY:
        one_node.postgres.start_primary()
    one_node.sql("DROP TABLE IF EXISTS t")
    one_node.sql("CREATE TABLE t (pad text)")
    return one_node


def mount(image: Path, volume: Path, mib: int = VOLUME_MIB) -> None:
    with image.open("wb") as file:
        file.truncate(mib << 20)
    subprocess.run(("mkfs.ext4", "-q", "-F", str(image)), check=True)
    subprocess.run(("mount", "-o", "loop", str(image), str(volume)), check=True)
    subprocess.run(("chown", "postgres:postgres", str(volume)), check=True)


def postmaster(node: Node) -> int:
    pid = process.postmaster(node.unit, node.plan.program("postgres"))
    assert pid is not None
    return pid


def connect(node: Node) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(
        host=str(node.plan.socket_dir), user="postgres", dbname="postgres", autocommit=True
    )


@contextlib.contextmanager
def standing_still(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def test_a_postmaster_that_stands_still_is_stuck_unless_its_sessions_commit(node: Node) -> None:
    with Watch(node) as watch, connect(node) as client:

        def commits_and_no_new_session_is_to_be_had() -> bool:
            client.execute("INSERT INTO t VALUES ('x')")
            assert not watch.is_stuck(), "an open session commits"
            return watch.health.no_session_s >= LIMITS.stuck_after_s + 2  # so that stuck would be seen

        until(lambda: watch.health.fsync_waits_s == 0 and watch.health.free_bytes > 0)
        with standing_still(postmaster(node)):
            until(commits_and_no_new_session_is_to_be_had)

            until(watch.is_stuck)
        until(lambda: liveness.stuck_s(watch.health) == 0)


def test_a_look_goes_on_by_its_kept_session_where_no_new_one_is_to_be_had(node: Node) -> None:
    """Tried again: a look that takes too long, as on a busy machine, gives its session up."""

    def goes_on() -> bool:
        look(node)
        with standing_still(postmaster(node)):
            return all(isinstance(node.postgres.observe(fresh=True), Server) for _ in range(3))

    until(goes_on)


def test_a_server_whose_every_process_stands_still_is_stuck_and_can_be_killed(node: Node) -> None:
    with Watch(node) as watch:
        for pid in node.unit.processes():
            os.kill(pid, signal.SIGSTOP)
        until(watch.is_stuck)
        node.postgres.kill(5)
        assert look(node).state is ServerState.STOPPED


def test_an_overload_is_not_a_death(node: Node) -> None:
    """Every slot for clients taken, all of them fighting for one row and one lock."""
    node.sql("CREATE TABLE hot (n int)")
    node.sql("INSERT INTO hot VALUES (0)")
    over = threading.Event()

    def storm() -> None:
        with contextlib.suppress(psycopg.Error), connect(node) as client:
            while not over.is_set():
                with client.transaction():
                    client.execute("LOCK TABLE hot IN ACCESS EXCLUSIVE MODE")
                    client.execute("UPDATE hot SET n = n + 1")
                    client.execute("SELECT sum(sqrt(i)) FROM generate_series(1, 200000) i")

    storms = [threading.Thread(target=storm, daemon=True) for _ in range(22)]
    with Watch(node) as watch:
        until(lambda: watch.health.free_bytes > 0)
        watch.begin_anew()
        for one in storms:
            one.start()
        over.wait(12)
        over.set()
        for one in storms:
            one.join(60)
        assert watch.worst_stuck_s < LIMITS.stuck_after_s
        assert int(node.sql("SELECT n FROM hot")[0][0]) > 10, "they did fight"


def test_a_volume_that_hangs_is_seen_and_postgresql_left_without_a_wait(node: Node) -> None:
    volume = node.plan.data_dir.parent
    with Watch(node) as watch:
        until(lambda: watch.health.free_bytes > 0)
        assert not watch.health.hung
        subprocess.run(("fsfreeze", "-f", str(volume)), check=True)
        writer = threading.Thread(target=unanswered, args=(node, "INSERT INTO t VALUES ('x')"), daemon=True)
        writer.start()
        begun = SystemClock().now()
        until(lambda: watch.health.hung)
        assert SystemClock().now() - begun < LIMITS.storage_hung_after_s + 30
        seen = look(node)  # which touches nothing that hangs
        assert seen.received_lsn > 0, "what was flushed is known without the volume"

        begun = SystemClock().now()
        with pytest.raises(PostgresFailed):
            node.postgres.kill(1)
        assert SystemClock().now() - begun < 30  # it gives up, and does not hang with it
        assert node.unit.processes(), "the writer hangs in the kernel"

        subprocess.run(("fsfreeze", "-u", str(volume)), check=True)
        until(lambda: not node.unit.processes())
        until(lambda: not watch.health.hung)


def test_the_ballast_brings_a_full_volume_back(node: Node) -> None:
    volume, filler = node.plan.data_dir.parent, node.plan.data_dir.parent / "filler"
    ballast = volume / BALLAST
    with Watch(node) as watch:
        until(lambda: watch.health.ballast)
        assert ballast.stat().st_blocks * 512 >= LIMITS.ballast_bytes
        room = watch.health.free_bytes
        assert not watch.health.full

        fill(filler)
        until(lambda: watch.health.full)
        until(lambda: not ballast.exists())
        until(lambda: watch.health.free_bytes >= LIMITS.ballast_bytes // 2)
        assert watch.health.full, "it stays full as long as the ballast has no room"
        if look(node).state is not ServerState.PRIMARY:
            node.postgres.start_primary()
        node.sql("INSERT INTO t SELECT repeat('x', 1000) FROM generate_series(1, 1000)")

        filler.unlink()
        until(lambda: watch.health.ballast and not watch.health.full)
        assert watch.health.free_bytes > room // 2
        assert node.sql("SELECT count(*) FROM t") == [(1000,)]


def fill(path: Path) -> None:
    """Every block that is left, those kept for root included."""
    with path.open("wb") as file, contextlib.suppress(OSError):
        size = 0
        for step in (1 << 24, 1 << 20, 1 << 12):
            with contextlib.suppress(OSError):
                while True:
                    os.posix_fallocate(file.fileno(), size, step)
                    size += step
