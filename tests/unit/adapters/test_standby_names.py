"""The list of synchronous standbys: what the agent writes it reads back, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.adapters.test_settings import PLAN

from failover_agent.adapters.postgres.settings import agent_config, written_waits
from failover_agent.adapters.postgres.standby_names import parsed, standby_names
from failover_agent.core.model import Unknown
from failover_agent.core.quorum import NOBODY, Waits, waits

LISTS = [NOBODY, waits(["db2"], 1), waits(["db2", "db3"], 1), waits(["db2", "db3", "db4"], 2)]


@pytest.mark.parametrize("wait", LISTS)
def test_what_is_written_is_read_back(wait: Waits, tmp_path: Path) -> None:
    plan = replace(PLAN, agent_config_file=tmp_path / "agent.conf")
    plan.agent_config_file.write_text(agent_config(plan, "", wait))

    assert parsed(standby_names(wait)) == wait
    assert written_waits(plan) == wait


def test_it_is_any_and_the_names_are_quoted() -> None:
    assert standby_names(waits(["db-3", "db-2"], 1)) == 'ANY 1 ("db-2", "db-3")'
    assert standby_names(NOBODY) == ""


@pytest.mark.parametrize(
    "text",
    [
        "*",
        "db2",
        "FIRST 1 (db2)",
        'FIRST 1 ("db2")',
        "ANY 1 (db2)",
        'ANY 3 ("db2")',
        'ANY 0 ("db2")',
        "2 (a, b)",
    ],
)
def test_a_list_of_somebody_elses_is_unknown(text: str) -> None:
    assert isinstance(parsed(text), Unknown)


@pytest.mark.parametrize("name", ['a"b', "a'b", "a\\b", ""])
def test_a_name_that_could_end_the_quotes_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is no name"):
        standby_names(waits([name], 1))


def test_a_file_that_is_not_there_waits_for_nobody_and_a_strange_one_is_unknown(tmp_path: Path) -> None:
    plan = replace(PLAN, agent_config_file=tmp_path / "agent.conf")
    assert written_waits(plan) == NOBODY

    plan.agent_config_file.write_text("primary_conninfo = ''\n")
    assert isinstance(written_waits(plan), Unknown)


def test_who_follows_somebody_waits_for_nobody() -> None:
    assert "synchronous_standby_names = ''" in agent_config(PLAN, "db1")
