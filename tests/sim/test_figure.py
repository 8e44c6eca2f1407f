"""What a run of seeds writes into a page."""

from __future__ import annotations

from pathlib import Path

import pytest

from rehearsal.page import BEGIN, END
from tests.sim import figure
from tests.sim.docs import PAGE


@pytest.fixture
def page(tmp_path: Path) -> Path:
    copy = tmp_path / "simulation.md"
    copy.write_text(PAGE.read_text())
    return copy


def around(text: str) -> tuple[str, str]:
    """The page before its part, and after it. Fails where there is not exactly one."""
    before, rest = text.split(BEGIN.format(figure.NAME))
    _, after = rest.split(END.format(figure.NAME))
    return before, after


def test_a_run_replaces_its_part_of_the_page_and_no_other(page: Path) -> None:
    figure.write(page, 1, 50, [], 60.0)
    figure.write(page, 101, 200, [104, 230], 60.0)

    assert around(page.read_text()) == around(PAGE.read_text())
    assert figure.part(101, 200, [104, 230], 60.0) in page.read_text()


def test_the_seeds_that_showed_anomalies_are_named() -> None:
    assert "Seeds 101 to 300: 2 with anomalies (seed 104, 230)" in figure.part(101, 200, [104, 230], 60.0)
    assert "Seeds 1 to 50: 0 with anomalies," in figure.part(1, 50, [], 60.0)
