"""A node was rewound, and its new primary died before it had sent what makes the copy consistent."""

from __future__ import annotations

from tests.support.safety import assert_safe, serving
from tests.support.world import World

from failover_agent.core.model import ServerState
from failover_agent.core.other_facts import ASTRAY_S
from failover_agent.shell.rejoin_turn import TURN_S

LACKS = 100
SOON_S = ASTRAY_S + TURN_S + 10


def rewound_by_a_primary_that_dies(lost: int) -> tuple[World, str]:
    """db1 waits for WAL of the second primary, which the third, who serves now, never had the last of."""
    world = World("db1", "db2", "db3")
    world.bring_up()
    world.clients_write = False
    world.postgres("db1").disk.end += 500  # of its own
    world.power_off("db1")
    world.run_until(lambda: bool(serving(world)))
    second = serving(world)[0]
    third = next(n for n in ("db2", "db3") if n != second)
    world.run_until(lambda: world.postgres(third).streaming)
    if lost:
        world.lagging.add(third)
        world.postgres(second).disk.end += lost
    world.postgres("db1").rewinds_lack = LACKS
    world.lagging.add("db1")
    world.power_on("db1")
    world.run_until(lambda: f"standby of {second}" in world.postgres("db1").starts)
    assert world.postgres("db1").state is ServerState.STARTING

    world.power_off(second)
    world.run_until(lambda: serving(world) == [third])
    world.lagging.clear()
    return world, third


def test_it_is_started_for_the_next_primary_that_has_what_it_lacks() -> None:
    world, third = rewound_by_a_primary_that_dies(lost=0)

    world.run_until(lambda: world.postgres("db1").streaming, limit_s=SOON_S)

    assert world.postgres("db1").upstream == third
    assert not any(s.startswith("clone") for s in world.postgres("db1").starts)
    assert_safe(world)


def test_it_is_cloned_where_the_next_primary_left_that_line_before() -> None:
    world, third = rewound_by_a_primary_that_dies(lost=LACKS // 2)

    world.run_until(lambda: world.postgres("db1").streaming, limit_s=SOON_S)

    starts = world.postgres("db1").starts
    assert f"clone {third}" in starts
    assert f"rewind {third}" not in starts
    assert_safe(world)


def test_a_long_recovery_that_began_before_another_served_is_given_its_time() -> None:
    world = World("db1", "db2", "db3")
    world.bring_up()
    world.clients_write = False
    standby = world.postgres("db3")
    standby.disk.whole_from = standby.disk.end
    standby.replays_for_s = 10 * ASTRAY_S
    world.power_off("db3")
    world.power_on("db3")
    world.run_until(lambda: standby.state is ServerState.STARTING)

    world.power_off("db1")
    world.run_until(lambda: standby.streaming, limit_s=11 * ASTRAY_S)

    assert "stop" not in standby.starts
    assert "start-anew" not in world.rules_of("db3")
