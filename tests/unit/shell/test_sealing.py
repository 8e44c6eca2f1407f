"""A member's side of sealing, with its deaths, restarts and late reads; and the holder's writes of (S, k)."""

from __future__ import annotations

import pytest
from tests.support.world import World

from failover_agent import killpoints
from failover_agent.core.model import ServerState, SyncSet, Unknown
from failover_agent.core.seals import Seal, Sealed
from failover_agent.errors import PeerRefused
from failover_agent.shell.lease_desk import SyncPromise


def promise(world: World, *members: str, k: int) -> SyncPromise:
    version = world.lease().sync.version + 1
    return SyncPromise(SyncSet(tuple(members), k, version), ("db1", *members), "async")


def three() -> World:
    """db1 serves with S = {db2, db3}, k = 1; every agent has run for longer than a ttl."""
    world = World("db1", "db2", "db3")
    assert world.bring_up() == "db1"
    world.run(10)
    keeper = world.nodes["db1"].agent.keeper
    assert keeper.write_sync(world.lease().epoch, promise(world, "db2", "db3", k=1))
    world.run(1)
    return world


def asked(world: World) -> Seal:
    item = world.lease()
    return Seal("c", item.epoch, item.sync.version, "", against="db1")


def lost_primary() -> World:
    """The same, and db1 has been gone for so long that everybody suspects, and nobody claims yet."""
    world = three()
    world.no_api.update(["db1"])
    world.power_off("db1")
    world.run(3)
    assert world.lease().epoch == 1
    return world


def seal(world: World, name: str) -> Sealed | Unknown:
    other = next(n for n in world.nodes if n not in (name, "db1"))
    return world.nodes[other].agent.body.ports.peers.ask_seal(name, asked(world))


def vote(world: World, name: str) -> str:
    return world.nodes[name].agent.vote(asked(world))


# Votes


def test_a_vote_changes_nothing() -> None:
    world = lost_primary()

    assert vote(world, "db2") == ""
    assert world.postgres("db2").cut == ""
    assert world.nodes["db2"].state_notes.load("seal") is None


def test_whoever_hears_the_primary_refuses_and_so_does_the_primary() -> None:
    world = three()
    world.run(10)

    assert vote(world, "db2").startswith("db1 ")
    assert vote(world, "db1") == "db1 holds the lease itself"
    with pytest.raises(PeerRefused):
        world.nodes["db2"].agent.seal(asked(world))
    assert world.postgres("db2").cut == ""


def test_a_primary_that_lost_the_store_and_is_heard_is_not_sealed_against() -> None:
    """F1: both ways must be missed. Without the store it holds its lease for a while, and serves."""
    world = three()
    world.no_api.add("db1")
    world.run(world.timings.suspect_after_s + 1)
    assert world.acknowledges("db1")

    assert vote(world, "db2").startswith("db1 answered")


def test_an_agent_that_just_started_refuses() -> None:
    """P1: it may have promised something in the life before."""
    world = lost_primary()
    world.stop_agent("db2")
    world.start_agent("db2")
    world.run(0.5)

    assert "started less than one ttl ago" in vote(world, "db2")


def test_who_is_not_in_the_set_refuses() -> None:
    world = three()
    world.nodes["db1"].agent.keeper.write_sync(1, promise(world, "db2", k=1))
    world.power_off("db1")
    world.run(3)

    assert vote(world, "db2") == ""
    assert vote(world, "db3") == "db3 is not in the sync set"


# Seals


def test_a_sealed_member_takes_nothing_more_and_says_what_it_has() -> None:
    world = lost_primary()

    answer = seal(world, "db2")

    assert isinstance(answer, Sealed)
    assert (answer.name, answer.lsn) == ("db2", world.postgres("db2").disk.end)
    assert answer.seal.incarnation == world.nodes["db2"].agent.report().incarnation != ""
    assert world.postgres("db2").cut == "db1"
    assert world.nodes["db2"].agent.report().sealed == (1, world.lease().sync.version)


def test_who_asks_later_is_told_the_same_without_another_look_at_postgresql() -> None:
    world = lost_primary()
    first = seal(world, "db2")
    assert isinstance(first, Sealed)
    world.postgres("db2").refuse_cut = True

    assert seal(world, "db2") == first


def test_a_next_life_seals_anew_before_it_answers() -> None:
    world = lost_primary()
    assert isinstance(seal(world, "db2"), Sealed)
    world.stop_agent("db2")
    world.start_agent("db2")
    world.postgres("db2").refuse_cut = True

    assert isinstance(seal(world, "db2"), Unknown)


def test_a_seal_is_given_again_to_whoever_asks_again() -> None:
    world = lost_primary()

    assert seal(world, "db2") == seal(world, "db2")


@pytest.mark.parametrize("point", ["noted-before-cut", "cut-before-answer"])
@pytest.mark.parametrize("with_host", [False, True], ids=["agent", "host"])
def test_a_member_that_dies_while_it_seals_is_sealed_when_it_comes_back(point: str, with_host: bool) -> None:
    """F3: it may have answered; so nothing may come in from the old primary, whatever restarts."""
    world = lost_primary()
    passed: list[str] = []
    killpoints.arm(point, lambda: passed.append(point))
    seal(world, "db2")
    assert passed == [point]
    note = world.nodes["db2"].state_notes.load("seal")
    assert note is not None, "noted before anything else"
    world.postgres("db2").cut = ""  # the kernel forgets at a reboot

    if with_host:
        world.power_off("db2")
        world.power_on("db2")
    else:
        world.stop_agent("db2")
        world.start_agent("db2")

    assert world.postgres("db2").cut == "db1", "before PostgreSQL can start"


