"""A timeline that began moments ago must not make everybody unfit, nor be begun twice."""

from __future__ import annotations

from tests.support.safety import overlapping_gates, serving
from tests.support.world import World

from failover_agent.core.lsn import show
from failover_agent.core.model import Version


def db2_serves_for_a_moment(world: World) -> None:
    """db1 dies, db2 is promoted and dies before db3 has received anything of the new timeline."""
    assert world.bring_up() == "db1"
    world.clients_write = False
    world.run(5)
    world.power_off("db1")
    world.run_until(lambda: world.lease().epoch == 2)
    world.lagging.add("db3")
    world.run_until(lambda: serving(world) == ["db2"])
    world.run(2)
    world.power_off("db2")
    world.lagging.clear()


def test_a_standby_that_has_every_byte_takes_over_though_it_never_saw_the_new_timeline() -> None:
    """Counter-example: db2 was promoted and died within a second; db3 waited for ever."""
    world = World("db1", "db2", "db3")
    db2_serves_for_a_moment(world)

    world.run_until(lambda: serving(world) == ["db3"])

    assert overlapping_gates(world) == []


def test_a_timeline_that_somebody_followed_is_never_begun_twice() -> None:
    """Counter-example: db2's timeline 2 went on in db4; db3 began another 2, and db4 streamed from it."""
    world = World("db1", "db2", "db3", "db4")
    assert world.bring_up() == "db1"
    world.run(5)
    world.power_off("db1")
    world.run_until(lambda: world.lease().epoch == 2)
    world.lagging.add("db3")
    world.run_until(lambda: serving(world) == ["db2"] and world.postgres("db4").streaming)
    world.run(1)
    followed = world.postgres("db4").disk
    world.power_off("db2")
    world.power_off("db4")
    world.lagging.clear()
    world.run_until(lambda: serving(world) == ["db3"])
    world.power_on("db4")
    world.run_until(lambda: world.postgres("db4").streaming)

    assert world.postgres("db3").disk.timeline > followed.timeline
    assert "rewind db3" in world.postgres("db4").starts
    assert world.postgres("db4").disk.began == world.postgres("db3").disk.began


def test_the_gate_stays_shut_until_the_lease_names_the_new_timeline() -> None:
    world = World("db1", "db2")
    assert world.bring_up() == "db1"
    world.run(5)
    world.postgres("db2").when_promoted = lambda: world.no_api.add("db2")
    world.power_off("db1")
    world.run_until(lambda: "promote" in world.postgres("db2").starts)
    world.run(2)
    assert serving(world) == []

    world.no_api.clear()
    world.run_until(lambda: serving(world) == ["db2"], limit_s=3)
    assert world.lease().epoch == 2
    assert world.lease().timeline == 2
    assert world.served_unnamed == []


def test_nobody_takes_the_word_of_a_lease_of_a_newer_form() -> None:
    world = World("db1", "db2")
    assert world.bring_up() == "db1"
    world.power_off("db1")
    item = world.lease()
    world.store.write(item.but(schema_version=99, token="newer"), only_if=Version(item.epoch, item.token))
    world.run(60)

    assert serving(world) == []
    assert world.rules_of("db2")[-1] == "outdated"


def test_the_lease_says_which_agent_wrote_it() -> None:
    world = World("db1", "db2")
    assert world.bring_up() == "db1"

    assert world.lease().agent == "test"


def test_status_shows_the_version_of_every_agent_and_of_the_leases_writer() -> None:
    world = World("db1", "db2")
    assert world.bring_up() == "db1"
    world.run(2)

    for node in world.nodes.values():
        status = node.agent.cluster()
        assert {m["name"]: m["version"] for m in status["members"]} == {"db1": "test", "db2": "test"}  # type: ignore[attr-defined]
        assert status["lease"] == {
            "agent": "test",
            "schema_version": 1,  # in mode async older agents may go on with it
            "timeline": 1,
            "lsn": show(world.lease().lsn),
            "may_claim": [],
            "carried_by": [],
            "renewed_through": "",
        }
