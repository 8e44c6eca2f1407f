"""PostgreSQL archives into a directory and restores from it through our programs (N6)."""

from __future__ import annotations

import contextlib
import os
import pwd
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from failover_agent.adapters.app import App
from failover_agent.adapters.server import Doors
from failover_agent.core import lsn
from failover_agent.core.archive import Line, why_not_archive, why_not_restore
from failover_agent.core.model import Holder, LeaseItem, Mode, NodeReport, Server, ServerState
from failover_agent.core.snapshot import Mine
from tests.support.seals import SealsNothing

from .namespaces import node_with_neighbours
from .postgres_nodes import USER, Node, certificates, make_node, newest_bin_dir, until

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]

SOURCES = Path(__file__).parents[2] / "src"
HELD = Mine(LeaseItem("c", "s", Holder("db1", "i", "n"), 3, "t", 6, 1, 0), valid_until=0, was_primary=True)


class Agent(SealsNothing):
    """Decides as the agent does, over a lease and a line of timelines that the test gives and takes."""

    def __init__(self) -> None:
        self.mine: Mine | None = HELD
        self.line: Line | None = None

    def may_archive(self, name: str) -> dict[str, object]:
        why = why_not_archive(self.mine, name)
        return {"may": not why, "why": why}

    def may_restore(self, name: str, segment_bytes: int) -> dict[str, object]:
        why = why_not_restore(self.line, name, segment_bytes)
        return {"may": not why, "why": why}

    def report(self) -> NodeReport:
        return NodeReport("db1", "a", "i", Server(ServerState.PRIMARY), 3, holds_lease=True)

    def cluster(self) -> dict[str, object]:
        return {}

    def wake(self) -> None: ...

    def grant_rejoin(self, name: str) -> bool:
        return name == ""

    def request_mode(self, mode: Mode) -> dict[str, object]:  # as the door has it
        raise NotImplementedError

    def request_pause(self, pause: bool) -> dict[str, object]:  # as the door has it
        raise NotImplementedError

    def request_failover(self, to: str, accept_loss: bool) -> dict[str, object]:
        return {"ok": True, "target": to, "done": accept_loss}

    def unfence(self, name: str) -> dict[str, object]:
        return {"node": name}

    def confirm_fenced(self, name: str) -> dict[str, object]:
        return {"node": name}

    def request_switchover(self, to: str) -> dict[str, object]:
        return {"to": to}


@pytest.fixture
def place() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="archive-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


@pytest.fixture
def agent(place: Path) -> Iterator[Agent]:
    agent = Agent()
    doors = Doors(App(agent, ["db1"], postgres_uid=pwd.getpwnam(USER).pw_uid))
    doors.open_unix(place / "door", USER)
    yield agent
    doors.close()


@pytest.fixture
def node(place: Path, agent: Agent) -> Iterator[Node]:
    bin_dir = newest_bin_dir()
    assert bin_dir is not None
    with contextlib.ExitStack() as stack:
        certificates(place)
        (place / "replication").write_text("one\n")
        (place / "rewind").write_text("two\n")
        (place / "archive").mkdir()
        shutil.chown(place / "archive", USER)
        namespace, _other, _third = stack.enter_context(node_with_neighbours("ar"))
        node = make_node("db1", namespace, place / "db1", place, bin_dir)
        stack.callback(node.unit.remove)
        archive = f"test ! -f {place}/archive/%f && cp %p {place}/archive/%f"
        restore = f"cp {place}/archive/%f %p"
        with node.plan.config_file.open("a") as config:
            config.write(f"archive_mode=on\narchive_command={behind('archive', place, archive)}\n")
            config.write(f"restore_command={behind('restore', place, restore)}\n")
        node.postgres.init(lambda _: None)
        node.postgres.start_primary()
        yield node


def behind(what: str, place: Path, command: str) -> str:
    """As a node has it, less its venv: the system's Python and nothing but the files that are needed."""
    for part in (
        "__init__.py",
        "adapters/__init__.py",
        "adapters/archive.py",
        "cli/__init__.py",
        "cli/archive.py",
    ):
        copy = place / "program/failover_agent" / part
        copy.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(SOURCES / "failover_agent" / part, copy)
    script = place / f"program/failover-{what}"
    script.write_text(f"from failover_agent.cli.archive import {what}_main\n\n{what}_main()\n")
    whole = f"/usr/bin/python3 {script} {place}/door %f {shlex.quote(command)}"
    return "'" + whole.replace("'", "''") + "'"


def archiver(node: Node) -> tuple[int, int, str, str]:
    """Archived and failed so far, the last name archived, the last that failed."""
    [row] = node.sql(
        "SELECT archived_count, failed_count, last_archived_wal, last_failed_wal FROM pg_stat_archiver"
    )
    return row[0], row[1], row[2] or "", row[3] or ""


def end_segment(node: Node) -> str:
    """Write something, end the segment, and say its name."""
    node.sql("INSERT INTO t VALUES (1)")
    name = str(node.sql("SELECT pg_walfile_name(pg_current_wal_lsn())")[0][0])
    node.sql("SELECT pg_switch_wal()")
    return name


def test_archiving_stops_with_the_lease_and_goes_on_with_it(node: Node, agent: Agent, place: Path) -> None:
    node.sql("CREATE TABLE t (i int)")
    first = end_segment(node)
    until(lambda: (place / "archive" / first).exists())
    until(lambda: archiver(node)[2] >= first)
    failed_before = archiver(node)[1]

    agent.mine = None
    second = end_segment(node)
    until(lambda: archiver(node)[1] > failed_before)
    assert archiver(node)[3] == second
    assert not (place / "archive" / second).exists()

    agent.mine = HELD
    third = end_segment(node)
    until(lambda: (place / "archive" / third).exists())
    assert (place / "archive" / second).exists(), "nothing is skipped"
    assert "does not hold the lease" in (node.plan.data_dir.parent / "log").read_text()


def test_a_standby_replays_no_old_timeline_past_its_fork(node: Node, agent: Agent, place: Path) -> None:
    """A primary was deposed at the fork and archived on. Without the fork the same WAL is taken."""
    node.sql("CREATE TABLE t (i int)")
    first = end_segment(node)
    until(lambda: (place / "archive" / first).exists())
    node.postgres.stop(30)
    data, before = node.plan.data_dir, place / "before"
    subprocess.run(("cp", "-a", str(data), str(before)), check=True)
    node.postgres.start_primary()
    rows = int(node.sql("SELECT count(*) FROM t")[0][0])
    fork = lsn.parse(str(node.sql("SELECT pg_current_wal_lsn()")[0][0]))
    beyond = end_segment(node)
    until(lambda: (place / "archive" / beyond).exists())
    node.postgres.stop(30)
    shutil.rmtree(data)
    before.rename(data)

    agent.line = Line(2, ((1, fork),))
    node.postgres.start_standby("")
    log = data.parent / "log"
    until(lambda: f"{beyond} is not taken from the archive" in log.read_text())
    assert node.sql("SELECT count(*) FROM t") == [(rows,)]

    agent.line = Line(1, ())
    until(lambda: node.sql("SELECT count(*) FROM t") == [(rows + 1,)])
