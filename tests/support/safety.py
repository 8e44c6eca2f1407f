"""What must hold of a cluster in memory whatever happened to it."""

from __future__ import annotations

from tests.support.world import World


def serving(world: World) -> list[str]:
    """The nodes that acknowledge writes at this moment."""
    return [name for name in world.nodes if world.acknowledges(name)]


def assert_safe(world: World) -> None:
    """Never two open gates at once, and no server was stopped while clients could still be answered."""
    assert world.overlapping_gates() == []
    assert world.stopped_with_open_gate == []
    assert world.stopped_with_clients == []
    assert world.promoted_with_readers == []
    assert world.stopped_with_address == []
    assert world.served_unnamed == []
