"""`./run demo`: a cluster from nothing, a power loss, the way back, a switchover."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from rehearsal.cluster import Cluster, Wish
from rehearsal.errors import ClusterRunning
from rehearsal.lab import Lab
from rehearsal.recorder import Recorder
from rehearsal.steps import Stage, StepResult, power_loss, switchover

LAB = "demo"


class Story:
    """Tells what happens while it happens, on standard error, with the seconds since the start."""

    def __init__(self, console: Console) -> None:
        self.console, self.began = console, time.monotonic()

    def say(self, words: str) -> None:
        self.console.print(f"[dim]{time.monotonic() - self.began:6.1f} s[/]  {words}", highlight=False)


def demo(json_file: Path | None) -> bool:
    """Run the demonstration; True when no id was acknowledged twice and none lost beyond the mode."""
    story = Story(Console(stderr=True))
    lab = Lab(LAB)
    cluster, wish = Cluster(lab), Wish(nodes=2)
    refuse_if_running(lab)
    try:
        lab.up(sys.stderr)
        build(cluster, wish, story)
        steps = perform(cluster, wish, story)
        versions = read_versions(lab)
    finally:
        story.say("removing the lab")
        lab.down()
    ok = all(step.good for step in steps)
    show(Console(), steps)
    if json_file is not None:
        report = {"steps": [step.as_json() for step in steps], "versions": versions, "ok": ok}
        json_file.write_text(json.dumps(report, indent=2) + "\n")
    return ok


def build(cluster: Cluster, wish: Wish, story: Story) -> None:
    log = Path("/run/ec2-lab") / cluster.lab.name / "site.log"
    story.say(f"building {wish.nodes} nodes with playbooks/site.yml (all of it in {log})")
    cluster.play("site.yml", wish, story.say, log)
    cluster.wait_until_whole(wish.nodes)
    story.say("the cluster is whole")


def perform(cluster: Cluster, wish: Wish, story: Story) -> list[StepResult]:
    home = cluster.primary()
    with Recorder(cluster.lab, cluster.app, cluster.nodes()) as recorder:
        stage = Stage(cluster, recorder, wish.nodes, story.say, wish.profile, cluster.mode())
        story.say(f"writing an id every 10 ms through the virtual address; {home} is primary")
        return [power_loss(stage), switchover(stage, to=home)]


def read_versions(lab: Lab) -> dict[str, str]:
    node = lab.running("db")[0]
    return {
        "postgresql": lab.execute(node, "psql", "--version", check=False).strip(),
        "kernel": lab.execute(node, "uname", "-r", check=False).strip(),
        "agent": lab.execute(node, "failover-agent", "--version", check=False).strip(),
        "host": lab.execute(node, "sed", "-n", "s/^PRETTY_NAME=//p", "/etc/os-release", check=False).strip(
            ' "\n'
        ),
    }


def show(console: Console, steps: list[StepResult]) -> None:
    for step in steps:
        table = Table("phase", "after, s", title=f"{step.name}: writer outage {step.outage_s:.2f} s")
        for phase, after in step.phases.items():
            table.add_row(phase, f"{after:.2f}")
        console.print(table)
        console.print(
            f"acknowledged {step.acked}, lost {step.lost}, acknowledged by two nodes at once {step.double}; "
            f"old primary streaming again after {step.rejoined_s:.1f} s\n"
        )


def refuse_if_running(lab: Lab) -> None:
    if lab.is_up():
        raise ClusterRunning(
            f"a cluster is running already in the lab {lab.name}",
            hint=f"`./run lab --lab {lab.name} down` removes it if nobody works with it.",
        )
