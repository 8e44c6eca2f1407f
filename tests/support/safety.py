"""What must hold of a cluster in memory whatever happened to it."""

from __future__ import annotations

import itertools

from tests.support.machine import Opening
from tests.support.world import World


def serving(world: World) -> list[str]:
    """The nodes that acknowledge writes at this moment."""
    return [name for name in world.nodes if world.acknowledges(name)]


def overlapping_gates(world: World) -> list[tuple[str, str]]:
    """Pairs of primaries whose gates were open at the same instant. Empty means safe."""
    openings: list[tuple[str, Opening]] = [
        (n.name, o) for n in world.nodes.values() for o in n.gate.openings if o.writes
    ]
    return [
        (a, b)
        for (a, x), (b, y) in itertools.combinations(openings, 2)
        if a != b and x.begin < y.end and y.begin < x.end
    ]


def assert_safe(world: World) -> None:
    """Never two open gates at once, and no server was stopped while clients could still be answered."""
    assert overlapping_gates(world) == []
    assert world.stopped_with_open_gate == []
    assert world.stopped_with_clients == []
    assert world.promoted_with_readers == []
    assert world.stopped_with_address == []
    assert world.served_unnamed == []
