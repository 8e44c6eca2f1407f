"""`failoverctl doctor`: what is wrong on this node, for people and for programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from failover_agent import config as configuration
from failover_agent.adapters.clock import SystemClock
from failover_agent.checkup import checks
from failover_agent.cli.table import show_problems
from failover_agent.errors import AgentError, ConfigRefused
from failover_agent.shell.doctor import Finding, Result, examine, problems
from failover_agent.shell.threads import Threads

DEADLINE_S = 30.0


def look(path: Path, as_json: bool) -> NoReturn:
    """Look at everything this node rests on, changing nothing; exit status 1 when something is wrong."""
    progress = Console(stderr=True)
    with progress.status("looking at this node, its store, its network and its neighbours"):
        node, results = _examined(path)
    found = [error.fields() for error in problems(results)]
    if as_json:
        plain = {
            "node": node,
            "fine": not found,
            "problems": found,
            "checks": [result.plain() for result in results],
        }
        click.echo(json.dumps(plain, indent=2))
    else:
        _show(results, found, Console(highlight=False))
    sys.stdout.flush()
    sys.exit(1 if found else 0)


def _examined(path: Path) -> tuple[str, Sequence[Result]]:
    try:
        config = configuration.load(path)
        wanted = checks(config)
    except ConfigRefused as refused:
        return "", [Result("configuration", Finding("", (refused,)))]
    except AgentError as error:
        return "", [Result("looking", Finding("", (error,)))]
    fine = Result("configuration", Finding(f"{path} is fine"))
    return config.node, [fine, *examine(wanted, Threads(), SystemClock(), DEADLINE_S)]


def _show(results: Sequence[Result], found: list[dict[str, str]], console: Console) -> None:
    table = Table("check", "", "found", box=None, pad_edge=False)
    for result in results:
        table.add_row(result.check, _mark(result), escape(_first(result) or result.finding.found))
    console.print(table)
    show_problems(found, console)
    console.print(f"\n{_sum(found)}")


def _mark(result: Result) -> str:
    return "[red]wrong[/]" if result.finding.errors else "[green]fine[/]"


def _first(result: Result) -> str:
    return str(result.finding.errors[0].args[0]) if result.finding.errors else ""


def _sum(found: list[Any]) -> str:
    return "[green]everything is fine[/]" if not found else f"[red]{len(found)} problems[/]"
