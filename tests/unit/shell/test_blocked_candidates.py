"""A node that cannot claim must not keep the others from claiming."""

from __future__ import annotations

import pytest
from tests.support.world import World


@pytest.mark.parametrize("cut_off", [True, False])
def test_the_most_advanced_standby_is_passed_over_only_when_it_cannot_read_the_store(
    cut_off: bool,
) -> None:
    world = World("db1", "db2", "db3")
    assert world.bring_up() == "db1"
    world.run(5)
    world.lagging.add("db2")
    world.run(0.3)
    if cut_off:
        world.no_api.add("db3")
    world.power_off("db1")

    world.run(60)

    assert [name for name in world.nodes if world.acknowledges(name)] == (["db2"] if cut_off else ["db3"])
