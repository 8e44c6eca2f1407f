"""What every scenario asks of its step: safety and order, never a tight time."""

from __future__ import annotations

from rehearsal.steps import StepResult


def assert_safe(step: StepResult) -> None:
    assert step.double == 0, step
    assert step.late == 0, step
    assert step.lost_beyond_mode == 0, step


def assert_in_order(step: StepResult, *names: str) -> None:
    moments = [step.phases[name] for name in names]
    assert moments == sorted(moments), step.phases
