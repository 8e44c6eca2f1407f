"""`./run measure`: the same faults many times over, medians and ranges instead of one lucky run."""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from rehearsal.cluster import Cluster, Wish
from rehearsal.demo import Story, build, read_versions, refuse_if_running
from rehearsal.lab import Lab
from rehearsal.recorder import Recorder
from rehearsal.steps import Stage, StepResult, agent_stopped, power_loss, switchover

LAB = "measure"


def measure(runs: int, nodes: int, profile: str, json_file: Path | None) -> bool:
    """Build a cluster of its own, repeat every step, print a table; True when no run was unsafe."""
    story = Story(Console(stderr=True))
    lab = Lab(LAB)
    cluster, wish = Cluster(lab), Wish(nodes=nodes, profile=profile)
    refuse_if_running(lab)
    try:
        lab.up(sys.stderr)
        build(cluster, wish, story)
        results = repeat(cluster, wish, runs, story)
        versions = read_versions(lab)
    finally:
        lab.down()
    show(Console(), results)
    ok = all(step.good for step in results)
    if json_file is not None:
        report = {
            "profile": profile,
            "nodes": nodes,
            "runs": runs,
            "versions": versions,
            "steps": [step.as_json() for step in results],
            "ok": ok,
        }
        json_file.write_text(json.dumps(report, indent=2) + "\n")
    return ok


def repeat(cluster: Cluster, wish: Wish, runs: int, story: Story) -> list[StepResult]:
    results: list[StepResult] = []
    with Recorder(cluster.lab, cluster.app, cluster.nodes()) as recorder:
        stage = Stage(cluster, recorder, wish.nodes, story.say)
        steps: tuple[Callable[[], StepResult], ...] = (
            lambda: power_loss(stage),
            lambda: switchover(stage, to=_a_standby(cluster)),
        )
        for step in steps:
            for _ in range(runs):
                results.append(step())
                story.say(f"{results[-1].name}: outage {results[-1].outage_s:.2f} s")
                cluster.wait_until_whole(wish.nodes)
        results.append(agent_stopped(stage))
    return results


def _a_standby(cluster: Cluster) -> str:
    primary = cluster.primary()
    return next(node for node in cluster.nodes() if node != primary)


def show(console: Console, results: list[StepResult]) -> None:
    table = Table(
        "step", "runs", "outage, s: median (min-max)", "rejoined, s: median (max)", "lost", "double"
    )
    for name in dict.fromkeys(result.name for result in results):
        rows = [result for result in results if result.name == name]
        outages, rejoins = [r.outage_s for r in rows], [r.rejoined_s for r in rows]
        table.add_row(
            name,
            str(len(rows)),
            f"{statistics.median(outages):.2f} ({min(outages):.2f}-{max(outages):.2f})",
            f"{statistics.median(rejoins):.1f} ({max(rejoins):.1f})",
            str(sum(r.lost for r in rows)),
            str(sum(r.double for r in rows)),
        )
    console.print(table)
