"""Every command of ours, down to the last, explains itself and its options, and says its hints in one way."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest
from click.testing import CliRunner
from tests.sim.__main__ import main as sim

from ec2_lab.cli import main as ec2_lab
from failover_agent.cli.ctl import main as failoverctl
from failover_agent.cli.daemon import main as failover_agent
from rehearsal.cli import main as run

PROGRAMS = {
    "failoverctl": failoverctl,
    "failover-agent": failover_agent,
    "ec2-lab": ec2_lab,
    "./run": run,
    "./run sim": sim,
}
PASSED_ON = {("./run", "ctl"), ("./run", "play")}  # their -h is another program's


def commands(way: tuple[str, ...], command: click.Command) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    yield way, command
    for name, below in command.commands.items() if isinstance(command, click.Group) else ():
        yield from commands((*way, name), below)


ALL = dict(found for name, program in PROGRAMS.items() for found in commands((name,), program))


@pytest.mark.parametrize("way", ALL, ids=" ".join)
def test_a_command_says_what_it_does_and_each_option_what_it_is_for(way: tuple[str, ...]) -> None:
    command = ALL[way]
    options = [p for p in command.params if isinstance(p, click.Option)]

    assert command.help
    assert [option.name for option in options if not option.help] == []


@pytest.mark.parametrize("way", [way for way in ALL if way not in PASSED_ON], ids=" ".join)
@pytest.mark.parametrize("option", ["-h", "--help"])
def test_a_command_is_explained_by_either_option(way: tuple[str, ...], option: str) -> None:
    shown = CliRunner().invoke(PROGRAMS[way[0]], [*way[1:], option])

    assert (shown.exit_code, shown.stdout.startswith("Usage: ")) == (0, True), shown.output


def test_the_lab_says_its_hint_as_all_others_do() -> None:
    refused = CliRunner().invoke(ec2_lab, ["--lab", "No Name", "status"])

    assert (refused.exit_code, refused.stdout) == (1, "")
    assert refused.stderr.startswith("ec2-lab: 'No Name' cannot name a lab\nHINT: a letter")
