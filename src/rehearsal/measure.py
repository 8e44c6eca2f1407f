"""`./run measure`: the same faults many times over, medians and ranges instead of one lucky run."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from rehearsal import figures, load, page
from rehearsal.calm import CALM, CalmResult, disturb
from rehearsal.cluster import Cluster, Wish
from rehearsal.demo import Story, build, read_versions, refuse_if_running
from rehearsal.figures import Measured
from rehearsal.hurts import agent_stopped, cut_off, disk_full, host_paused, postmaster_killed, storage_hung
from rehearsal.lab import Lab
from rehearsal.recorder import Recorder
from rehearsal.sealing import replay_blocked
from rehearsal.steps import Stage, StepResult, power_loss, switchover
from rehearsal.waiting import wait_until

LAB = "measure"
STILL_S = 60.0
LONG_RUNS_MAX = 1  # of the hurts that take a minute each, where nobody asked for more

Perform = Callable[[Stage], StepResult]

STEPS: dict[str, Perform] = {
    "power_loss": power_loss,
    "postmaster_killed": postmaster_killed,
    "cut_off": cut_off,
    "switchover": lambda stage: switchover(stage, to=stage.cluster.heir()),
    "agent_stopped": agent_stopped,
    "host_paused": host_paused,
    "storage_hung": storage_hung,
    "disk_full": disk_full,
    "replay_blocked": replay_blocked,
}
LONG = ("agent_stopped", "host_paused")
DEFAULT = tuple(STEPS)[:6]
KINDS = (*STEPS, *CALM)


@dataclass(frozen=True, slots=True)
class Request:
    """What `./run measure` was asked for."""

    runs: int = 5
    nodes: int = 2
    profiles: tuple[str, ...] = ("fast", "balanced")
    lab: str = LAB
    mode: str = ""  # empty: the playbooks' default for so many nodes
    only: tuple[str, ...] = ()  # of KINDS; empty: DEFAULT
    still_s: float = STILL_S
    keep: bool = False  # begin with a cluster that stands, and leave it

    def command(self) -> str:
        words = [f"./run measure --runs {self.runs} --nodes {self.nodes}"]
        words += [f"--mode {self.mode}"] if self.mode else []
        words += [f"--profile {profile}" for profile in self.profiles]
        words += [f"--still {self.still_s:g}"] if self.still_s != STILL_S else []
        words += ["--calm"] if self.only == tuple(CALM) else [f"--only {name}" for name in self.only]
        return " ".join([*words, "--page docs/measured.md"])

    def runs_of(self, name: str) -> int:
        return self.runs if self.only or name not in LONG else min(self.runs, LONG_RUNS_MAX)


def measure(asked: Request, json_file: Path | None, page_file: Path | None) -> bool:
    """Bring one cluster to each profile in turn, repeat every step; True when no run was unsafe."""
    lab = Lab(asked.lab)
    if not asked.keep:
        refuse_if_running(lab)
    try:
        lab.up(sys.stderr)
        measured = [_measure(Cluster(lab), asked, profile) for profile in asked.profiles]
    finally:
        if not asked.keep:
            lab.down()
    for one in measured:
        show(Console(), one)
    ok = all(one.good for one in measured)
    if json_file is not None:
        report = {"asked": asdict(asked), "measured": [asdict(one) for one in measured], "ok": ok}
        json_file.write_text(json.dumps(report, indent=2) + "\n")
    if page_file is not None:
        before = page_file.read_text() if page_file.exists() else ""
        part = figures.as_part(measured, asked.command(), asked.nodes)
        page_file.write_text(page.put(before, figures.title(measured, asked.nodes), part))
    return ok


def _measure(cluster: Cluster, asked: Request, profile: str) -> Measured:
    story = Story(Console(stderr=True))
    busy = set(asked.only) & set(CALM)
    connections = load.CONNECTIONS if busy else 0
    wish = Wish(nodes=asked.nodes, mode=asked.mode, profile=profile, max_connections=connections)
    build(cluster, wish, story)  # of a cluster that stands, only what differs
    done = list(repeat(cluster, wish, asked, story))
    return Measured(
        profile,
        tuple(one for one in done if isinstance(one, StepResult)),
        read_versions(cluster.lab),
        cluster.mode(),
        tuple(one for one in done if isinstance(one, CalmResult)),
    )


def repeat(cluster: Cluster, wish: Wish, asked: Request, story: Story) -> Iterator[StepResult | CalmResult]:
    """Every step and disturbance that was asked for, as often as it was; the cluster whole before each."""
    with Recorder(cluster.lab, cluster.app, cluster.nodes()) as recorder:
        stage = Stage(cluster, recorder, wish.nodes, story.say, wish.profile, cluster.mode(), asked.still_s)
        for name in asked.only or DEFAULT:
            for number in range(asked.runs_of(name)):
                cluster.wait_until_whole(wish.nodes)
                # One fault at a time: who has just come back votes for nobody for one ttl (P1), and a second
                # fault within that time would be answered as late as that.
                wait_until(time.time() + stage.ttl_s)
                done = STEPS[name](stage) if name in STEPS else disturb(stage, name)
                story.say(f"{number + 1}. {told(done)}")
                yield done


def told(done: StepResult | CalmResult) -> str:
    if isinstance(done, StepResult):
        unsafe = f"lost {done.lost}, double {done.double}, late {done.late}"
        return f"{done.name}: outage {done.outage_s:.2f} s, {unsafe}, phases {done.phases}"
    gaps = f"longest gap {done.longest_gap_s:.2f} s, the agent's {done.agents_gap_s:.2f} s"
    return f"{done.name}: {done.failovers} failovers, {gaps}, a control's {done.controls_gap_s:.2f} s"


def show(console: Console, measured: Measured) -> None:
    titled = f"profile {measured.profile}, mode {measured.mode}"
    for head, rows in (
        (figures.HEAD, figures.rows(measured.steps)),
        (figures.CALM_HEAD, figures.calm_rows(measured.calm)),
    ):
        if rows:
            table = Table(*head, title=titled)
            for row in rows:
                table.add_row(*row)
            console.print(table)
