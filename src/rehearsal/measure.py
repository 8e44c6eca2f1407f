"""`./run measure`: the same faults many times over, medians and ranges instead of one lucky run."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from rehearsal import figures
from rehearsal.cluster import Cluster, Wish
from rehearsal.demo import Story, build, read_versions, refuse_if_running
from rehearsal.figures import Measured
from rehearsal.hurts import agent_stopped, cut_off, host_paused, postmaster_killed
from rehearsal.lab import Lab
from rehearsal.recorder import Recorder
from rehearsal.steps import Stage, StepResult, power_loss, switchover

LAB = "measure"
LONG_RUNS_MAX = 1  # of the hurts that take a minute each

Perform = Callable[[], StepResult]


@dataclass(frozen=True, slots=True)
class Request:
    """What `./run measure` was asked for."""

    runs: int = 5
    nodes: int = 2
    profiles: tuple[str, ...] = ("fast", "balanced")
    lab: str = LAB

    def command(self) -> str:
        profiles = " ".join(f"--profile {profile}" for profile in self.profiles)
        return f"./run measure --runs {self.runs} --nodes {self.nodes} {profiles} --page docs/measured.md"


def measure(asked: Request, json_file: Path | None, page: Path | None) -> bool:
    """Bring one cluster to each profile in turn, repeat every step; True when no run was unsafe."""
    lab = Lab(asked.lab)
    refuse_if_running(lab)
    try:
        lab.up(sys.stderr)
        measured = [_measure(Cluster(lab), asked, profile) for profile in asked.profiles]
    finally:
        lab.down()
    for one in measured:
        show(Console(), one)
    ok = all(step.good for one in measured for step in one.steps)
    if json_file is not None:
        report = {"asked": asdict(asked), "measured": [asdict(one) for one in measured], "ok": ok}
        json_file.write_text(json.dumps(report, indent=2) + "\n")
    if page is not None:
        page.write_text(figures.as_page(measured, asked.command(), asked.nodes))
    return ok


def _measure(cluster: Cluster, asked: Request, profile: str) -> Measured:
    story = Story(Console(stderr=True))
    wish = Wish(nodes=asked.nodes, profile=profile)
    build(cluster, wish, story)  # of a cluster that stands, only what differs
    return Measured(profile, tuple(repeat(cluster, wish, asked.runs, story)), read_versions(cluster.lab))


def repeat(cluster: Cluster, wish: Wish, runs: int, story: Story) -> Iterator[StepResult]:
    with Recorder(cluster.lab, cluster.app, cluster.nodes()) as recorder:
        stage = Stage(cluster, recorder, wish.nodes, story.say, wish.profile)
        long_runs = min(runs, LONG_RUNS_MAX)
        steps: Sequence[tuple[Perform, int]] = (
            (lambda: power_loss(stage), runs),
            (lambda: postmaster_killed(stage), runs),
            (lambda: cut_off(stage), runs),
            (lambda: switchover(stage, to=_a_standby(cluster)), runs),
            (lambda: agent_stopped(stage), long_runs),
            (lambda: host_paused(stage), long_runs),
        )
        for step, times in steps:
            for _ in range(times):
                cluster.wait_until_whole(wish.nodes)
                done = step()
                story.say(f"{done.name}: outage {done.outage_s:.2f} s, phases {done.phases}")
                yield done


def _a_standby(cluster: Cluster) -> str:
    primary = cluster.primary()
    return next(node for node in cluster.nodes() if node != primary)


def show(console: Console, measured: Measured) -> None:
    table = Table(*figures.HEAD, title=f"profile {measured.profile}")
    for row in figures.rows(measured.steps):
        table.add_row(*row)
    console.print(table)
