"""The table of planted bugs in docs/simulation.md, made from the plants and the seeds that caught them."""

from __future__ import annotations

from pathlib import Path

from tests.sim.planted import caught, load, names

PAGE = Path(__file__).parents[2] / "docs" / "simulation.md"
BEGIN, END = "<!-- planted: begin -->\n", "<!-- planted: end -->\n"


def table() -> str:
    seeds = caught()
    rows = ["| plant | rule | what the agent does wrong | seed | caught by |\n", "|---|---|---|---|---|\n"]
    for name in names():
        plant, catch = load(name), seeds.get(name)
        found = (str(catch.seed), ", ".join(catch.checks)) if catch else ("none", "nothing yet")
        rows.append(f"| `{name}` | {plant.rule} | {plant.wrong} | {found[0]} | {found[1]} |\n")
    return "".join(rows)


def with_table(text: str) -> str:
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    return f"{before}{BEGIN}{table()}{END}{after}"


def write_table() -> None:
    PAGE.write_text(with_table(PAGE.read_text()))
