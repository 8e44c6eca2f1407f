"""What clients of a real cluster live through. Safety and order are asserted, never a tight time."""

from __future__ import annotations

from pathlib import Path

import pytest

from rehearsal.cluster import Cluster
from rehearsal.hurts import postmaster_killed
from rehearsal.steps import Stage, power_loss, switchover

from .conftest import WISH
from .judgement import assert_in_order, assert_safe

pytestmark = pytest.mark.lab


def test_after_a_power_loss_the_standby_takes_over_and_the_old_primary_comes_back(stage: Stage) -> None:
    victim = stage.cluster.primary()

    step = power_loss(stage)

    assert_safe(step)
    assert_in_order(step, "detected", "claimed", "promoted", "opened", "first_write")
    status = stage.cluster.wait_until_whole(WISH.nodes)
    assert status["holder"] != victim
    assert all(endpoint["target"] == status["holder"] for endpoint in status["endpoints"])


def test_a_switchover_loses_nothing_and_needs_no_rewind(stage: Stage) -> None:
    target = stage.cluster.heir()

    step = switchover(stage, to=target)

    assert_safe(step)
    assert step.lost == 0
    assert stage.cluster.primary() == target


def test_a_killed_postmaster_costs_no_acknowledged_write(stage: Stage) -> None:
    """N3: what is left of it is killed, and only who holds the end of its WAL goes on."""
    step = postmaster_killed(stage)

    assert_safe(step)
    assert step.lost == 0
    assert_in_order(step, "detected", "opened", "first_write")


def test_a_second_run_of_the_playbooks_changes_nothing_after_a_failover_either(
    cluster: Cluster, tmp_path: Path
) -> None:
    log = tmp_path / "second.log"
    cluster.wait_until_whole(WISH.nodes)
    before = cluster.primary()

    totals = cluster.play("site.yml", WISH, print, log)

    assert totals["changed"] == 0, changes(log)
    assert totals["failed"] == totals["unreachable"] == 0
    assert cluster.primary() == before


def changes(log: Path) -> str:
    """The tasks that changed something, each with its name."""
    lines, task = [], ""
    for line in log.read_text().splitlines():
        task = line if line.startswith("TASK [") else task
        if line.startswith(("changed:", "fatal:", "failed:")):
            lines += [task, line[:2000]]
    return "\n".join(lines)
