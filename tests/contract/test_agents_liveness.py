"""Two real agents: a primary that stands still, whose volume hangs, or is full, is left without loss (N4)."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import yaml

from failover_agent.adapters.postgres import process

from .postgres_nodes import Node, unanswered, until
from .test_agents import World, world  # noqa: F401  # a fixture is asked for by its name
from .test_probes import fill, mount

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]

LIVENESS = {
    "stuck_after_s": 12,
    "storage_hung_after_s": 10,
    "ballast_bytes": 64 << 20,
}  # the least that `patient` allows

TRIES = 3


@pytest.fixture
def pair(world: World) -> Iterator[tuple[World, Node, Node]]:  # noqa: F811
    """db1 serves and db2 streams, each on a file system of its own."""
    volumes = []
    for name, node in world.nodes.items():
        config = yaml.safe_load(world.configs[name].read_text())
        world.configs[name].write_text(yaml.safe_dump({**config, "liveness": LIVENESS}))
        volumes.append(node.plan.data_dir.parent)
        mount(world.place / f"{name}.img", volumes[-1], mib=1536)
    try:
        world.start("db1")
        world.start("db2")
        until(lambda: world.settled("db1", "db2"))
        yield world, world.nodes["db1"], world.nodes["db2"]
    finally:
        for volume in volumes:
            subprocess.run(("fsfreeze", "-u", str(volume)), check=False, capture_output=True)
        world.end()
        for node in world.nodes.values():
            node.unit.kill(10)
        for volume in volumes:
            subprocess.run(("umount", "--lazy", str(volume)), check=True)


def alarms(world: World, name: str) -> list[str]:  # noqa: F811
    rows = {m["name"]: m for m in world.status(name)["members"]}
    return list(rows[name].get("alarms", [])) if name in rows else []


def test_a_primary_that_stands_still_whose_volume_hangs_or_is_full_is_left(
    pair: tuple[World, Node, Node],
) -> None:
    world, db1, db2 = pair  # noqa: F811
    db1.sql("CREATE TABLE t (i int)")
    db1.sql("INSERT INTO t VALUES (1)")

    assert any(is_left_standing_still(world, db1, "db2") for _ in range(TRIES))
    db2.sql("INSERT INTO t VALUES (2)")
    until(lambda: db1.sql("SELECT count(*) FROM t") == [(2,)])

    volume = db2.plan.data_dir.parent
    subprocess.run(("fsfreeze", "-f", str(volume)), check=True)
    writer = threading.Thread(target=unanswered, args=(db2, "INSERT INTO t VALUES (3)"), daemon=True)
    writer.start()
    until(lambda: world.status("db1")["holder"] == "db1" and _takes_writes(db1))
    assert db1.sql("SELECT count(*) FROM t") == [(3,)], "all that was acknowledged, and nothing that was not"
    assert "storage-hung" in alarms(world, "db2")

    subprocess.run(("fsfreeze", "-u", str(volume)), check=True)
    until(lambda: world.settled("db1", "db2"))
    assert db2.sql("SELECT array_agg(i ORDER BY i) FROM t") == [([1, 2, 4],)]

    filler = db1.plan.data_dir.parent / "filler"
    fill(filler)
    until(lambda: world.status("db2")["holder"] == "db2" and _takes_writes(db2))
    assert db2.sql("SELECT array_agg(i ORDER BY i) FROM t") == [([1, 2, 4, 4],)]
    assert "disk-full" in alarms(world, "db1")
    filler.unlink()
    until(lambda: world.settled("db2", "db1") and alarms(world, "db1") == [])


def is_left_standing_still(world: World, node: Node, heir: str) -> bool:  # noqa: F811
    """Stops the postmaster of the primary; whether `heir` took over.

    False: restarted in place, which is right where a record of the background writer had not reached it.
    """
    postmaster = process.postmaster(node.unit, node.plan.program("postgres"))
    assert postmaster is not None
    os.kill(postmaster, signal.SIGSTOP)
    until(lambda: "no-progress" in alarms(world, node.name))
    assert world.status(node.name)["holder"] == node.name, "first people hear of it"
    until(lambda: is_gone(postmaster))  # killed: a stop would have hung
    until(lambda: world.settled(heir, node.name) or world.settled(node.name, heir))
    return world.settled(heir, node.name)


def is_gone(pid: int) -> bool:
    """Or a zombie, whose parent has not asked for it yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True


def _takes_writes(node: Node) -> bool:
    try:
        node.sql("INSERT INTO t VALUES (4)")
    except psycopg.Error:
        return False
    return True