def test_a_seal_outlives_the_return_of_the_old_primary_until_a_later_version() -> None:
    """F4: db1 is back under its own lease, and db2 still takes nothing from it; a new version ends that."""
    world = three()
    world.freeze("db1")
    world.no_api.update(["db2", "db3"])  # nobody claims meanwhile, and beats are not seen to be missed
    world.run(2)
    world.no_api.clear()
    world.run(1)
    assert isinstance(seal(world, "db2"), Sealed)
    world.thaw("db1")
    world.run(1)
    assert world.lease().epoch == 1, "db1 still holds the lease"
    assert world.acknowledges("db1")
    assert isinstance(seal(world, "db2"), Sealed), "sealed it is, whoever is heard again"
    written = world.postgres("db1").disk.end
    world.run(1)
    assert world.postgres("db3").disk.end > written > world.postgres("db2").disk.end

    world.nodes["db1"].agent.keeper.write_sync(1, promise(world, "db2", "db3", k=1))
    world.run(2)

    assert world.postgres("db2").cut == ""
    assert world.nodes["db2"].state_notes.load("seal") is None
    assert world.postgres("db2").streaming


def test_silence_of_the_store_ends_no_seal() -> None:
    world = lost_primary()
    seal(world, "db2")
    world.no_api.update(["db2", "db3"])

    world.run(100)

    assert world.postgres("db2").cut == "db1"


def test_a_seal_whose_end_was_interrupted_ends_again() -> None:
    world = lost_primary()
    seal(world, "db2")
    world.run_until(lambda: world.lease().epoch == 2)
    world.die_at("uncut-before-note", with_host=False)
    world.run(30)

    assert world.nodes["db2"].state_notes.load("seal") is None
    assert world.postgres("db2").cut == ""


def test_a_cut_without_a_note_is_ended_by_the_next_life() -> None:
    world = three()
    world.stop_agent("db2")
    world.postgres("db2").cut = "db1"
    world.start_agent("db2")

    assert world.postgres("db2").cut == ""


# The data directory a seal speaks for


def test_a_replaced_data_directory_has_another_incarnation() -> None:
    world = three()
    before = {name: world.nodes[name].agent.report().incarnation for name in world.nodes}
    world.postgres("db1").disk.end += 500
    world.power_off("db1")
    world.run_until(lambda: world.lease().epoch == 2)
    world.power_on("db1")
    world.run_until(world.is_whole)
    after = {name: world.nodes[name].agent.report().incarnation for name in world.nodes}

    assert any(start.startswith("rewind") for start in world.postgres("db1").starts)
    assert after["db1"] != before["db1"]
    assert (after["db2"], after["db3"]) == (before["db2"], before["db3"])
    assert "" not in after.values()


def test_a_restart_of_the_agent_or_its_host_is_no_replacement() -> None:
    world = three()
    before = world.nodes["db3"].agent.report().incarnation
    world.power_off("db3")
    world.power_on("db3")
    world.run_until(world.is_whole)

    assert world.nodes["db3"].agent.report().incarnation == before


# The holder's writes of (S, k)


def test_a_renewal_keeps_the_sync_set() -> None:
    world = three()
    version = world.lease().sync.version
    token = world.lease().token
    world.run(10)

    assert world.lease().token != token
    assert world.lease().sync == SyncSet(("db2", "db3"), 1, version)
    assert world.lease().may_claim == ("db1", "db2", "db3")


def test_a_write_for_a_version_that_is_gone_is_not_sent() -> None:
    world = three()
    keeper, sync = world.nodes["db1"].agent.keeper, world.lease().sync
    for version in (sync.version, sync.version + 2):
        late = SyncPromise(SyncSet(("db2",), 1, version), ("db1", "db2"), "async")
        assert not keeper.write_sync(1, late)
    assert not keeper.write_sync(2, promise(world, "db2", k=1)), "of another epoch"
    assert world.lease().sync == sync


def test_an_unanswered_write_is_unsettled_until_it_was_sent_again() -> None:
    """S4: it landed, nobody said so, and nothing about (S, k) moves before that is known."""
    world = three()
    keeper = world.nodes["db1"].agent.keeper
    world.lost_answers.add("db1")
    wanted = promise(world, "db2", k=1)

    assert not keeper.write_sync(1, wanted)
    assert keeper.unsettled()
    other = SyncPromise(SyncSet(("db3",), 1, wanted.sync.version), ("db1", "db3"), "async")
    assert not keeper.write_sync(1, other), "not before the first is settled"

    world.lost_answers.clear()
    world.run(1)
    assert not keeper.unsettled()
    assert keeper.holds(1), "the lease was kept"
    assert world.lease().sync == wanted.sync


def test_who_lost_the_lease_writes_nothing() -> None:
    world = three()
    keeper = world.nodes["db1"].agent.keeper
    world.no_api.add("db1")
    world.run(10)

    assert world.postgres("db1").state is not ServerState.PRIMARY
    assert not keeper.write_sync(1, promise(world, "db2", k=1))
