"""The page of figures: what it says must follow from the steps, and it must not hide a missed promise."""

from __future__ import annotations

from typing import Any

import pytest

from rehearsal.calm import CalmResult
from rehearsal.figures import Measured, as_part, calm_rows, missed, phase_rows, rows
from rehearsal.steps import StepResult

VERSIONS = {"postgresql": "17.12", "kernel": "6.18", "agent": "0.1.0", "host": "Debian"}


def step(outage_s: float, called: str = "switchover", **more: Any) -> StepResult:
    return StepResult(called, outage_s, **more)


def measured(*steps: StepResult, profile: str = "fast", mode: str = "async") -> Measured:
    return Measured(profile, steps, VERSIONS, mode)


def calm(**more: Any) -> CalmResult:
    return CalmResult(
        **{
            "name": "blips",
            "seconds": 50.0,
            "failovers": 0,
            "interventions": 0,
            "longest_gap_s": 3.0,
            "agents_gap_s": 0.2,
            "controls_gap_s": 2.9,
            "acked": 900,
            "lost": 0,
            "double": 0,
            **more,
        }
    )


def test_a_row_shows_the_median_and_the_range_of_its_own_steps_and_sums_what_was_lost() -> None:
    steps = [
        step(0.4, lost=1, rejoined_s=3),
        step(9.0, "power_loss", lost=5),
        step(0.2, double=1, rejoined_s=1),
        step(0.9, late=2, lost=1, rejoined_s=8),
    ]

    switched, lost_power = rows(steps)

    assert switched == ("switchover", "3", "0.40 (0.20-0.90)", "3.0 (1.0-8.0)", "2", "1", "2")
    assert lost_power[:3] == ("power loss", "1", "9.00 (9.00-9.00)")


@pytest.mark.parametrize(
    ("name", "outage_s", "profile", "mode", "said"),
    [
        ("switchover", 0.5, "fast", "async", False),
        ("switchover", 0.51, "fast", "async", True),
        ("switchover", 0.51, "balanced", "async", False),
        ("power_loss", 4.0, "fast", "async", False),
        ("power_loss", 4.1, "fast", "async", True),
        ("power_loss", 2.0, "fast", "quorum", False),
        ("power_loss", 2.1, "fast", "quorum", True),
        ("power_loss", 3.1, "balanced", "quorum", True),
        ("storage_hung", 15.1, "balanced", "quorum", True),
        ("postmaster_killed", 1.6, "fast", "async", True),
        ("cut_off", 60.0, "fast", "async", False),
    ],
)
def test_a_missed_promise_is_said_and_a_kept_one_is_not(
    name: str, outage_s: float, profile: str, mode: str, said: bool
) -> None:
    one = measured(step(outage_s, name), profile=profile, mode=mode)

    assert bool(missed([one])) is said
    assert ("We miss" in as_part([one], "./run measure", 2)) is said


@pytest.mark.parametrize(("outage_s", "behind"), [(0.33, False), (0.34, True)])
def test_who_is_quicker_than_we_are_is_named(outage_s: float, behind: bool) -> None:
    assert ("We are behind" in as_part([measured(step(outage_s))], "./run measure", 2)) is behind


def test_phases_are_medians_of_the_runs_that_had_them() -> None:
    steps = [
        step(1.0, phases={"detected": 0.1, "opened": 0.5}),
        step(1.0, phases={"detected": 0.3}),
        step(1.0, phases={"detected": 0.2, "opened": 0.7}),
    ]

    ((name, detected, claimed, _promoted, opened, *_),) = phase_rows(steps)

    assert (name, detected, claimed, opened) == ("switchover", "0.20", "-", "0.60")


@pytest.mark.parametrize("unsafe", [step(0.1, double=1), step(0.1, late=1), step(0.1, lost_beyond_mode=1)])
def test_a_step_with_anything_unsafe_is_not_good(unsafe: StepResult) -> None:
    assert step(0.1, lost=3).good
    assert not unsafe.good


def test_a_row_of_a_disturbance_shows_the_worst_of_its_runs() -> None:
    runs = [calm(agents_gap_s=0.1, longest_gap_s=4.0), calm(agents_gap_s=0.3), calm(name="api_away")]

    blips, away = calm_rows(runs)

    assert blips == ("blips", "2", "50", "0", "4.00", "0.30", "2.90", "0", "0")
    assert away[:2] == ("api away", "1")


@pytest.mark.parametrize(
    ("more", "good"),
    [
        ({"longest_gap_s": 9.0}, True),
        ({"agents_gap_s": 1.0}, True),
        ({"agents_gap_s": 1.01}, False),
        ({"failovers": 1}, False),
        ({"lost": 1}, False),
        ({"double": 1}, False),
    ],
)
def test_a_disturbance_that_moved_the_primary_or_made_the_agent_stop_writes_breaks_a_promise(
    more: dict[str, Any], good: bool
) -> None:
    one = Measured("fast", (), VERSIONS, "quorum", (calm(**more),))

    assert one.good is good
    assert bool(missed([one])) is not good
