"""Which standbys vouch for commits: what is survived, and where the members stand."""

from __future__ import annotations

import functools
import itertools

import pytest

from failover_agent.core import sync_choice
from failover_agent.core.model import Mode
from failover_agent.core.quorum import NOBODY, Waits, waits
from failover_agent.core.sync_choice import Choice, Standby, acknowledgements

LEAVE_AFTER_S = 5.0
choose = functools.partial(
    sync_choice.choose, most=16
)  # the arithmetic of larger sets, which nobody chooses yet


def standby(name: str, az: str = "", *, fit: bool = True, silent_s: float = 0.0) -> Standby:
    return Standby(name, az or f"az-{name}", fit, silent_s)


def chosen(*standbys: Standby, mode: Mode = "quorum", present: Waits = NOBODY, az: str = "az-a") -> Choice:
    return choose(mode, az, standbys, present, LEAVE_AFTER_S)


def test_async_waits_for_nobody() -> None:
    assert chosen(standby("b"), standby("c"), mode="async") == Choice(NOBODY, True, ())


@pytest.mark.parametrize("members", range(1, 7))
def test_the_primary_and_its_acknowledgers_are_the_smallest_majority(members: int) -> None:
    k = acknowledgements(members)

    assert 2 * (k + 1) > members + 1
    assert 2 * k <= members + 1


@pytest.mark.parametrize("members", range(2, 7))
def test_one_failure_of_any_node_stops_neither_commits_nor_a_failover(members: int) -> None:
    k = acknowledgements(members)

    assert members - 1 >= k, "a standby fails: enough are left to acknowledge"
    assert members >= members - k + 1, "the primary fails: enough are left to seal"


@pytest.mark.parametrize("members", range(3, 7))
def test_from_four_nodes_on_one_more_may_go_together_with_the_primary(members: int) -> None:
    assert members - 1 >= members - acknowledgements(members) + 1


def test_the_set_is_everybody_who_streams() -> None:
    assert chosen(standby("b"), standby("c")).wanted == waits("bc", 1)
    assert chosen(standby("b"), standby("c"), standby("d")).wanted == waits("bcd", 2)
    assert chosen(standby("b"), standby("c", fit=False)).wanted == waits("b", 1)
    assert chosen(standby("b", fit=False)).wanted == NOBODY


def test_a_silent_member_stays_for_a_while_and_then_leaves() -> None:
    present = waits("bc", 1)

    stays = chosen(standby("b"), standby("c", silent_s=LEAVE_AFTER_S - 0.1), present=present)
    leaves = chosen(standby("b"), standby("c", silent_s=LEAVE_AFTER_S), present=present)
    assert (stays.wanted, leaves.wanted) == (present, waits("b", 1))


def test_who_is_silent_does_not_enter() -> None:
    assert chosen(standby("b"), standby("c", silent_s=0.1)).wanted == waits("b", 1)


def test_who_is_to_be_touched_leaves_at_once() -> None:
    assert chosen(standby("b"), standby("c", fit=False), present=waits("bc", 1)).wanted == waits("b", 1)


def test_the_loss_of_the_primarys_zone_leaves_enough_to_seal() -> None:
    """Goal: AZ loss never blocks a failover. Method: every spread of up to five standbys over three zones."""
    for size in range(1, 6):
        for zones in itertools.product(("z1", "z2", "z3"), repeat=size):
            standbys = [standby(f"n{i}", zone) for i, zone in enumerate(zones)]
            wanted = choose("quorum", "z1", standbys, NOBODY, LEAVE_AFTER_S).wanted
            outside = [s.name for s in standbys if s.az != "z1"]
            if outside:
                left = [name for name in wanted.members if name in outside]
                assert set(left) == set(outside), "nobody in another zone is left out"
                assert len(left) >= len(wanted.members) - wanted.k + 1, (zones, wanted)
            else:
                assert len(wanted.members) == size


def test_of_two_near_standbys_the_one_in_the_set_stays() -> None:
    far = [standby("x", "z2"), standby("y", "z3")]
    near = [standby("b", "z1"), standby("c", "z1")]

    fresh = choose("quorum", "z1", [*far, *near], NOBODY, LEAVE_AFTER_S).wanted
    kept = choose("quorum", "z1", [*far, *near], waits("cxy", 2), LEAVE_AFTER_S).wanted
    assert (fresh.members, kept.members) == (("b", "x", "y"), ("c", "x", "y"))


def test_strict_never_waits_for_fewer_than_the_configured_majority() -> None:
    for away in itertools.product((0.0, LEAVE_AFTER_S), repeat=4):
        standbys = [standby(n, silent_s=s) for n, s in zip("bcde", away, strict=True)]
        for present in (waits("bcde", 2), waits("de", 2)):
            found = chosen(*standbys, mode="strict", present=present)
            assert found.wanted.k >= 2, (away, present)


def test_strict_lets_nobody_in_before_enough_stream_and_says_for_whom_it_waits() -> None:
    alone = chosen(standby("b"), standby("c", silent_s=99), standby("d", silent_s=99), mode="strict")
    enough = chosen(standby("b"), standby("c"), standby("d", silent_s=99), mode="strict")

    assert alone == Choice(NOBODY, enough=False, waiting_for=("c", "d"))
    assert enough == Choice(waits("bc", 2), enough=True, waiting_for=())


def test_quorum_goes_on_with_what_can_be_had() -> None:
    gone = chosen(standby("b", silent_s=99), standby("c", silent_s=99), present=waits("bc", 1))

    assert gone == Choice(NOBODY, enough=True, waiting_for=())


def test_the_order_in_which_standbys_are_named_does_not_matter() -> None:
    standbys = [standby("b", "z1"), standby("c", "z1"), standby("d", "z2"), standby("e", "z3", silent_s=1)]
    for mode in ("quorum", "strict"):
        found = {
            choose(mode, "z1", order, waits("bde", 2), LEAVE_AFTER_S)
            for order in itertools.permutations(standbys)
        }
        assert len(found) == 1


def test_at_most_two_vouch_so_that_nobody_is_counted_twice_and_who_is_in_stays() -> None:
    """PostgreSQL counts connections: with k = 2 a standby that came back would be two acknowledgements."""
    standbys = [standby(name) for name in "bcdef"]

    for mode in ("quorum", "strict"):
        for names in itertools.combinations("bcdef", 2):
            present = waits(names, 1)
            assert sync_choice.choose(mode, "az-a", standbys, present, LEAVE_AFTER_S).wanted == present
        assert sync_choice.choose(mode, "az-a", standbys, NOBODY, LEAVE_AFTER_S).wanted == waits("bc", 1)
        gone = [standby("b", silent_s=99), *standbys[1:]]
        found = sync_choice.choose(mode, "az-a", gone, waits("bc", 1), LEAVE_AFTER_S)
        assert found.wanted == waits("cd", 1), "a spare takes its place"
