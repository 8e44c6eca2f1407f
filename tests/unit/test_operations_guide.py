"""The guide for operators explains every rule and every error that a journal can name."""

import re
from pathlib import Path

from failover_agent import errors
from failover_agent.core.rules import RULES
from failover_agent.errors import AgentError

GUIDE = Path(__file__).parents[2] / "docs/operations.md"


def explained(section: str) -> list[str]:
    """The names in the first column of a section's table, from the top."""
    text = GUIDE.read_text().split(f"\n## {section}\n")[1].split("\n## ")[0]
    first_cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    return [name for cell in first_cells for name in re.findall(r"`([^`]+)`", cell)]


def below(cls: type[AgentError]) -> set[type[AgentError]]:
    return {cls}.union(*(below(child) for child in cls.__subclasses__()))


def test_every_rule_is_explained_in_the_order_in_which_the_agent_tries_them() -> None:
    assert explained("The rules") == [rule.name for rule in RULES]


def test_every_error_is_explained_and_no_other() -> None:
    ours = {cls.__name__ for cls in below(AgentError) if cls.__module__ == errors.__name__}

    assert ours - {"AgentError"} == set(explained("Errors")) - {"NoAgent"}
