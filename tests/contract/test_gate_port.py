"""What every Gate promises to the shell: the kernel's, and the one of the tests' worlds."""

from __future__ import annotations

import contextlib
import os
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from failover_agent.errors import GateFailed
from failover_agent.ports import Gate
from tests.support.machine import HandClock, KernelGate

from .gate_net import SHUT, Net, gated_net, now

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

SHORT_S, LONG_S = 2.0, 60.0


@dataclass
class Guarded:
    """A gate, its clock, and a client that calls; a call returns whether it was let in and stays."""

    gate: Gate
    now: Callable[[], float]
    pass_time: Callable[[float], None]
    call: Callable[[], bool]


def in_memory() -> Guarded:
    clock = HandClock()
    gate = KernelGate(clock)

    def call() -> bool:
        gate.sessions += gate.is_open()
        return gate.is_open()

    def pass_time(seconds: float) -> None:
        clock.time += seconds

    return Guarded(gate, clock.now, pass_time, call)


@dataclass
class Caller:
    net: Net
    sessions: list[socket.socket] = field(default_factory=list)

    def __call__(self) -> bool:
        try:
            self.sessions.append(self.net.call())
        except SHUT:
            return False
        return True


def pass_real_time(seconds: float) -> None:
    threading.Event().wait(seconds)


@pytest.fixture(params=["memory", "kernel"])
def guarded(request: pytest.FixtureRequest) -> Iterator[Guarded]:
    if request.param == "memory":
        yield in_memory()
        return
    with gated_net() as net:
        caller = Caller(net)
        yield Guarded(net.gate, now, pass_real_time, caller)
        for session in caller.sessions:
            session.close()


def test_a_gate_is_shut_until_it_is_opened_and_shut_again_at_its_deadline(guarded: Guarded) -> None:
    assert not guarded.call()
    guarded.gate.open_until(guarded.now() + SHORT_S)
    assert guarded.call()

    guarded.pass_time(SHORT_S + 0.05)

    assert not guarded.call()


def test_a_later_deadline_prolongs(guarded: Guarded) -> None:
    guarded.gate.open_until(guarded.now() + SHORT_S)
    guarded.gate.open_until(guarded.now() + LONG_S)

    guarded.pass_time(SHORT_S + 0.05)

    assert guarded.call()


def test_an_earlier_deadline_shortens(guarded: Guarded) -> None:
    guarded.gate.open_until(guarded.now() + LONG_S)
    guarded.gate.open_until(guarded.now() + SHORT_S)

    guarded.pass_time(SHORT_S + 0.05)

    assert not guarded.call()


def test_shutting_does_not_wait_for_the_deadline_and_may_be_said_again(guarded: Guarded) -> None:
    guarded.gate.open_until(guarded.now() + LONG_S)
    for _ in range(2):
        guarded.gate.shut()
        assert not guarded.call()

    guarded.gate.open_until(guarded.now() + LONG_S)
    assert guarded.call()


def test_an_opening_that_is_over_before_it_begins_leaves_the_gate_shut(guarded: Guarded) -> None:
    guarded.gate.open_until(guarded.now() + LONG_S)

    with contextlib.suppress(GateFailed):
        guarded.gate.open_until(guarded.now() - 0.001)

    assert not guarded.call()


@pytest.mark.parametrize("end", ["end_sessions", "dismiss"])
def test_sessions_are_ended_once_and_counted(guarded: Guarded, end: str) -> None:
    guarded.gate.open_until(guarded.now() + LONG_S)
    assert guarded.call()
    assert guarded.call()
    guarded.gate.shut()
    assert guarded.gate.can_end_sessions()

    assert getattr(guarded.gate, end)() == 2
    assert getattr(guarded.gate, end)() == 0


def test_a_restored_gate_is_intact_and_shut(guarded: Guarded) -> None:
    guarded.gate.open_until(guarded.now() + LONG_S)

    guarded.gate.restore()

    assert guarded.gate.intact()
    assert not guarded.call()
