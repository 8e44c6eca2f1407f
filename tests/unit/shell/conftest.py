"""The cluster in memory that most tests of the shell begin with."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.support.world import World

from failover_agent import killpoints


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    """No test leaves a point behind at which the next one's agent dies."""
    yield
    killpoints.arm("", lambda: None)


@pytest.fixture(params=[("db1", "db2"), ("db1", "db2", "db3")], ids=["two nodes", "three nodes"])
def world(request: pytest.FixtureRequest) -> World:
    """Whole, with db1 serving."""
    world = World(*request.param)
    assert world.bring_up() == "db1"
    return world
