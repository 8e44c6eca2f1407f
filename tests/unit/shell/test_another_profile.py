"""A running cluster is given another profile, agent by agent: no gate is open while others may claim (F6)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from tests.support.quorum import quorum
from tests.support.safety import overlapping_gates
from tests.support.world import World

from failover_agent.core.model import Absent, LeaseItem, NodeReport, Timings, Version, WriteOutcome
from failover_agent.core.timings import PROFILES, complaints

PATIENT, BALANCED, FAST = PROFILES["patient"], PROFILES["balanced"], PROFILES["fast"]


def give(world: World, timings: Timings, *names: str) -> None:
    """As the playbook does: the settings, then a restart."""
    for name in names:
        world.given[name] = timings
        world.end_agent(name)
        world.run(1.0)
        world.start_agent(name)


def three(timings: Timings) -> World:
    """db1 serves by `timings`, and commits wait for db2 or db3; every agent may vote."""
    world = World("db1", "db2", "db3", mode="quorum", failsafe=True, timings=timings)
    assert world.bring_up() == "db1"
    world.run(1.5 * timings.ttl_s)
    assert world.lease().sync.members == ("db2", "db3")
    return world


def stopped(world: World, name: str) -> None:
    """Its agent stands still; the kernel keeps the gate open until the deadline it was given."""
    world.stop_agent(name)


def cut_off(world: World, name: str) -> None:
    world.no_api.add(name)
    cut_off_from_members(world, name)


def cut_off_from_members(world: World, name: str) -> None:
    world.cut_links |= {frozenset((name, other)) for other in world.nodes if other != name}


@pytest.mark.parametrize("profile", ["fast", "balanced"])
@pytest.mark.parametrize("hurt", [stopped, cut_off])
def test_members_that_were_restarted_first_miss_the_holder_when_its_gate_is_shut(
    hurt: Callable[[World, str], None], profile: str
) -> None:
    """The run ended before the holder was reached."""
    world = three(PATIENT)
    give(world, PROFILES[profile], "db2", "db3")
    world.run(1.1 * PATIENT.ttl_s)  # from then on they vote (P1)
    assert world.primary() == "db1"
    began = world.clock.time
    hurt(world, "db1")

    world.run_until(lambda: any(world.acknowledges(name) for name in ("db2", "db3")))

    assert overlapping_gates(world) == []
    assert world.clock.time - began >= PATIENT.suspect_after_s - PATIENT.beat_s


def test_a_holder_binds_its_gate_before_it_writes_that_it_may_be_missed_sooner() -> None:
    """As for a lower ttl (L3), and also where the ttl stays: whatever the answer, it may have landed."""
    hasty = replace(BALANCED, ttl_s=PATIENT.ttl_s)
    assert complaints(hasty) == []
    world = three(PATIENT)
    until = world.clock.time + hasty.suspect_after_s - hasty.margin_s
    gate, store, sent = world.nodes["db1"].gate, world.store, []
    assert gate.openings[-1].end > until
    write = store.write

    def watched(item: LeaseItem, *, only_if: Absent | Version) -> WriteOutcome:
        sent.append((item.suspect_after_s, gate.is_open() and gate.openings[-1].end > until))
        return write(item, only_if=only_if)

    store.write = watched  # type: ignore[method-assign]
    world.given["db1"] = hasty
    world.stop_agent("db1")  # killed: it asked nobody to wait
    cut_off_from_members(world, "db1")
    world.start_agent("db1")
    for _ in range(2):  # what the last life left unsettled, then its own; the loop has not looked yet
        world.nodes["db1"].agent.keeper.round()
        world.clock.time += hasty.beat_s

    assert sent == [(PATIENT.suspect_after_s, True), (hasty.suspect_after_s, False)]


def test_the_whole_cluster_is_missed_as_soon_as_its_new_profile_says() -> None:
    world = three(PATIENT)
    give(world, FAST, "db2", "db3", "db1")
    world.run(1.1 * PATIENT.ttl_s)
    assert world.primary() == "db1"
    began = world.clock.time
    world.stop_agent("db1")

    world.run_until(lambda: any(world.acknowledges(name) for name in ("db2", "db3")))

    assert overlapping_gates(world) == []
    assert world.clock.time - began < BALANCED.suspect_after_s


def test_a_more_patient_holder_does_not_count_on_members_that_have_not_read_so() -> None:
    """They heard it, and go by the item they read last; without its way to the store nobody tells them."""
    world = quorum("db1", "db2", "db3", k=1, failsafe=True)
    world.no_api.update(["db2", "db3"])
    give(world, PATIENT, "db1")
    world.run(1.0)
    desk = world.nodes["db1"].agent.keeper._desk
    assert world.lease().suspect_after_s == PATIENT.suspect_after_s
    assert told(world, "db2").suspects_after_s == BALANCED.suspect_after_s
    assert desk.answered == {}

    world.no_api.clear()
    world.run(PATIENT.beat_s)

    assert told(world, "db2").suspects_after_s == PATIENT.suspect_after_s
    assert set(desk.answered) == {"db2", "db3"}
    assert world.primary() == "db1"


def told(world: World, name: str) -> NodeReport:
    return world.nodes[name].agent.report()
