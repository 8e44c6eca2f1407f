"""The guide for operators explains every rule, error and command that there is."""

import re
from pathlib import Path

from failover_agent import errors
from failover_agent.adapters import metrics
from failover_agent.cli.ctl import main
from failover_agent.core.model import NodeReport, Server, ServerState, SyncProgress
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

    assert ours - {"AgentError"} == set(explained("Errors")) - {"NoAgent", "NotConfirmed", "LossNotAccepted"}


def test_every_command_for_people_is_explained() -> None:
    text = GUIDE.read_text().split("\n## ")[0]
    first_cells = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `failoverctl")]
    named = {word for cell in first_cells for word in re.findall(r"[\w-]+", cell)}

    assert {name for name, command in main.commands.items() if not command.hidden} - named == set()


def test_every_metric_to_alert_on_is_shown() -> None:
    server = Server(ServerState.PRIMARY, "7", 1, 100, 100, False)
    report = NodeReport("db1", "a", "i-1", server, 1, True, sync=SyncProgress())

    shown = set(re.findall(r"^primacy_\w+", metrics.text(report).decode(), re.MULTILINE))

    assert {name for name in explained("Metrics") if name.startswith("primacy_")} - shown == set()
