"""A primary whose volume fails it: what was acknowledged is on the node that serves next."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rehearsal.hurts import disk_full, storage_hung
from rehearsal.steps import Stage, StepResult

from .conftest import WISH
from .judgement import assert_in_order, assert_safe

pytestmark = pytest.mark.lab

FAILS: dict[str, Callable[[Stage], StepResult]] = {
    "it does not answer": storage_hung,
    "it is full": disk_full,  # which also waits for the alarm, and for its end
}


@pytest.mark.parametrize("how", FAILS)
def test_a_primary_leaves_a_volume_that_fails_it_without_a_loss_and_comes_back(
    stage: Stage, how: str
) -> None:
    victim = stage.cluster.primary()

    step = FAILS[how](stage)

    assert_safe(step)
    assert step.lost == 0
    assert_in_order(step, "detected", "claimed", "promoted", "opened", "first_write")
    status = stage.cluster.wait_until_whole(WISH.nodes)
    assert status["holder"] != victim
