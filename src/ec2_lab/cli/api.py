"""`ec2-lab fault api …`: what is wrong with the API, for callers inside the VPC."""

from __future__ import annotations

import click

from ec2_lab.model import LabPaths

_MEASURED = {  # the keys are door.faults.KINDS
    "slow": ("seconds", "Answer every call SECONDS late."),
    "throttle": ("rate", "Refuse what is more than RATE calls a second."),
    "stale": ("seconds", "Let EC2's Describe answers be SECONDS old."),
    "late-routes": ("seconds", "Answer route changes at once and do them SECONDS later."),
}


@click.group()
def api() -> None:
    """Break the API for the hosts; 0 or off ends it."""


def _order(paths: LabPaths, **words: object) -> None:
    from ec2_lab import control

    control.call(paths, "/fault", {"verb": "api", **words})


@api.command()
@click.pass_obj
def down(paths: LabPaths) -> None:
    """Take the API's addresses away from the hosts."""
    _order(paths, reachable=False)


@api.command()
@click.pass_obj
def up(paths: LabPaths) -> None:
    """Give the API's addresses back."""
    _order(paths, reachable=True)


@api.command(name="lost-answers")
@click.argument("state", type=click.Choice(["on", "off"]))
@click.pass_obj
def lost_answers(paths: LabPaths, state: str) -> None:
    """Do what is asked and hang up without an answer."""
    _order(paths, fault="lost-answers", value=float(state == "on"))


def _measured(kind: str) -> None:
    what, meaning = _MEASURED[kind]

    @api.command(name=kind, help=meaning)
    @click.argument(what, type=click.FloatRange(0))
    @click.pass_obj
    def inflict(paths: LabPaths, /, **given: float) -> None:
        _order(paths, fault=kind, value=given[what])


for _kind in _MEASURED:
    _measured(_kind)
