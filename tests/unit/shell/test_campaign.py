"""Claims by seals, in a cluster in memory: before the ttl is over, without loss, and never with too few."""

from __future__ import annotations

from types import SimpleNamespace
from typing import cast

import pytest
from tests.support.quorum import BALANCED, SUSPECT_S, nothing_is_lost, quorum
from tests.support.safety import assert_safe, serving
from tests.support.world import World

from failover_agent.core.model import LeaseSeen, ServerState, Unknown
from failover_agent.core.seals import Gathered, Seal
from failover_agent.ports import Peers
from failover_agent.shell.campaign import MISTAKE
from failover_agent.shell.observe import AHEAD_S
from failover_agent.shell.sealer import Sealer

FAST_S = SUSPECT_S + 2 * BALANCED.poll_s + 0.1  # from a silent primary to one that serves


def assert_kept(world: World) -> None:
    assert_safe(world)
    assert nothing_is_lost(world)


def last_reason(world: World, name: str) -> str:
    return next(str(v["because"]) for _, n, e, v in reversed(world.events) if (n, e) == (name, "decision"))


def gathered(world: World, name: str) -> Gathered:
    seen = world.nodes[name].agent.loop.seen
    assert seen is not None
    return seen.gathered


# The fast path


def test_after_a_power_loss_a_sealed_member_takes_over_before_the_lease_ends() -> None:
    world = quorum("db1", "db2", "db3", k=1)
    token = world.lease().token
    world.power_off("db1")

    took = world.run_until(lambda: bool(serving(world)))

    assert SUSPECT_S - BALANCED.beat_s <= took <= FAST_S < BALANCED.ttl_s
    assert world.lease().epoch == 2
    assert world.lease().token != token
    assert_kept(world)


@pytest.mark.parametrize(("before_s", "waits"), [(0.05, True), (AHEAD_S + 0.05, False)])
def test_a_look_ends_when_the_primary_is_missed_and_not_some_time_later(before_s: float, waits: bool) -> None:
    """Where only its own silence is too short by less than a look takes: its beat was missed already."""
    world = quorum("db1", "db2", "db3", k=1)
    world.no_api.add("db1")
    world.run(BALANCED.beat_s)
    world.power_off("db1")
    db2, item = world.nodes["db2"].agent, world.lease()
    db2.body.sealer.hear("db1")
    missed = world.clock.time + SUSPECT_S
    world.run(SUSPECT_S - 2 * AHEAD_S)
    world.clock.time = missed - before_s

    seen = db2.observer.look(world.clock.time, 0.0)
    db2.body.sealer.see(seen)

    assert (seen.now >= missed) is waits
    assert (db2.vote(Seal("c", item.epoch, item.sync.version, "", "db1")) == "") is waits


def test_a_look_waits_for_nobody_whose_beat_came_in_time() -> None:
    world = quorum("db1", "db2", "db3", k=1)
    db2 = world.nodes["db2"].agent
    world.clock.time += SUSPECT_S - AHEAD_S / 2
    before = world.clock.time

    assert db2.observer.look(before, 0.0).now == before


def test_the_member_that_is_ahead_claims_whoever_ranks_first() -> None:
    world = quorum("db1", "db2", "db3", k=1)
    world.lagging.add("db2")
    world.run(2)
    assert world.postgres("db2").disk.end < world.acknowledged["db1"] <= world.postgres("db3").disk.end
    world.power_off("db1")

    world.run_until(lambda: bool(serving(world)))

    assert serving(world) == ["db3"]
    assert_kept(world)


def test_who_was_sealed_for_another_looks_at_once_whether_to_claim_itself() -> None:
    """Else the first in line learns at its next poll that the others are ready."""
    world = quorum("db1", "db2", "db3", k=1)
    world.freeze("db1")
    item, db2 = world.lease(), world.nodes["db2"].agent
    db2.body.campaign.gather = lambda *_: None  # type: ignore[method-assign]  # it is asked, and asks nobody
    asked = Seal("c", item.epoch, item.sync.version, "", against="db1")
    world.run_until(lambda: db2.vote(asked) == "", limit_s=FAST_S)
    db2.body.waker.clear()

    db2.seal(asked)

    assert db2.body.waker.is_set()


