"""Primaries that are deposed without knowing it: whatever they do, clients hear nothing of it.

The hurts last well over the ttl; `./run measure` does the same for a whole minute.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from rehearsal.hurts import cut_off, host_paused
from rehearsal.sealing import replay_blocked
from rehearsal.steps import Stage, StepResult

from .conftest import WISH
from .judgement import assert_in_order, assert_safe

pytestmark = pytest.mark.lab

LONG_S = 15.0  # over twice the ttl

HURTS: dict[str, Callable[[Stage], StepResult]] = {
    "its agent stops, PostgreSQL goes on, replay is blocked": replay_blocked,
    "nothing reaches it nor leaves it": cut_off,
}


def assert_deposed_in_time(stage: Stage, hurt: Callable[[Stage], StepResult]) -> None:
    assert stage.ttl_s * 2 < LONG_S
    victim = stage.cluster.primary()

    step = hurt(replace(stage, still_s=LONG_S))

    assert_safe(step)
    assert_in_order(step, "detected", "claimed", "promoted", "opened", "first_write")
    status = stage.cluster.wait_until_whole(WISH.nodes)
    assert status["holder"] != victim


@pytest.mark.parametrize("hurt", HURTS)
def test_a_deposed_primary_acknowledges_nothing_once_its_lease_ended(stage: Stage, hurt: str) -> None:
    """Goal: gate, lease and seals alone keep the promise. `late` is counted from the API's own history."""
    assert_deposed_in_time(stage, HURTS[hurt])


def test_in_mode_async_too_where_no_commit_waits_for_a_standby_that_could_tell(stage: Stage) -> None:
    """Goal: without seals, gate and lease keep the promise; what is lost was acknowledged within a second.

    Method: the mode is switched while clients write, there and back. The host stands still and wakes up
    believing itself primary: the one deposed node that could answer clients.
    """
    before = stage.cluster.status()
    with in_mode("async", stage) as in_async:
        assert_deposed_in_time(in_async, host_paused)
    assert before is not None
    assert stage.cluster.mode() == before["mode"]


@contextmanager
def in_mode(mode: str, stage: Stage) -> Iterator[Stage]:
    """Clients are promised what `mode` promises while the block runs."""
    stage.cluster.switch_mode(mode)
    try:
        yield replace(stage, mode=mode)
    finally:
        stage.cluster.switch_mode(stage.mode)
