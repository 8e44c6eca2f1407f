"""`failoverctl`: for people.

Asked all the time, by people and by scripts on hosts that are busy: what only one command needs, and takes
long to load (EC2's and PostgreSQL's clients), is loaded by that command.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import click
from rich.console import Console

from failover_agent import config as configuration
from failover_agent.adapters.control_client import Control
from failover_agent.adapters.systemd import looks
from failover_agent.cli import table
from failover_agent.cli.speech import LossNotAccepted, as_json_too, confirm, print_json, speaks_of_errors
from failover_agent.cli.version import own_version
from failover_agent.core.model import Mode

READ_S = 10.0  # by then a node has read what its holder wrote, unless the store is away for it


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    default=configuration.DEFAULT_PATH,
    show_default=True,
    help="The agent's configuration file.",
)
@click.version_option(own_version(), message="%(version)s")
@click.pass_context
def main(context: click.Context, path: Path) -> None:
    """Look at and steer the cluster, from any of its nodes, as root.

    What is refused is told on standard error with a hint, and the exit status is 1.
    """
    context.obj = path


@main.command()
@as_json_too
@click.pass_obj
@speaks_of_errors
def status(path: Path, as_json: bool) -> None:
    """Show who leads, who follows, and where the endpoints lead."""
    cluster = _control(path).cluster()
    if as_json:
        print_json(cluster)
    else:
        table.show(cluster, Console(highlight=False))


@main.command()
@click.option("--to", "target", default="", help="The node that shall lead; the best standby when not said.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json_too
@click.pass_obj
@speaks_of_errors
def switchover(path: Path, target: str, yes: bool, as_json: bool) -> None:
    """Hand the primary's place to another node, losing no row; returns when it serves."""
    control = _control(path)
    cluster = control.cluster()
    for member in cluster["members"]:
        if (lost := member.get("lost_logical_slots")) and target in ("", member["name"]):
            click.echo(f"{member['name']} lacks the logical slots {', '.join(lost)}: lost there", err=True)
    if not yes:
        holder, heir = cluster.get("holder") or "nobody", target or "the best standby"
        confirm(f"Hand over from {holder} to {heir}? Sessions of clients will be ended", "a switchover")
    outcome = control.switchover(target)
    if as_json:
        print_json(outcome)
        return
    outage = outcome.get("outage_s")
    took = f", {float(outage):.2f} s without a primary" if isinstance(outage, int | float) else ""
    click.echo(f"{outcome.get('from')} → {outcome.get('target')}{took}")


@main.command()
@click.option(
    "--mode", type=click.Choice(get_args(Mode)), default=None, help="Switch what a commit waits for to this."
)
@as_json_too
@click.pass_obj
@speaks_of_errors
def config(path: Path, mode: str | None, as_json: bool) -> None:
    """Show what commits are promised, or switch it, for the whole cluster and while it runs."""
    control = _control(path)
    switched = control.switch_mode(mode) if mode else {}
    cluster = _cluster_in(control, mode) if mode else control.cluster()
    told = {"changed": bool(switched.get("changed")), "before": switched.get("before")} if mode else {}
    now = switched.get("mode", cluster["mode"])
    told |= {"mode": now, "sync": cluster["sync"], "read_here": cluster["mode"] == now}
    if not told["read_here"]:
        told["sync"] = None  # of the mode before
    if as_json:
        print_json(told)
        return
    console = Console(highlight=False)
    if mode:
        since = f"since now; it was {told['before']}" if told["changed"] else "already"
        console.print(f"mode {mode} {since}")
    else:
        console.print(f"mode {told['mode']}")
    console.print(table.sync_line(cluster) if told["read_here"] else table.not_read_yet(cluster["mode"]))


def _cluster_in(control: Control, mode: str) -> dict[str, Any]:
    """The cluster, once this node has read of the mode that its holder has written; else as it knows it."""
    cluster = control.cluster()
    for _left in looks(READ_S, every_s=0.2):
        if cluster["mode"] == mode:
            break
        cluster = control.cluster()
    return cluster


@main.command()
@as_json_too
@click.pass_obj
@speaks_of_errors
def pause(path: Path, as_json: bool) -> None:
    """Let no node take the primary's place by itself, for maintenance; what people order goes."""
    _tell_pause(_control(path).pause(), as_json)


@main.command()
@as_json_too
@click.pass_obj
@speaks_of_errors
def resume(path: Path, as_json: bool) -> None:
    """End the pause; also where nobody holds the lease any more."""
    _tell_pause(_control(path).resume(), as_json)


def _tell_pause(outcome: dict[str, object], as_json: bool) -> None:
    if as_json:
        names = ("paused", "since", "before", "before_since", "changed")
        print_json({name: outcome.get(name) for name in names})
    else:
        click.echo(table.pause_told(outcome))