def test_the_claimant_and_the_others_are_sealed_no_more_and_follow() -> None:
    world = quorum("db1", "db2", "db3", k=1)
    world.power_off("db1")
    world.run_until(lambda: bool(serving(world)))
    world.run(5)

    other = ({"db2", "db3"} - set(serving(world))).pop()
    assert world.postgres(other).streaming
    for name in ("db2", "db3"):
        assert world.postgres(name).cut == ""
        assert world.nodes[name].state_notes.load("seal") is None
        assert world.nodes[name].agent.report().sealed == (0, 0)


def test_a_winner_lets_clients_in_before_it_tidies_its_seal() -> None:
    world = quorum("db1", "db2", "db3", k=1)
    world.power_off("db1")
    world.run_until(lambda: bool(serving(world)))
    world.run(1)

    [winner] = serving(world)
    said = [(e, v.get("name")) for _, n, e, v in world.events if n == winner]
    assert said.index(("phase", "opened")) < said.index(("unsealed", None))


def test_a_claim_leaves_only_the_claimant_who_may_come_back() -> None:
    world = quorum("db1", "db2", "db3", k=1)
    world.power_off("db1")
    world.run_until(lambda: bool(serving(world)))

    assert world.lease().may_claim == (serving(world)[0],)
    assert world.lease().sync.members == ()


def test_in_async_mode_nobody_claims_before_the_lease_ends() -> None:
    world = World("db1", "db2", "db3")
    world.bring_up()
    world.run(10)
    world.power_off("db1")

    assert world.run_until(lambda: bool(serving(world))) > BALANCED.ttl_s - BALANCED.beat_s
    assert world.said("campaign") == []
    assert all(world.postgres(n).cut == "" for n in world.nodes)


def test_an_agent_that_is_stopped_is_missed_and_its_gate_is_shut_before_another_opens() -> None:
    """PostgreSQL there lives on; nothing it is asked to commit is acknowledged any more."""
    world = quorum("db1", "db2", "db3", k=1)
    world.stop_agent("db1")
    world.run_until(lambda: world.lease().epoch == 2, limit_s=FAST_S)

    world.run(5)

    assert serving(world) != []
    assert "db1" not in serving(world)
    assert_kept(world)


def test_five_nodes_lose_their_primary_and_one_member_at_once() -> None:
    world = quorum("db1", "db2", "db3", "db4", "db5", k=2)
    world.run(3)
    world.power_off("db1")
    world.power_off("db5")

    assert world.run_until(lambda: bool(serving(world))) <= FAST_S + BALANCED.request_timeout_s
    assert_kept(world)


# Waiting


def test_short_of_seals_the_cluster_waits_and_says_for_whom() -> None:
    world = quorum("db1", "db2", "db3", k=1)
    world.power_off("db1")
    world.power_off("db3")
    world.run(120)

    assert serving(world) == []
    assert world.lease().epoch == 1
    assert world.rules_of("db2")[-1] == "campaign"
    assert "waiting for" in last_reason(world, "db2")
    assert "db3: it does not answer" in last_reason(world, "db2")
    assert world.postgres("db2").cut == "", "no seal is given in vain"

    world.power_on("db3")
    world.run_until(lambda: bool(serving(world)))
    assert_kept(world)


def test_a_persons_word_is_the_only_way_past_missing_seals_and_hears_what_is_missing() -> None:
    world = quorum("db1", "db2", "db3", k=1)
    world.power_off("db1")
    world.power_off("db3")
    world.run(30)
    db2 = world.nodes["db2"].agent

    told = db2.request_failover("db2", accept_loss=False)
    assert "waiting for" in str(told["waits_for"])
    assert serving(world) == []

    assert db2.request_failover("db2", accept_loss=True)["ok"]
    assert world.lease().epoch == 2
    assert world.postgres("db2").state is ServerState.PRIMARY


def test_the_last_holder_comes_back_without_seals() -> None:
    world = quorum("db1", "db2", "db3", k=1)
    for name in world.nodes:
        world.power_off(name)
    told = world.acknowledged["db1"]
    world.power_on("db1")

    world.run_until(lambda: bool(serving(world)))

    assert serving(world) == ["db1"]
    assert world.lease().epoch == 2
    assert world.postgres("db1").disk.history[0].lsn >= told


