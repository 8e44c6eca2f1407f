"""What a standby notes of the timeline it received, for the time after a restart."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from failover_agent.adapters.postgres.plan import PostgresPlan
from failover_agent.adapters.postgres.seen_timeline import SeenTimeline


@pytest.fixture
def plan(tmp_path: Path) -> PostgresPlan:
    return SimpleNamespace(state_dir=tmp_path)  # type: ignore[return-value]


def test_the_next_life_knows_what_the_last_one_saw_of_that_system_alone(plan: PostgresPlan) -> None:
    SeenTimeline(plan).note("s1", 3)

    assert SeenTimeline(plan).of("s1") == 3
    assert SeenTimeline(plan).of("s2") == 0, "another cluster's volume may lie there now"


def test_the_last_word_counts_and_nothing_is_left_once_it_is_forgotten(plan: PostgresPlan) -> None:
    seen = SeenTimeline(plan)
    seen.note("s1", 3)
    seen.note("s1", 4)
    assert SeenTimeline(plan).of("s1") == 4

    seen.forget()
    assert (seen.of("s1"), SeenTimeline(plan).of("s1")) == (0, 0)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"system": "s1"}', '{"system": "s1", "timeline": "x"}'])
def test_what_cannot_be_read_says_nothing(plan: PostgresPlan, text: str) -> None:
    (plan.state_dir / "seen-timeline").write_text(text)

    assert SeenTimeline(plan).of("s1") == 0


def test_a_disk_that_refuses_the_note_leaves_everything_as_it_was(plan: PostgresPlan) -> None:
    (plan.state_dir / "seen-timeline").mkdir()
    seen = SeenTimeline(plan)
    seen.note("s1", 3)

    assert seen.of("s1") == 0
