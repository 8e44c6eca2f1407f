"""The part of docs/simulation.md that says which seeds were run, where, and what they showed."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Sequence
from pathlib import Path

from failover_agent.cli.version import own_version
from rehearsal import page

NAME = "seeds"


def write(file: Path, first: int, seeds: int, failed: Sequence[int], took_s: float) -> None:
    """Replace the part of `file` that an earlier run wrote, and no other."""
    file.write_text(page.put(file.read_text(), NAME, part(first, seeds, failed, took_s)))


def part(first: int, seeds: int, failed: Sequence[int], took_s: float) -> str:
    """The two versions name what was run and by what; nothing here changes with every commit."""
    machine = f"{os.cpu_count()} cores, Python {platform.python_version()}, primacy {own_version()}"
    which = f" (seed {', '.join(map(str, failed))})" if failed else ""
    return (
        f"Seeds {first} to {first + seeds - 1}: {len(failed)} with anomalies{which},"
        f" in {took_s / 60:.1f} minutes.\n"
        f"Made by `./run sim --seeds {seeds} --seed {first} --page docs/simulation.md`\n"
        f"on {time.strftime('%Y-%m-%d', time.gmtime())}: {machine}."
    )
