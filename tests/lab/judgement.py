"""What every scenario asks of its step: safety and order, never a tight time."""

from __future__ import annotations

from rehearsal.calm import CalmResult
from rehearsal.history import double, lost
from rehearsal.recorder import Recorder
from rehearsal.steps import StepResult
from tests.support.unsafe import Unsafe


def assert_safe(step: StepResult) -> None:
    if not step.good:
        raise Unsafe(step)


def assert_kept(calm: CalmResult) -> None:
    """Nothing is lost or doubled, whether or not the primary moved."""
    if calm.lost or calm.double:
        raise Unsafe(calm)


def assert_one_writer(recorder: Recorder) -> None:
    if two := double(list(recorder.acks())):
        raise Unsafe(two)


def assert_all_there(recorder: Recorder) -> None:
    acks = list(recorder.acks())
    if gone := lost(acks, recorder.present()):
        raise Unsafe(gone)


def assert_in_order(step: StepResult, *names: str) -> None:
    moments = [step.phases[name] for name in names]
    assert moments == sorted(moments), step.phases
