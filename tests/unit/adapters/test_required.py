"""What a start in recovery is told beside its files, and by which settings a replay is held."""

from __future__ import annotations

import pytest
from tests.unit.adapters.test_settings import PLAN

from failover_agent.adapters.postgres.on_disk import REQUIRED
from failover_agent.adapters.postgres.required import held, held_column, raised, short
from failover_agent.adapters.postgres.settings import agent_config

NEEDED = dict.fromkeys(REQUIRED.values(), 40)


@pytest.mark.parametrize("name", NEEDED)
@pytest.mark.parametrize(("files", "told"), [(39, True), (40, False), (41, False)])
def test_only_what_the_files_say_too_low_is_raised_and_to_what_is_needed(
    name: str, files: int, told: bool
) -> None:
    assert raised(NEEDED, NEEDED | {name: files}) == ({name: 40} if told else {})


def test_a_setting_that_nobody_can_read_is_raised_for_a_standby_must_come_up() -> None:
    files = {name: 40 for name in NEEDED if name != "max_wal_senders"}

    assert raised(NEEDED, files) == {"max_wal_senders": 40}
    assert raised(NEEDED | {"max_wal_senders": 0}, files) == {"max_wal_senders": 0}


def test_what_is_raised_stands_last_where_it_wins_and_is_gone_when_not_said() -> None:
    text = agent_config(PLAN, "db1", raised={"max_connections": 120, "max_wal_senders": 20})

    assert text == agent_config(PLAN, "db1") + "max_connections = 120\nmax_wal_senders = 20\n"
    assert "max_" not in agent_config(PLAN, "db1")


def test_a_held_replay_is_explained_by_each_setting_that_is_too_low() -> None:
    assert short(NEEDED, NEEDED) == ""
    assert short(NEEDED, NEEDED | {"max_connections": 41}) == ""
    assert short(NEEDED, NEEDED | {"max_connections": 39, "max_prepared_transactions": 0}) == (
        "max_connections is 39, the primary's 40, max_prepared_transactions is 0, the primary's 40"
    )


def test_who_is_not_paused_is_not_held_and_before_14_nobody_is_asked() -> None:
    assert held(PLAN, None) == ""
    assert "pause_state" in held_column(14)
    assert "pause_state" not in held_column(13), "there is no such function: every look would fail"
