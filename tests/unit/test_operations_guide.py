"""The guide for operators explains every rule that a journal can name."""

import re
from pathlib import Path

from failover_agent.core.rules import RULES

GUIDE = Path(__file__).parents[2] / "docs/operations.md"


def test_every_rule_is_explained() -> None:
    section = GUIDE.read_text().split("## The rules")[1].split("\n## ")[0]
    first_cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    explained = {name for cell in first_cells for name in re.findall(r"`([^`]+)`", cell)}
    assert {rule.name for rule in RULES} - explained == set()
