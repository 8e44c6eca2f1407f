"""A server that was there before Primacy becomes a cluster's first node, on a lab of its own."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rehearsal.cluster import Cluster, Wish
from rehearsal.errors import BuildFailed
from rehearsal.lab import Lab

pytestmark = pytest.mark.lab

LAB = "adoption"
WISH = Wish(nodes=2)
OLD_DIR = "/var/lib/postgresql/17/main"
NAMED = (
    *("-e", "postgresql_adopt_host=db1"),
    *("-e", f"postgresql_adopt_data_dir={OLD_DIR}"),
    *("-e", "postgresql_adopt_stop=true"),
)
INSTALL_S = 400
SINGLE_SERVER = """
export DEBIAN_FRONTEND=noninteractive
apt-get -q update && apt-get -q -y --no-install-recommends install postgresql-17
printf 'wal_log_hints = on\\nwork_mem = 7MB\\n' >/etc/postgresql/17/main/conf.d/own.conf
systemctl restart postgresql@17-main
runuser -u postgres -- psql -c 'create table precious as select generate_series(1, 1000) n'
"""


@pytest.fixture
def lab() -> Iterator[Lab]:
    lab = Lab(LAB)
    try:
        lab.down()  # what a killed run left is no fresh region
        lab.up(sys.stderr)
        yield lab
    finally:
        lab.down()


def on(lab: Lab, node: str, statement: str, socket_dir: str) -> str:
    words = ("psql", "-h", socket_dir, "-XAtc", statement)
    return lab.execute(node, "runuser", "-u", "postgres", "--", *words, check=False).strip()


def test_data_that_nobody_named_is_refused_untouched_and_data_that_is_named_begins_the_cluster(
    lab: Lab, tmp_path: Path
) -> None:
    cluster, rows = Cluster(lab), "select count(*) from precious"
    cluster.play("provision.yml", WISH, print, tmp_path / "provision.log")
    cluster.play("hosts.yml", WISH, print, tmp_path / "nat.log", "--limit", "localhost:nat")
    lab.execute("db1", "bash", "-euxc", SINGLE_SERVER, timeout_s=INSTALL_S)

    with pytest.raises(BuildFailed):
        cluster.play("hosts.yml", WISH, print, tmp_path / "refused.log", "--limit", "localhost:db")

    assert "DataDirectoryExists" in (tmp_path / "refused.log").read_text()
    assert on(lab, "db1", rows, "/var/run/postgresql") == "1000", "the old server goes on"

    cluster.play("site.yml", WISH, print, tmp_path / "adopt.log", *NAMED)

    status = cluster.wait_until_whole(WISH.nodes)
    assert status["holder"] == "db1"
    for node in ("db1", "db2"):
        assert on(lab, node, rows, "/run/postgresql") == "1000", node
        assert on(lab, node, "show work_mem", "/run/postgresql") == "7MB", node
    assert lab.execute("db1", "ls", OLD_DIR).split(), "the original stays where it was"
