"""Primaries that are deposed without knowing it: whatever they do, clients hear nothing of it.

The hurts last well over the ttl; `./run measure` does the same for a whole minute.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rehearsal.hurts import agent_stopped, cut_off, host_paused
from rehearsal.steps import Stage, StepResult

from .conftest import WISH
from .judgement import assert_in_order, assert_safe

pytestmark = pytest.mark.lab

LONG_S = 15.0  # over twice the ttl

HURTS: dict[str, Callable[[Stage], StepResult]] = {
    "its agent stops while PostgreSQL runs on": lambda stage: agent_stopped(stage, LONG_S),
    "its host stands still and wakes up": lambda stage: host_paused(stage, LONG_S),
    "nothing reaches it nor leaves it": cut_off,
}


@pytest.mark.parametrize("hurt", HURTS)
def test_a_deposed_primary_acknowledges_nothing_once_its_lease_ended(stage: Stage, hurt: str) -> None:
    """Goal: gate and lease alone keep the promise. `late` is counted from the API's own history."""
    assert stage.ttl_s * 2 < LONG_S
    victim = stage.cluster.primary()

    step = HURTS[hurt](stage)

    assert_safe(step)
    assert_in_order(step, "detected", "claimed", "promoted", "opened", "first_write")
    status = stage.cluster.wait_until_whole(WISH.nodes)
    assert status["holder"] != victim
