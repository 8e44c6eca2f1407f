"""Every clock keeps the promises of ports.Clock: forward only, and a wait ends by the event or the time."""

from __future__ import annotations

import threading

import pytest

from failover_agent.adapters.clock import SystemClock
from failover_agent.ports import Clock
from tests.support.machine import HandClock

WAIT_S = 0.05


@pytest.fixture(params=["system", "memory"])
def clock(request: pytest.FixtureRequest) -> Clock:
    return SystemClock() if request.param == "system" else HandClock()


def test_a_wait_for_nothing_lasts_as_long_as_it_was_told(clock: Clock) -> None:
    began, wall_began = clock.now(), clock.wall()

    woken = clock.wait(threading.Event(), WAIT_S)

    assert not woken
    assert clock.now() >= began + WAIT_S
    assert clock.wall() > wall_began


def test_a_wait_for_what_has_come_does_not_wait(clock: Clock) -> None:
    came, limit_s = threading.Event(), 3600.0
    came.set()
    began = clock.now()

    assert clock.wait(came, limit_s)
    assert clock.now() - began < limit_s


def test_a_time_that_is_over_already_is_no_wait(clock: Clock) -> None:
    assert not clock.wait(threading.Event(), 0.0)