@main.command()
@click.option("--to", "target", required=True, help="The node that shall take over.")
@click.option(
    "--accept-loss", is_flag=True, help="What the lost primary had and this node has not may be lost."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json_too
@click.pass_obj
@speaks_of_errors
def failover(path: Path, target: str, accept_loss: bool, yes: bool, as_json: bool) -> None:
    """Let a standby take over that lacks what the lost primary had; refused while a primary serves.

    Without --accept-loss nothing is changed: it says what would be lost, and the exit status is 1.
    """
    control = _control(path)
    answer = control.failover(target, accept_loss=False)
    lost, waits_for = answer["lost"], answer.get("waits_for")
    told = (
        f"the lease last named {lost['lease_lsn']} on timeline {lost['lease_timeline']},"
        f" {target} has {lost['lsn']} on timeline {lost['timeline']}: {lost['bytes']} bytes are missing,"
        " and whatever was written after the lease's last renewal"
    )
    if waits_for:
        told += f"; without a person's word it waits: {waits_for}"
    if not accept_loss:
        raise _loss_not_accepted(target, told, answer)
    click.echo(told, err=True)
    if not yes:
        confirm(f"Let {target} take over and lose this for good?", "a failover with loss")
    outcome = control.failover(target, accept_loss=True)
    if as_json:
        print_json(outcome)
    else:
        click.echo(
            f"{target} serves in epoch {outcome.get('epoch')}; the accepted loss is noted in the store"
        )


def _loss_not_accepted(target: str, told: str, answer: Mapping[str, Any]) -> LossNotAccepted:
    error = LossNotAccepted(
        told,
        hint="Bring the lost node back, or say --accept-loss. Nothing was changed.",
        object=f"failover to {target}",
        value=f"{answer['lost']['bytes']} bytes are missing there",
        expected="none missing, or --accept-loss",
    )
    error.answer = {name: answer.get(name) for name in ("done", "target", "lost", "waits_for")}
    return error


@main.command()
@click.argument("node")
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json_too
@click.pass_obj
@speaks_of_errors
def unfence(path: Path, node: str, yes: bool, as_json: bool) -> None:
    """Let NODE back that was fenced: start its machine, or give its subnet its network ACL back."""
    if not yes:
        confirm(f"Let {node} back into the cluster?", f"letting {node} back")
    outcome = _control(path).unfence(node)
    if as_json:
        print_json(outcome)
    else:
        click.echo(f"{node} ({outcome.get('instance')}) may come back")


@main.command("confirm-fenced")
@click.argument("node")
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json_too
@click.pass_obj
@speaks_of_errors
def confirm_fenced(path: Path, node: str, yes: bool, as_json: bool) -> None:
    """Vouch that NODE runs no more, so that this node, which waits for its fence, is promoted."""
    if not yes:
        confirm(
            f"Are you sure that {node} is off or reaches nobody? If it is not, nothing but its own gate"
            " keeps it from writing",
            f"vouching for {node}",
        )
    outcome = _control(path).confirm_fenced(node)
    if as_json:
        print_json(outcome)
    else:
        click.echo(f"{node} counts as fenced, on your word")


@main.command("gate-table")
@click.pass_obj
@speaks_of_errors
def print_gate_table(path: Path) -> None:
    """Print the gate's nftables table, shut, as failover-gate.service loads it at boot."""
    from failover_agent.adapters.gate_table import table_text
    from failover_agent.wiring import gate_plan

    click.echo(table_text(gate_plan(configuration.load(path))), nl=False)


@main.command("adopt", hidden=True)
@click.argument("system_identifier")
@click.pass_obj
@speaks_of_errors
def adopt_data(path: Path, system_identifier: str) -> None:
    """Make the data directory ready to be a cluster's first; for the playbooks."""
    from failover_agent.adapters.postgres import adopt
    from failover_agent.wiring import postgres_plan

    made = adopt.prepare(postgres_plan(configuration.load(path)), system_identifier)
    click.echo(f"{system_identifier} {'was made' if made else 'is'} ready")


@main.command("check-config")
@click.pass_obj
@speaks_of_errors
def check_config(path: Path) -> None:
    """Say what is wrong with the configuration file, if anything is."""
    configuration.load(path)
    click.echo(f"{path} is fine")


@main.command()
@click.option(
    "--json", "as_json", is_flag=True, help="For programs: every check, and every problem by its fields."
)
@click.pass_obj
def doctor(path: Path, as_json: bool) -> None:
    """Look at everything this node rests on, changing nothing; exit status 1 when something is wrong."""
    from failover_agent.cli.doctor import look

    look(path, as_json)


def _control(path: Path) -> Control:
    return Control(configuration.load(path).run_dir / "control.sock")


if __name__ == "__main__":
    main()
