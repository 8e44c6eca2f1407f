"""Seals against a real PostgreSQL (F2): a primary whose agent stands still and whose commits nobody gates.

The client on the primary's Unix socket passes no gate, so nothing but the seals keeps it from being told
of commits that the next primary does not have. The standbys' replay is paused: they go on receiving and
confirming WAL, which is how one that has only been told to forget its primary still acknowledges for it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager

from rehearsal import writer
from rehearsal.cluster import Cluster
from rehearsal.controls import AGENTS_PYTHON, INTERVAL_S, LOCAL_DSN
from rehearsal.history import Ack
from rehearsal.hurts import frozen_agent
from rehearsal.program import Program
from rehearsal.recorder import first_id
from rehearsal.steps import ASYNC_WINDOW_S, Stage, StepResult, reign, result, wait_for_another
from rehearsal.waiting import wait_for, wait_until


def replay_blocked(stage: Stage) -> StepResult:
    """Stop the primary's agent while its standbys' replay is paused and PostgreSQL takes commits locally."""
    cluster, before = stage.cluster, reign(stage)
    standbys = [node for node in cluster.nodes() if node != before.node]
    told: list[Ack] = []
    with ExitStack() as stack:
        stack.enter_context(_local_writer(cluster, before.node, told))
        stack.enter_context(_replay_paused(cluster, standbys))
        stage.say(f"stopping the agent of {before.node}, replay is paused on {', '.join(standbys)}")
        fault_at = time.time()
        with frozen_agent(cluster, before.node):
            first_write = wait_for_another(stage, before.node, fault_at)
            stage.say(f"writes go on after {first_write - fault_at:.2f} s")
            wait_until(fault_at + stage.still_s)
        healed_at = time.time()
    rejoined_s = cluster.wait_until_streaming(before.node, healed_at)
    may_lose_since = fault_at - ASYNC_WINDOW_S
    present = _present(cluster, cluster.primary())
    allowed_since = may_lose_since if stage.mode == "async" else None
    gone = [ack for ack in told if ack.id not in present]
    beyond = [ack for ack in gone if allowed_since is None or ack.received < allowed_since]
    stage.say(f"{len(told)} local commits were confirmed, {len(gone)} of them are lost")
    step = result("replay_blocked", stage, fault_at, healed_at, rejoined_s, may_lose_since, deposed=before)
    return step.with_more_lost(len(gone), len(beyond))


@contextmanager
def _local_writer(cluster: Cluster, node: str, told: list[Ack]) -> Iterator[None]:
    streams = json.dumps([("local", LOCAL_DSN, INTERVAL_S, first_id())])
    with Program(
        cluster.lab, node, writer, streams, lambda line: told.append(Ack(*json.loads(line))), AGENTS_PYTHON
    ):
        wait_for("a local commit", lambda: bool(told), timeout_s=30)
        yield


@contextmanager
def _replay_paused(cluster: Cluster, nodes: Sequence[str]) -> Iterator[None]:
    for node in nodes:
        cluster.ask(node, "select pg_wal_replay_pause()")
    try:
        wait_for("replay to pause", lambda: all(_is_paused(cluster, node) for node in nodes), timeout_s=30)
        yield
    finally:
        for node in cluster.nodes():
            cluster.ask(node, "select pg_wal_replay_resume() where pg_is_in_recovery()")


def _is_paused(cluster: Cluster, node: str) -> bool:
    return cluster.ask(node, "select pg_get_wal_replay_pause_state()") == "paused"


def _present(cluster: Cluster, node: str) -> set[int]:
    return {int(row) for row in cluster.ask(node, "select id from rehearsal").split()}