def test_a_last_holder_whose_disk_lacks_what_the_lease_named_does_not() -> None:
    world = quorum("db1", "db2", "db3", k=1)
    world.run(2)
    named = world.lease().lsn
    for name in world.nodes:
        world.power_off(name)
    world.postgres("db1").disk.end = named - 1
    world.power_on("db1")
    world.run(60)
    assert serving(world) == []
    assert "it held the lease at" in last_reason(world, "db1")

    world.power_on("db2")
    world.power_on("db3")
    world.run_until(lambda: bool(serving(world)))
    assert "db1" not in serving(world)


def test_a_lag_limit_does_not_stand_in_the_way_of_seals() -> None:
    world = quorum("db1", "db2", "db3", k=1)
    world.lag_limit_bytes = 0
    world.postgres("db1").disk.end += 500  # written, and acknowledged to nobody
    world.replicate = lambda: None  # type: ignore[method-assign]  # nothing arrives any more
    world.run(BALANCED.beat_s + 0.1)
    world.power_off("db1")

    assert world.run_until(lambda: bool(serving(world))) <= FAST_S


# Answers that do not fit, and members that vanish


def test_a_member_that_vanishes_between_vote_and_seal_leaves_the_other_sealed_and_waiting() -> None:
    world = quorum("db1", "db2", "db3", k=1)
    world.die_at("noted-before-cut", with_host=True, comes_back=False)
    world.power_off("db1")
    world.run(60)
    left = next(n for n in ("db2", "db3") if world.nodes[n].up)
    gone = world.died[0]
    assert world.rules_of(left)[-1] == "campaign"
    assert serving(world) == []

    world.power_on(gone)
    world.run_until(lambda: bool(serving(world)))
    assert_kept(world)


def test_who_dies_between_its_seals_and_its_claim_is_replaced_by_the_next() -> None:
    world = quorum("db1", "db2", "db3", k=1)
    world.die_at("sealed-before-claim", with_host=False, comes_back=False)
    world.power_off("db1")

    world.run_until(lambda: bool(serving(world)))

    assert world.died
    assert serving(world) != world.died
    assert_kept(world)


def test_a_primary_that_comes_back_before_the_claim_makes_the_seals_worthless() -> None:
    """Its beat shows another token: what was gathered for the old one is forgotten, and nobody claims."""
    world = quorum("db1", "db2", "db3", k=1)
    for name in ("db2", "db3"):
        world.postgres(name).refuse_cut = True  # sealing takes its time
    world.freeze("db1")
    world.run_until(lambda: bool(world.said("campaign")), limit_s=FAST_S)
    world.postgres("db2").refuse_cut = False
    world.run_until(lambda: [a.name for a in gathered(world, "db2").seals] == ["db2"], limit_s=2)
    campaign, now = world.nodes["db2"].agent.body.campaign, world.clock.time
    assert campaign.gathered(Unknown("silence")).seals
    assert campaign.gathered(LeaseSeen(world.lease().but(token="renewed"), now, now)).seals == ()

    world.thaw("db1")
    world.run(2)

    assert gathered(world, "db2").seals == ()
    assert world.lease().epoch == 1
    assert serving(world) == ["db1"]


def test_a_member_whose_asking_ended_in_a_mistake_of_ours_is_asked_again() -> None:
    """A dead holder's item never changes: who counted as asked for it for ever could never help."""
    world = quorum("db1", "db2", "db3", k=1)
    campaign, seen = world.nodes["db2"].agent.body.campaign, LeaseSeen(world.lease(), 0.0, 0.0)
    asked: list[str] = []

    def mistaken(name: str, _asked: Seal) -> str | Unknown:
        asked.append(name)
        raise ZeroDivisionError

    campaign._sealer = cast(Sealer, SimpleNamespace(vote=lambda _asked: ""))
    campaign._peers = cast(Peers, SimpleNamespace(ask_vote=mistaken))
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            campaign.gather(seen, ("db3",))

    assert asked == ["db3", "db3"]
    assert dict(campaign.gathered(seen).why_not)["db3"] == MISTAKE
