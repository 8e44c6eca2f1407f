"""The commands behind `./run`: demo, cluster, ctl, clean, measure."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from rehearsal.errors import NoCluster, RehearsalError
from rehearsal.lab import Lab

HELP = {"help_option_names": ["-h", "--help"]}
CLUSTER_LAB = os.environ.get("EC2_LAB", "primacy")


class Group(click.Group):
    """Prints foreseen errors as message and hint instead of a traceback."""

    def invoke(self, ctx: click.Context) -> object:
        try:
            return super().invoke(ctx)
        except RehearsalError as error:
            click.echo(f"run: {error}", err=True)
            sys.exit(1)


in_mode = click.option(
    "--mode",
    type=click.Choice(["async", "quorum", "strict"]),
    default=None,
    help="What a commit waits for. Unsaid: quorum from three nodes on, async below.",
)
to_json_file = click.option(
    "--json",
    "json_file",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write all figures to this file, for programs.",
)


@click.group(cls=Group, context_settings=HELP)
def main() -> None:
    """Rehearsals on clusters in the lab."""


@main.command()
@to_json_file
def demo(json_file: Path | None) -> None:
    """Build, cut the power, bring back, switch over, remove."""
    from rehearsal.demo import demo as perform_demo

    sys.exit(0 if perform_demo(json_file) else 1)


@main.command()
@click.option(
    "--nodes", type=click.IntRange(1, 16), default=2, show_default=True, help="How many database nodes."
)
@click.option(
    "--stack",
    type=click.Choice(["pgpool", "pacemaker"]),
    default="pgpool",
    show_default=True,
    help="Who decides: pgpool, the agents. pacemaker does not exist yet and is refused.",
)
@in_mode
@click.option(
    "--profile",
    type=click.Choice(["fast", "balanced", "patient"]),
    default="balanced",
    show_default=True,
    help="How soon a silent primary counts as lost.",
)
def cluster(nodes: int, stack: str, mode: str | None, profile: str) -> None:
    """Build a cluster with an application host and leave it running."""
    from rich.console import Console

    from rehearsal.cluster import Cluster, Wish
    from rehearsal.demo import Story, build, refuse_if_running

    lab = Lab(CLUSTER_LAB)
    refuse_if_running(lab)
    story = Story(Console(stderr=True))
    wish = Wish(nodes, stack, mode or "", profile)
    lab.up(sys.stderr)
    try:
        build(Cluster(lab), wish, story)
    except RehearsalError:
        story.say("left as it is for a look; ./run clean removes it")
        raise
    click.echo(
        "./run ctl status                          the cluster as its agents see it\n"
        "./run lab exec app1 -- psql service=writer\n"
        "./run lab fault crash db1                 cut a host's power; fault start db1 gives it back\n"
        "./run ctl switchover --yes                hand the primary over\n"
        "./run clean                               remove it all"
    )


@main.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def ctl(words: tuple[str, ...]) -> None:
    """Run failoverctl on a node of the running cluster."""
    lab = Lab(CLUSTER_LAB)
    if not lab.is_up():
        raise NoCluster(f"no cluster is running in the lab {lab.name}", hint="./run cluster builds one.")
    nodes = lab.running("db")
    if not nodes:
        raise NoCluster(
            "no database node is powered on", hint="./run lab hosts lists them, fault start HOST."
        )
    command = lab.command("exec", nodes[0], "--", "failoverctl", *words)
    os.execv(command[0], command)  # noqa: S606  # our own program, by path, without a shell


@main.command(context_settings={"ignore_unknown_options": True, "help_option_names": []})
@click.argument("playbook")
@click.argument("words", nargs=-1, type=click.UNPROCESSED)
def play(playbook: str, words: tuple[str, ...]) -> None:
    """Run one of our playbooks on the running cluster, with ansible-playbook's own options."""
    from rehearsal.cluster import ROOT

    lab = Lab(CLUSTER_LAB)
    if not lab.is_up():
        raise NoCluster(f"no cluster is running in the lab {lab.name}", hint="./run cluster builds one.")
    os.chdir(ROOT)
    command = ["ansible-playbook", f"playbooks/{playbook}", "-i", "inventory/lab", *words]
    os.execvpe(command[0], command, lab.environment())  # noqa: S606  # our own venv's program, without a shell


@main.command()
def clean() -> None:
    """Remove the running cluster. Never asks."""
    Lab(CLUSTER_LAB).down()


@main.command()
@click.option(
    "--runs",
    type=click.IntRange(1, 100),
    default=5,
    show_default=True,
    help="How often each step is repeated.",
)
@click.option(
    "--nodes", type=click.IntRange(2, 16), default=2, show_default=True, help="How many database nodes."
)
@click.option(
    "--profile",
    "profiles",
    type=click.Choice(["fast", "balanced", "patient"]),
    multiple=True,
    default=("fast", "balanced"),
    show_default=True,
    help="May be repeated; one cluster is brought to each in turn.",
)
@in_mode
@click.option("--only", multiple=True, metavar="NAME", help="A step or disturbance; may be repeated.")
@click.option("--calm", is_flag=True, help="All that must not move a primary, instead of the faults.")
@click.option(
    "--still",
    type=click.FloatRange(0, min_open=True),
    default=60.0,
    show_default=True,
    help="Seconds that an agent or host stands still.",
)
@click.option("--keep", is_flag=True, help="Begin with the cluster that stands, if any, and leave it.")
@to_json_file
@click.option("--page", type=click.Path(path_type=Path, dir_okay=False), help="Write its part of this page.")
def measure(
    runs: int,
    nodes: int,
    profiles: tuple[str, ...],
    mode: str | None,
    only: tuple[str, ...],
    calm: bool,
    still: float,
    keep: bool,
    json_file: Path | None,
    page: Path | None,
) -> None:
    """Repeat the faults and print medians and ranges."""
    from rehearsal.calm import CALM
    from rehearsal.measure import KINDS, LAB, Request
    from rehearsal.measure import measure as perform

    if unknown := sorted(set(only) - set(KINDS)):
        raise click.BadParameter(f"no {', '.join(unknown)}; there are {', '.join(KINDS)}")
    names = (*only, *(CALM if calm else ()))
    asked = Request(runs, nodes, profiles, os.environ.get("EC2_LAB", LAB), mode or "", names, still, keep)
    sys.exit(0 if perform(asked, json_file, page) else 1)


if __name__ == "__main__":
    main()
