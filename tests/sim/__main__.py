"""`./run sim`: runs seeds and judges them, or hunts the planted bugs."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

import click
from rich.console import Console
from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from tests.sim import figure
from tests.sim.docs import write_table
from tests.sim.hunt import hunt, run_all
from tests.sim.planted import caught, names, write_down
from tests.sim.run import Result

HUNTED_SEEDS = 2000  # seeds within which every plant must be caught


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--seeds", type=click.IntRange(1), default=300, show_default=True, help="How many.")
@click.option("--seed", "first", type=click.IntRange(0), default=1, show_default=True, help="The first one.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="One result per line.")
@click.option(
    "--page",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Write what was run and found into its part of this page.",
)
@click.option("--planted", is_flag=True, help=f"Hunt every planted bug, over up to {HUNTED_SEEDS} seeds.")
@click.option(
    "--only", type=click.Choice(names()), metavar="PLANT", multiple=True, help="With --planted: only these."
)
def main(
    seeds: int,
    first: int,
    json_file: Path | None,
    page: Path | None,
    planted: bool,
    only: tuple[str, ...],
) -> None:
    """Run the real agent in a simulated cluster under faults, seeds SEED … SEED+SEEDS-1; judge each run."""
    if only and not planted:
        raise click.UsageError("--only names planted bugs: say --planted, too")
    if planted and (json_file or page):
        raise click.UsageError(
            "a hunt writes no --json and no --page: what it caught stands in tests/sim/planted/seeds.toml"
        )
    console = Console(stderr=True)
    sys.exit(
        _hunt(only or tuple(names()), first) if planted else _run(console, seeds, first, json_file, page)
    )


def _progress(console: Console) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console)


def _run(console: Console, seeds: int, first: int, json_file: Path | None, page: Path | None) -> int:
    failed: list[int] = []
    began = time.monotonic()
    out = json_file.open("w") if json_file else None
    with _progress(console) as progress:
        bar = progress.add_task("seeds", total=seeds)
        for result in run_all(range(first, first + seeds)):
            if out:
                row = asdict(result)
                row.pop("events")
                out.write(json.dumps(row) + "\n")
            if result.anomalies:
                failed.append(result.seed)
                progress.print(report(result), markup=False, highlight=False)
            progress.advance(bar)
    if out:
        out.close()
    if page:
        figure.write(page, first, seeds, failed, time.monotonic() - began)
    which = f": {', '.join(map(str, failed))}" if failed else ""
    click.echo(f"{seeds} seeds from {first}, {len(failed)} with anomalies{which}")
    return 1 if failed else 0


def report(result: Result) -> str:
    """Seed, anomalies, and the last of what happened; the same seed shows the same again."""
    lines = [f"seed {result.seed}: {a.check}: {a.what}" for a in result.anomalies]
    again = f"again: ./run sim --seeds 1 --seed {result.seed}   (trace {result.fingerprint})"
    return "\n".join([*result.events, *lines, again])


def _hunt(plants: tuple[str, ...], first: int) -> int:
    catches = caught()
    survivors = []
    try:
        for catch in hunt(plants, first, HUNTED_SEEDS):
            if catch.seed < 0:
                survivors.append(catch.plant)
                click.echo(f"{catch.plant}: SURVIVES {HUNTED_SEEDS} seeds")
            else:
                catches[catch.plant] = catch
                click.echo(f"{catch.plant}: seed {catch.seed}: {', '.join(catch.checks)}")
    finally:  # minutes of work: kept, whatever ends it
        write_down({name: catches[name] for name in names() if name in catches})
        write_table()
    return 1 if survivors else 0


if __name__ == "__main__":
    main()
