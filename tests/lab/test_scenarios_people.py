"""What people do to a running cluster: pause failover, and end the primary's agent."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

import pytest

from rehearsal.cluster import Cluster
from rehearsal.hurts import agent_ended, postmaster_killed
from rehearsal.steps import Stage, result, wait_for_another
from rehearsal.waiting import wait_for, wait_until

from .conftest import WISH
from .judgement import assert_in_order, assert_safe

pytestmark = pytest.mark.lab

SOON_S = 60.0
LONG_S = 15.0  # over twice the ttl


def test_while_failover_is_paused_a_killed_postmaster_starts_again_where_it_was(stage: Stage) -> None:
    victim = stage.cluster.primary()

    with paused(stage.cluster, by=victim):
        step = postmaster_killed(stage)

        assert stage.cluster.primary() == victim
    assert_safe(step)
    assert step.lost == 0


def test_while_failover_is_paused_nobody_replaces_a_dead_primary_until_a_person_resumes(
    stage: Stage,
) -> None:
    """Goal: both halves of the promise. Method: every survivor says that the pause alone keeps it back, and
    nobody writes, long after the lease has ended too; then one that does not hold it ends the pause.
    """
    cluster, victim = stage.cluster, stage.cluster.primary()
    survivors = sorted(set(cluster.nodes()) - {victim})

    with paused(cluster, by=survivors[0]):
        fault_at = time.time()
        cluster.lab.fault("crash", victim)
        try:
            for node in survivors:
                wait_for(f"{node} kept back", partial(kept_back, cluster, node, fault_at), SOON_S)
            wait_until(fault_at + LONG_S)
            written = [ack for ack in stage.recorder.sent_since(fault_at) if ack.node != victim]
            resumed_at = time.time()
            cluster.order(survivors[-1], "resume")
            wait_for_another(stage, victim, resumed_at)
        finally:
            powered_at = time.time()
            cluster.lab.fault("start", victim)

    assert written == []
    rejoined_s = cluster.wait_until_streaming(victim, powered_at)
    step = result("paused", stage, fault_at, powered_at, rejoined_s, may_lose_since=None)
    assert_safe(step)
    assert step.lost == 0
    assert cluster.wait_until_whole(WISH.nodes)["holder"] != victim


def test_a_primary_whose_agent_is_ended_for_good_is_replaced_without_a_loss(stage: Stage) -> None:
    """`systemctl stop failover-agent`, with nothing said before: as after a power loss, and it comes back."""
    victim = stage.cluster.primary()

    step = agent_ended(replace(stage, still_s=LONG_S))

    assert_safe(step)
    assert step.lost == 0
    assert_in_order(step, "detected", "claimed", "promoted", "opened", "first_write")
    assert stage.cluster.wait_until_whole(WISH.nodes)["holder"] != victim


@contextmanager
def paused(cluster: Cluster, by: str) -> Iterator[None]:
    """Failover is paused while the block runs, unless the block resumes it; `by`: where it is ordered."""
    cluster.order(by, "pause")
    try:
        for node in cluster.nodes():
            wait_for(f"{node} knows of the pause", partial(is_paused, cluster, node), SOON_S)
        yield
    finally:
        cluster.order(cluster.primary(), "resume")


def is_paused(cluster: Cluster, node: str) -> bool:
    status = cluster.status_of(node)
    return status is not None and status["paused"]


def kept_back(cluster: Cluster, node: str, since: float) -> bool:
    """Whether `node` has said since then that it could take the lease and the pause keeps it from that."""
    words = ("journalctl", "-u", "failover-agent", "--since", f"@{since:.3f}", "-o", "cat", "--no-pager")
    return "rule=paused" in cluster.lab.execute(node, *words, check=False)
