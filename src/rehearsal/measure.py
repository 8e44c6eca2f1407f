"""`./run measure`: the same faults many times over, medians and ranges instead of one lucky run."""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
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


def measure(runs: int, nodes: int, profile: str, json_file: Path | None, page: Path | None) -> bool:
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
    if page is not None:
        page.write_text(as_page(results, runs, nodes, profile, versions))
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


def rows(results: list[StepResult]) -> list[tuple[str, ...]]:
    """One row per kind of step: name, runs, outage, rejoin, lost, double."""
    found: list[tuple[str, ...]] = []
    for name in dict.fromkeys(result.name for result in results):
        these = [result for result in results if result.name == name]
        outages, rejoins = [r.outage_s for r in these], [r.rejoined_s for r in these]
        found.append(
            (
                name,
                str(len(these)),
                f"{statistics.median(outages):.2f} ({min(outages):.2f}-{max(outages):.2f})",
                f"{statistics.median(rejoins):.1f} ({min(rejoins):.1f}-{max(rejoins):.1f})",
                str(sum(r.lost for r in these)),
                str(sum(r.double for r in these)),
            )
        )
    return found


HEAD = ("step", "runs", "outage, s", "old primary streams again after, s", "lost", "double")


def show(console: Console, results: list[StepResult]) -> None:
    table = Table(*HEAD)
    for row in rows(results):
        table.add_row(*row)
    console.print(table)


REPMGR_SWITCHOVER_S = 0.33


def _where_behind(results: list[StepResult]) -> list[str]:
    ours = [r.outage_s for r in results if r.name == "switchover"]
    behind = bool(ours) and statistics.median(ours) > REPMGR_SWITCHOVER_S
    return ["", "We are behind: repmgr's switchover is quicker than ours."] if behind else []


def as_page(results: list[StepResult], runs: int, nodes: int, profile: str, versions: dict[str, str]) -> str:
    """docs/measured.md."""
    machine = f"{os.cpu_count()} cores, kernel {versions['kernel']}, {versions['host']}"
    lines = [
        "# Measured",
        "",
        f"Made by `./run measure --runs {runs} --nodes {nodes} --profile {profile} --page docs/measured.md`",
        f"on {time.strftime('%Y-%m-%d', time.gmtime())}: {machine}, {versions['postgresql']}, async mode,",
        f"profile `{profile}`, {nodes} nodes in the lab on one machine. Median (minimum-maximum).",
        "",
        "The outage is the longest time in which a client that writes an id every 10 ms through the virtual",
        "address got no answer. *Lost*: acknowledged ids that the final primary does not have. *Double*: ids",
        "acknowledged by a node after another node had begun to acknowledge on a newer timeline.",
        "",
        "| " + " | ".join(HEAD) + " |",
        "|" + "---|" * len(HEAD),
        *("| " + " | ".join(row) + " |" for row in rows(results)),
        "",
        "For comparison, on such a machine with the same kind of client: power loss Patroni 32 s by default",
        "and 22 s at its shortest documented settings, PAF 12 s; switchover repmgr 0.33 s, Patroni 1.4 s.",
        "With a stopped agent and no watchdog Patroni lost over 4,000 acknowledged writes to two primaries.",
        *_where_behind(results),
        "",
    ]
    return "\n".join(lines)
