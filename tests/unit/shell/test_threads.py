"""The same shell on its real threads and a real clock: it starts, serves, reacts, and leaves cleanly."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from tests.support.machine import KernelGate
from tests.support.world import World

from failover_agent.adapters.clock import SystemClock
from failover_agent.core.model import NodeReport, Unknown
from failover_agent.shell.agent import Agent
from failover_agent.shell.journal import Journal

LIMIT_S = 20


class Watcher:
    """Stands where peers are told our report, and lets a test wait for one."""

    def __init__(self) -> None:
        self._told: queue.Queue[NodeReport] = queue.Queue()

    def publish(self, report: NodeReport) -> None:
        self._told.put(report)

    def carry(self, epoch: object, heard_by: object) -> None: ...

    def reports(self) -> dict[str, Unknown]:
        return {}

    def wait_for(self, fact: Callable[[NodeReport], bool]) -> None:
        while not fact(self._told.get(timeout=LIMIT_S)):
            pass


@pytest.fixture
def world() -> World:
    world = World("db1")
    world.clock = SystemClock()  # type: ignore[assignment]
    world.nodes["db1"].gate = KernelGate(world.clock)
    return world


@contextmanager
def running(world: World) -> Iterator[tuple[Agent, Watcher]]:
    node, watcher = world.nodes["db1"], Watcher()
    made = world._agent(node)
    ports = made.body.ports
    object.__setattr__(ports, "peers", watcher)
    journal = Journal(ports.clock.wall, lambda *_: None)
    agent = Agent(ports, made.body.settings, iter(map(str, range(10_000))).__next__, journal=journal)
    thread = threading.Thread(target=agent.run)
    thread.start()
    try:
        yield agent, watcher
    finally:
        agent.stop()
        thread.join(LIMIT_S)
        assert not thread.is_alive()


def test_it_serves_restarts_in_place_and_leaves_the_gate_open_for_its_next_life(world: World) -> None:
    node = world.nodes["db1"]
    with running(world) as (_, watcher):
        watcher.wait_for(lambda report: report.serving)
        world.postmaster_dies("db1")
        watcher.wait_for(lambda report: not report.serving)
        watcher.wait_for(lambda report: report.serving)
    starts = list(node.postgres.starts)
    assert node.gate.is_open()

    with running(world) as (agent, watcher):
        watcher.wait_for(lambda report: report.serving)
        assert agent.keeper.holds(1)

    assert node.postgres.starts == starts == ["init", "primary", "primary"]
    assert world.lease().epoch == 1
