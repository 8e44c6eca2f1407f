"""Fencing by EC2: who held the lease is stopped or cut off before another node is promoted."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from rehearsal.cluster import Cluster
from rehearsal.hurts import frozen_agent
from rehearsal.lab import Lab
from rehearsal.phases import Phase, read_phases
from rehearsal.steps import Stage, power_loss, result, wait_for_another
from rehearsal.waiting import wait_for

from .conftest import WISH
from .fences import (
    acl_of,
    acl_that_lets_nothing_pass,
    alone_in_its_subnet,
    fence_by,
    rights,
    settings_kept,
    state,
    waited_for,
)
from .judgement import assert_safe

pytestmark = pytest.mark.lab

SOON_S = 60.0
TIMEOUT_S = 30.0  # of a fence: longer than the lab takes to stop a machine, also on a busy host


@pytest.fixture(scope="module", autouse=True)
def settings_of_before(cluster: Cluster) -> Iterator[None]:
    with settings_kept(cluster, WISH.nodes):
        yield


def phase_of(cluster: Cluster, name: str, since: float) -> Phase | None:
    phases = read_phases(cluster.lab, cluster.lab.running("db"), since)
    return next((phase for phase in phases if phase.name == name), None)


def assert_fenced_before_promoted(stage: Stage, victim: str, since: float) -> None:
    """By the claimant's own phases, and by the cluster's word for whom it has fenced."""
    fenced, promoted = (phase_of(stage.cluster, name, since) for name in ("fenced", "promoted"))
    assert fenced is not None
    assert promoted is not None
    assert fenced.node == promoted.node
    assert fenced.at <= promoted.at
    wait_for(f"{victim} among the fenced", lambda: named_fenced(stage.cluster, victim) == [victim], SOON_S)


def another(cluster: Cluster, victim: str) -> str:
    """Who is cut off answers as well, and knows nothing."""
    return next(node for node in cluster.nodes() if node != victim)


def named_fenced(cluster: Cluster, victim: str) -> list[str] | None:
    status = cluster.status_of(another(cluster, victim))
    return list(status["fencing"]["fenced"]) if status else None


def let_back(stage: Stage, victim: str, since: float) -> None:
    """By a person's word on another node; the cluster is whole, and nobody was told what is lost."""
    cluster, healed_at = stage.cluster, time.time()
    cluster.order(another(cluster, victim), "unfence", victim, "--yes")
    rejoined_s = cluster.wait_until_streaming(victim, healed_at)
    wait_for("nobody to be fenced", lambda: named_fenced(cluster, victim) == [], SOON_S)
    assert_safe(result("fenced", stage, since, healed_at, rejoined_s, may_lose_since=None))
    assert cluster.wait_until_whole(WISH.nodes)["holder"] != victim


def test_with_policy_wait_nobody_is_promoted_before_ec2_shows_the_lost_primary_stopped(stage: Stage) -> None:
    """The nodes' right to stop one another is missing at first: the claimant waits, and names whom for."""
    cluster, lab = stage.cluster, stage.cluster.lab
    fence_by(cluster, WISH.nodes, method="stop-instance", when_unanswered="wait")
    victim, began = cluster.primary(), time.time()
    lab.fault("crash", victim)
    wait_for(f"a claimant that waits for {victim}", lambda: waited_for(cluster) == {victim}, SOON_S)
    assert state(lab, victim) == "running", "a power loss is nothing that EC2 sees"
    assert phase_of(cluster, "promoted", began) is None

    with rights(lab, "stop-instance"):
        wait_for_another(stage, victim, began)
        assert state(lab, victim) == "stopped"
        assert_fenced_before_promoted(stage, victim, began)
        let_back(stage, victim, began)


def test_with_policy_promote_a_cut_off_primary_is_stopped_first_and_a_refusal_holds_nobody_up(
    stage: Stage,
) -> None:
    cluster, lab = stage.cluster, stage.cluster.lab
    fence_by(cluster, WISH.nodes, method="stop-instance", when_unanswered="promote", timeout_s=TIMEOUT_S)
    victim, began = cluster.primary(), time.time()
    with rights(lab, "stop-instance"):
        with cut(lab, victim):
            wait_for_another(stage, victim, began)
            assert state(lab, victim) == "stopped"
            assert_fenced_before_promoted(stage, victim, began)
        let_back(stage, victim, began)

    began = time.time()
    step = power_loss(stage)
    assert_safe(step)
    assert step.phases["first_write"] < TIMEOUT_S
    assert passed_over(cluster, began)
    cluster.wait_until_whole(WISH.nodes)


@contextmanager
def cut(lab: Lab, host: str) -> Iterator[None]:
    lab.fault("cut", host)
    try:
        yield
    finally:
        lab.fault("heal", host)


def passed_over(cluster: Cluster, since: float) -> bool:
    words = ("journalctl", "-u", "failover-agent", "-o", "cat", "--no-pager", f"--since=@{int(since)}")
    return any("fence-passed-over" in cluster.lab.execute(node, *words) for node in cluster.lab.running("db"))


def test_a_primary_whose_agent_stands_still_is_cut_off_by_its_subnets_network_acl(stage: Stage) -> None:
    cluster, lab = stage.cluster, stage.cluster.lab
    old = cluster.primary()
    victim = next(node for node in alone_in_its_subnet(cluster) if node != old)
    usual = acl_of(lab, victim)
    with acl_that_lets_nothing_pass(lab, victim) as nothing, rights(lab, "isolate"):
        fence_by(cluster, WISH.nodes, to=victim, method="isolate", acl_id=nothing)
        began = time.time()
        with frozen_agent(cluster, victim):
            wait_for_another(stage, victim, began)
            assert acl_of(lab, victim) == nothing
            assert_fenced_before_promoted(stage, victim, began)
        let_back(stage, victim, began)
        assert acl_of(lab, victim) == usual
