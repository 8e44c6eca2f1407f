"""A cluster that begins with data that exists, on nodes in memory."""

from __future__ import annotations

from tests.support.safety import overlapping_gates
from tests.support.world import World


def test_a_cluster_begins_with_data_that_a_token_names_and_the_others_clone_it() -> None:
    """L6: the member with the data is not the first by name, and nobody runs initdb."""
    world = World("db1", "db2", "db3")
    for node in world.nodes.values():
        node.token.spend()
    world.nodes["db2"].token.here, world.nodes["db2"].token.named = True, "precious"
    world.postgres("db2").disk.system = "precious"

    world.run_until(world.is_whole)

    assert [name for name in world.nodes if world.acknowledges(name)] == ["db2"]
    assert world.lease().system_identifier == "precious"
    assert world.lease().epoch == 1
    starts = {name: world.postgres(name).starts for name in world.nodes}
    assert not any("init" in started for started in starts.values()), starts
    assert starts["db1"][0] == starts["db3"][0] == "clone db2"
    assert not world.nodes["db2"].token.here
    assert overlapping_gates(world) == []
