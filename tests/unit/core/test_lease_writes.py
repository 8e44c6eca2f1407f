"""What a claim and a release say about who vouches for commits, and who may claim (S2, P2)."""

from __future__ import annotations

import pytest

from failover_agent.core.lease_writes import claim, release, renewal, switched, with_pause
from failover_agent.core.model import Holder, LeaseItem, Mode, Server, ServerState, SyncSet
from failover_agent.core.quorum import NOBODY, at_start, waits

A, B = Holder("a", "i-a", "n1"), Holder("b", "i-b", "n2")
STANDBY = Server(ServerState.STANDBY, "s1", 1, 1000)
VOUCHED = LeaseItem(
    "c",
    "s1",
    A,
    4,
    "t",
    6,
    1,
    900,
    SyncSet(("b", "d"), 1, 7, ("x", "y")),
    ("a", "b", "d"),
    schema_version=2,
    mode="quorum",
)
CALM = VOUCHED.but(mode="async", sync=SyncSet(version=7), may_claim=(), schema_version=1)


def claimed(old: LeaseItem | None, mode: Mode = "async") -> LeaseItem:
    return claim("c", old, B, "new", 6, STANDBY, mode=mode, suspect_after_s=2.5)


def test_after_a_claim_only_the_claimant_may_come_back() -> None:
    item = claimed(VOUCHED)

    assert (item.sync, item.may_claim) == (SyncSet(version=8), ("b",))
    assert (item.mode, item.schema_version) == ("quorum", 2)


@pytest.mark.parametrize("before", [(), ("a", "b", "d")])
def test_a_claim_in_mode_async_widens_nothing(before: tuple[str, ...]) -> None:
    item = claimed(CALM.but(may_claim=before))

    assert (item.may_claim, item.mode, item.schema_version) == (before, "async", 1)


@pytest.mark.parametrize(
    ("mode", "may_claim", "version"), [("async", (), 1), ("quorum", ("b",), 2), ("strict", ("b",), 2)]
)
def test_a_new_cluster_begins_in_the_configured_mode(
    mode: Mode, may_claim: tuple[str, ...], version: int
) -> None:
    item = claimed(None, mode)

    assert (item.mode, item.may_claim, item.schema_version) == (mode, may_claim, version)


def test_a_cluster_that_exists_goes_on_in_its_own_mode() -> None:
    assert claimed(VOUCHED, "async").mode == "quorum"
    assert claimed(CALM, "strict").mode == "async"


def test_a_release_keeps_who_vouches_and_names_who_released() -> None:
    item = release(VOUCHED, "b", "new", STANDBY)

    assert (item.sync, item.may_claim) == (VOUCHED.sync, VOUCHED.may_claim)
    assert (item.holder, item.released_by, item.last_holder, item.offered_to) == (None, "a", "a", "b")
    assert claimed(item).released_by == ""


def test_who_has_lost_its_data_may_not_come_back() -> None:
    item = release(VOUCHED, "", "new", STANDBY, data_lost=True)

    assert (item.may_claim, item.released_by) == (("b", "d"), "a")


def test_a_switch_to_or_from_async_lets_nobody_vouch_and_between_the_others_the_same() -> None:
    assert switched(CALM, "quorum", "a") == (SyncSet(version=8), ("a",))
    assert switched(VOUCHED, "async", "a") == (SyncSet(version=8), ())
    sync, may_claim = switched(VOUCHED, "strict", "a")
    assert (sync.members, sync.k, sync.version, sync.incarnations) == (("b", "d"), 1, 8, ("x", "y"))
    assert may_claim == VOUCHED.may_claim


def test_a_primary_starts_waiting_for_no_less_than_the_lease_may_count_on() -> None:
    one, two = SyncSet(("b", "d"), 1, 7), SyncSet(("b", "d"), 2, 8)
    any_one, both = waits("bd", 1), waits("bd", 2)

    assert at_start(any_one, [one]) == any_one
    assert at_start(both, [one]) == both, "stricter than needed: a change was under way"
    assert at_start(NOBODY, [one]) == any_one, "a copied or emptied list never acts"
    assert at_start(any_one, [one, two]) == both, "an unsettled write may have landed"
    assert at_start(any_one, [SyncSet()]) == any_one
    assert at_start(NOBODY, [SyncSet()]) == NOBODY
    assert at_start(NOBODY, [one, SyncSet(("e",), 1, 8)]) is None


def test_every_holder_writes_by_what_it_keeps_its_gate_open() -> None:
    """F6: also over what the holder before wrote, and where there was none."""
    patient = VOUCHED.but(suspect_after_s=8.0)

    assert renewal(patient, A, "t2", 6, STANDBY, suspect_after_s=2.5).suspect_after_s == 2.5
    assert claimed(patient).suspect_after_s == 2.5
    assert claimed(None).suspect_after_s == 2.5


@pytest.mark.parametrize(("calm", "version"), [(VOUCHED, 2), (CALM, 1)])
def test_a_pause_goes_through_every_write_until_it_is_ended_and_agents_that_know_none_keep_off(
    calm: LeaseItem, version: int
) -> None:
    paused = with_pause(calm, "2026-11-29T14:52:29Z")

    assert paused == calm.but(paused="2026-11-29T14:52:29Z", schema_version=3)
    for item in (
        renewal(paused, A, "t2", 6, STANDBY, suspect_after_s=2.5),
        claimed(paused),
        claimed(release(paused, "b", "t2", STANDBY)),
    ):
        assert (item.paused, item.schema_version) == ("2026-11-29T14:52:29Z", 3)
    assert with_pause(paused, "") == calm.but(schema_version=version)
