"""`ec2-lab`: start a region, look at it, break it.

Errors go to standard error, with a hint, and end with status 1. `exec` and `tunnel` are called
all the time, so nothing heavy is imported before it is needed.
"""

from __future__ import annotations

import json
import re
import sys
import time
from typing import Any, NoReturn

import click

from ec2_lab.cli.api import api
from ec2_lab.errors import LabError
from ec2_lab.model import LabPaths

DEFAULT_LAB = "primacy"
# Part of names of namespaces and control groups, and of the path of a socket.
LAB_NAME = re.compile(r"[a-z][a-z0-9-]{0,30}")


class _Group(click.Group):
    """Turns what was foreseen into a message and a hint."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except LabError as error:
            fail(error)


def fail(error: LabError) -> NoReturn:
    click.echo(f"ec2-lab: {error}", err=True)
    sys.exit(1)


def say(line: str) -> None:
    """Our own words: never on standard output."""
    click.echo(line, err=True)


def call(paths: LabPaths, path: str, order: dict[str, object] | None = None) -> Any:
    """Ask the running lab (control.call)."""
    from ec2_lab import control

    return control.call(paths, path, order)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--lab", "name", envvar="EC2_LAB", default=DEFAULT_LAB, show_default=True, help="Which lab.")
@click.pass_context
def main(ctx: click.Context, name: str) -> None:
    """An EC2 region on this machine."""
    if not LAB_NAME.fullmatch(name):
        raise LabError(f"{name!r} cannot name a lab", hint="a letter, then up to 30 of a-z, 0-9 and -")
    ctx.obj = LabPaths(name)


@main.command()
@click.pass_obj
def up(paths: LabPaths) -> None:
    """Start the lab; does nothing when it is up."""
    from ec2_lab.cli import lifecycle

    lifecycle.up(paths, say)


@main.command()
@click.pass_obj
def down(paths: LabPaths) -> None:
    """Remove the lab with all its machines and disks. Never asks."""
    from ec2_lab.cli import lifecycle

    lifecycle.down(paths, say)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def status(paths: LabPaths, as_json: bool) -> None:
    """What the lab is doing. Fails when it is not up."""
    found = call(paths, "/status")
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for key, value in found.items():
        shown = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value
        click.echo(f"{key.replace('_', ' '):<14} {shown if shown not in ('', [], None) else '-'}")


@main.command()
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def hosts(paths: LabPaths, as_json: bool) -> None:
    """The machines, with their real power state."""
    found = call(paths, "/hosts")
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    _table(found, ("name", "state", "az", "private_ip", "id"))


@main.command()
@click.option("--count", default=50, show_default=True, type=click.IntRange(1), help="How many calls.")
@click.option("--json", "as_json", is_flag=True, help="For programs.")
@click.pass_obj
def history(paths: LabPaths, count: int, as_json: bool) -> None:
    """The newest calls of the API, oldest first."""
    found = call(paths, f"/history?count={count}")
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    for entry in found:
        moment = time.localtime(entry["at"])
        entry["at"] = time.strftime("%H:%M:%S", moment) + f"{entry['at'] % 1:.3f}"[1:]
    _table(found, ("at", "who", "caller", "service", "action", "code", "fault", "took_ms"))


def _table(rows: list[dict[str, Any]], columns: tuple[str, ...]) -> None:
    shown = [[c.replace("_", " ") for c in columns]]
    shown += [[str(row.get(c) or "-") for c in columns] for row in rows]
    widths = [max(len(line[n]) for line in shown) for n in range(len(columns))]
    for line in shown:
        click.echo("  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())


@main.command()
@click.pass_obj
def env(paths: LabPaths) -> None:
    """Shell lines that point any AWS client at the lab: eval "$(ec2-lab env)"."""
    from ec2_lab.daemon import Endpoint

    call(paths, "/status")
    endpoint = Endpoint.read(paths)
    exports = {
        "AWS_ENDPOINT_URL": endpoint.url,
        "AWS_REGION": endpoint.region,
        "AWS_DEFAULT_REGION": endpoint.region,
        "AWS_ACCESS_KEY_ID": endpoint.access_key_id,
        "AWS_SECRET_ACCESS_KEY": endpoint.secret_access_key,
    }
    for name, value in exports.items():
        click.echo(f"export {name}={value}")


@main.command(
    name="exec", context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False}
)
@click.argument("host")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_obj
def execute(paths: LabPaths, host: str, command: tuple[str, ...]) -> None:
    """Run a program on a host as root: exec HOST -- CMD ARGUMENT…"""
    from ec2_lab import enter

    sys.exit(enter.run_in(paths, host, list(command[1:] if command[0] == "--" else command)))


@main.command()
@click.argument("host")
@click.argument("port", type=click.IntRange(1, 65535))
@click.pass_obj
def tunnel(paths: LabPaths, host: str, port: int) -> None:
    """Connect standard input and output with a port of a host: ssh -o ProxyCommand='ec2-lab tunnel %h %p'."""
    from ec2_lab import enter

    enter.tunnel(paths, host, port)


@main.command()
def image() -> None:
    """Build the host image and print where it is."""
    from ec2_lab import image as host_image

    click.echo(host_image.build(say))


@main.group()
def fault() -> None:
    """Break something, or put it right again. Every verb may be repeated."""


@fault.command()
@click.argument("host")
@click.option("--from", "peer", help="Only between HOST and this one.")
@click.option("--one-way", is_flag=True, help="Only what HOST sends; what is sent to it arrives.")
@click.pass_obj
def cut(paths: LabPaths, host: str, peer: str | None, one_way: bool) -> None:
    """Drop silently what HOST sends and what is sent to it."""
    call(paths, "/fault", {"verb": "cut", "host": host, "peer": peer, "one_way": one_way})


_MEANINGS = {  # the keys are control.HOST_VERBS
    "crash": "Power loss: what is not on the disk is lost.",
    "start": "Give HOST power again; succeeds when it runs.",
    "pause": "Stop the machine in the middle of whatever it does.",
    "resume": "Let a paused machine go on.",
    "heal": "Undo every cut that names HOST.",
    "disk-hang": "Let every write to HOST's data volume wait, as a stuck EBS volume does.",
    "disk-free": "Let a hung data volume go on.",
    "disk-fill": "Leave no free block on HOST's data volume.",
    "disk-empty": "Give the blocks back.",
}


def _host_verb(verb: str) -> None:
    @fault.command(name=verb, help=_MEANINGS[verb])
    @click.argument("host")
    @click.pass_obj
    def inflict(paths: LabPaths, host: str) -> None:
        call(paths, "/fault", {"verb": verb, "host": host})


for _verb in _MEANINGS:
    _host_verb(_verb)
fault.add_command(api)
