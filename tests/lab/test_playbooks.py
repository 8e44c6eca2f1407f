"""The playbooks that change a running cluster, and the two that end it; in this order, last of all.

Each leaves what the next begins with. Removal and teardown end the cluster that the other scenarios share,
so conftest puts this module behind them.
"""

from __future__ import annotations

import json
import shutil
import time
from functools import partial
from pathlib import Path

import pytest

from rehearsal.cluster import ROOT, Cluster
from rehearsal.errors import BuildFailed
from rehearsal.history import longest_gap
from rehearsal.steps import Stage
from rehearsal.waiting import wait_for

from .conftest import WISH
from .judgement import assert_all_there, assert_one_writer

pytestmark = pytest.mark.lab

DECLARED = {
    "postgresql_roles": [
        {"name": "app", "password_file": "app"},
        {"name": "readers"},
        {"name": "billing", "password_file": "billing", "attributes": "CREATEDB", "member_of": ["readers"]},
    ],
    "postgresql_databases": [{"name": "app", "owner": "app"}, {"name": "billing", "owner": "billing"}],
    "postgresql_extensions": [{"name": "pg_trgm", "database": "billing"}],
    "postgresql_hba_entries": [{"database": "billing", "user": "billing", "address": "10.99.0.0/16"}],
    "postgresql_settings": {"work_mem": "8MB"},
}
SOUGHT = """
select (select rolcreatedb and rolcanlogin from pg_roles where rolname = 'billing'),
 (select not rolcanlogin from pg_roles where rolname = 'readers'),
 pg_has_role('billing', 'readers', 'member'),
 (select pg_get_userbyid(datdba) = 'billing' from pg_database where datname = 'billing'),
 current_setting('work_mem') = '8MB',
 (select count(*) = 1 from pg_hba_file_rules where database = '{billing}' and address = '10.99.0.0')
"""
EXTENSIONS = "select count(*) from pg_extension where extname = 'pg_trgm'"
CHANGED_VERSION = "0.1.999"
STATES_S = 120


def test_what_the_inventory_declares_is_made_and_a_check_finds_nothing_to_change(
    cluster: Cluster, tmp_path: Path
) -> None:
    words = ("-e", json.dumps(DECLARED))

    totals = cluster.play("site.yml", WISH, print, tmp_path / "declared.log", *words)

    assert totals["changed"] > 0
    for node in cluster.nodes():
        # A standby replays after the commit: that waits for a flush at most.
        made = partial(answers, cluster, node, SOUGHT, "t|t|t|t|t|t")
        wait_for(f"what is declared on {node}", made, STATES_S)
        made = partial(answers, cluster, node, EXTENSIONS, "1", "billing")
        wait_for(f"the extension on {node}", made, STATES_S)
    checked = cluster.play("site.yml", WISH, print, tmp_path / "check.log", *words, "--check")
    assert checked["changed"] == checked["failed"] == 0, (tmp_path / "check.log").read_text()[-4000:]


def test_an_upgrade_of_the_agents_is_no_failover_and_loses_nothing(stage: Stage, tmp_path: Path) -> None:
    cluster, before = stage.cluster, stage.cluster.wait_until_whole(WISH.nodes)
    source = another_release(tmp_path / "source")
    began = time.time()

    log = tmp_path / "upgrade.log"
    cluster.play("upgrade_agent.yml", WISH, print, log, "-e", f"failover_agent_source={source}")

    ended = time.time()
    after = cluster.wait_until_whole(WISH.nodes)
    assert (after["holder"], after["epoch"]) == (before["holder"], before["epoch"])
    assert all(member["version"].startswith(CHANGED_VERSION) for member in after["members"]), after
    assert restarted_in_order(log.read_text())[-1] == before["holder"], "the holder is the last"
    wait_for("a write after the upgrade", lambda: stage.recorder.acked_since(ended), timeout_s=30)
    gap = longest_gap(list(stage.recorder.acks()), "writer", began, ended)
    print(f"longest gap between writes: {gap.seconds if gap else None} s")
    assert_one_writer(stage.recorder)
    assert_all_there(stage.recorder)


def another_release(place: Path) -> Path:
    """This repository's agent under another version."""
    shutil.copytree(ROOT / "src/failover_agent", place / "src/failover_agent")
    for name in ("pyproject.toml", "README.md", "LICENSE", "requirements-node.lock"):
        shutil.copy(ROOT / name, place / name)
    project = place / "pyproject.toml"
    text = project.read_text()
    changed = text.replace('version = "0.1.0"', f'version = "{CHANGED_VERSION}"', 1)
    assert changed != text
    project.write_text(changed)
    return place


def restarted_in_order(log: str) -> list[str]:
    parts = log.split("TASK [failover_agent : Start the agent anew]")[1:]
    return [part.split("changed: [", 1)[1].split("]", 1)[0] for part in parts]


def test_a_removal_leaves_one_writer_that_outlives_a_reboot_and_runs_once(
    stage: Stage, tmp_path: Path
) -> None:
    cluster = stage.cluster
    primary = cluster.primary()
    standbys = [node for node in cluster.nodes() if node != primary]
    confirmed = ("-e", "remove_confirm=primacy")
    alone = ("-e", json.dumps({"remove_hosts": [primary]}))
    for refused in ((), (*confirmed, *alone)):
        with pytest.raises(BuildFailed):
            cluster.play("remove.yml", WISH, print, tmp_path / "refused.log", *refused)
    assert cluster.primary() == primary

    cluster.play("remove.yml", WISH, print, tmp_path / "remove.log", *confirmed)

    ended = time.time()
    wait_for("a write after the removal", lambda: stage.recorder.acked_since(ended), timeout_s=30)
    assert {ack.node for ack in stage.recorder.acks() if ack.sent > ended} == {primary}
    assert_one_writer(stage.recorder)
    again = cluster.play("remove.yml", WISH, print, tmp_path / "again.log", *confirmed)
    assert again["changed"] == 0

    for verb in ("crash", "start"):
        for host in (primary, *standbys):
            cluster.lab.fault(verb, host)
    recovers = "select pg_is_in_recovery()"
    wait_for("the primary after its reboot", lambda: cluster.ask(primary, recovers) == "f", STATES_S)
    streams = "select count(*) from pg_stat_wal_receiver where status = 'streaming'"
    for standby in standbys:
        wait_for(f"{standby} after its reboot", partial(answers, cluster, standby, streams, "1"), STATES_S)
        assert cluster.ask(standby, recovers) == "t"


def answers(cluster: Cluster, node: str, statement: str, wanted: str, database: str = "postgres") -> bool:
    return cluster.ask(node, statement, database) == wanted


def test_a_teardown_asks_first_and_leaves_nothing_but_the_data_volumes(
    cluster: Cluster, tmp_path: Path
) -> None:
    nodes = set(cluster.nodes())
    with pytest.raises(BuildFailed):
        cluster.play("teardown.yml", WISH, print, tmp_path / "refused.log")
    assert set(cluster.nodes()) == nodes

    cluster.play("teardown.yml", WISH, print, tmp_path / "teardown.log", "-e", "teardown_confirm=primacy")
    again = cluster.play(
        "teardown.yml", WISH, print, tmp_path / "again.log", "-e", "teardown_confirm=primacy"
    )

    assert again["changed"] == 0
    assert [host for host in cluster.lab.hosts() if host["state"] == "running"] == []
    assert "vol-" in (tmp_path / "again.log").read_text(), "the volumes that stay are named"
