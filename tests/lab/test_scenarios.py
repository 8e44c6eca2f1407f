"""What clients of a real cluster live through. Safety and order are asserted, never a tight time."""

from __future__ import annotations

from pathlib import Path

import pytest

from failover_agent.core.timings import PROFILES
from rehearsal.cluster import Cluster
from rehearsal.history import acked_after
from rehearsal.leases import last_write
from rehearsal.steps import Stage, StepResult, agent_stopped, power_loss, switchover

from .conftest import WISH

pytestmark = pytest.mark.lab


def assert_safe(step: StepResult) -> None:
    assert step.double == 0, step
    assert step.lost_beyond_mode == 0, step


def assert_in_order(step: StepResult, *names: str) -> None:
    moments = [step.phases[name] for name in names]
    assert moments == sorted(moments), step.phases


def test_a_second_run_of_the_playbooks_changes_nothing(cluster: Cluster, tmp_path: Path) -> None:
    totals = cluster.play("site.yml", WISH, print, tmp_path / "second.log")

    assert totals["changed"] == 0, (tmp_path / "second.log").read_text()[-4000:]
    assert totals["failed"] == totals["unreachable"] == 0


def test_after_a_power_loss_the_standby_takes_over_and_the_old_primary_comes_back(stage: Stage) -> None:
    victim = stage.cluster.primary()

    step = power_loss(stage)

    assert_safe(step)
    assert_in_order(step, "detected", "claimed", "promoted", "opened", "first_write")
    status = stage.cluster.wait_until_whole(WISH.nodes)
    assert status["holder"] != victim
    assert all(endpoint["target"] == status["holder"] for endpoint in status["endpoints"])


def test_a_switchover_loses_nothing_and_needs_no_rewind(stage: Stage) -> None:
    old = stage.cluster.primary()
    target = next(node for node in stage.cluster.nodes() if node != old)

    step = switchover(stage, to=target)

    assert_safe(step)
    assert step.lost == 0
    assert stage.cluster.primary() == target


def test_a_frozen_agents_node_acknowledges_nothing_after_its_lease_ended(stage: Stage) -> None:
    """Goal: the gate alone keeps the promise. Method: freeze the agent's cgroup, PostgreSQL runs on."""
    victim = stage.cluster.primary()
    address = stage.cluster.nodes()[victim]
    timeline = max(ack.timeline for ack in stage.recorder.acks())

    step = agent_stopped(stage, seconds=60)

    assert_safe(step)
    renewed_at = last_write(stage.cluster.lab, address, step.began_at, step.healed_at) or step.began_at
    lease_ended = renewed_at + PROFILES[WISH.profile].ttl_s
    assert acked_after(stage.recorder.acks(), victim, timeline, lease_ended) == []


def test_the_playbooks_change_nothing_after_a_failover_either(cluster: Cluster, tmp_path: Path) -> None:
    cluster.wait_until_whole(WISH.nodes)
    before = cluster.primary()

    totals = cluster.play("site.yml", WISH, print, tmp_path / "after.log")

    assert totals["changed"] == 0, (tmp_path / "after.log").read_text()[-4000:]
    assert cluster.primary() == before
