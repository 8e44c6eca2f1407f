"""Every rule number that is cited anywhere has its row in docs/protocol.md, and what a row names exists."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/protocol.md"
AGENT = ROOT / "src/failover_agent"
# Whoever cites a rule does it in text. `S3` is AWS's, too; it has a row either way.
CITING = ("src", "roles", "playbooks", "molecule", "inventory", "tests", "docs")
TEXT = {".py", ".md", ".yml", ".toml", ".j2", ".sh", ".conf", ".service"}
NUMBER = re.compile(r"\b[LSFPGNR][1-9][0-9]?\b")


def rows() -> dict[str, list[str]]:
    """The other cells of each rule's row, by number."""
    found: dict[str, list[str]] = {}
    for line in PAGE.read_text().splitlines():
        if match := re.match(rf"\| ({NUMBER.pattern}) \|", line):
            assert match[1] not in found, f"{match[1]} has two rows"
            found[match[1]] = re.split(r"(?<!\\)\|", line)[2:-1]
    return found


def cited() -> dict[str, str]:
    """Rule number → a file that cites it."""
    files = [p for room in CITING for p in sorted((ROOT / room).rglob("*")) if p.suffix in TEXT]
    return {
        number: str(path) for path in files if path != PAGE for number in NUMBER.findall(path.read_text())
    }


def planted() -> set[str]:
    """The rules of which one is left out on purpose somewhere."""
    names = [path.stem for path in (ROOT / "tests/sim/planted").glob("*_*.py")]
    return {name.split("_")[0].upper() for name in names} & set(rows())


def test_every_rule_that_is_cited_has_a_row() -> None:
    assert {number: by for number, by in cited().items() if number not in rows()} == {}


def test_no_row_is_a_rule_that_nobody_cites() -> None:
    assert set(rows()) - set(cited()) == set()


def test_a_row_says_that_its_rule_is_planted_where_it_is() -> None:
    assert {number for number, cells in rows().items() if "planted" in cells[-1]} == planted()


def test_every_rule_has_its_counter_example_and_who_keeps_and_shows_it() -> None:
    for number, (what, kept_by, shown_by) in rows().items():
        assert "→" in what, number
        assert "`" in kept_by, number
        assert shown_by.strip(), number


def test_every_file_that_a_row_names_exists() -> None:
    for number, (_, kept_by, shown_by) in rows().items():
        for name in re.findall(r"`([^`]+/[^`]+)`", kept_by):
            places = (AGENT / name, ROOT / name)
            assert any(place.exists() for place in places), f"{number}: {name}"
        for name in re.findall(r"`([^`]+/[^`]+)`", shown_by):
            assert (ROOT / "tests" / name).exists() or (ROOT / name).exists(), f"{number}: {name}"
