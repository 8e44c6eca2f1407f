"""Timings, WAL positions, elections and the way back: small pure promises."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failover_agent.core import lsn
from failover_agent.core.election import Candidate, elect
from failover_agent.core.lease_note import from_note, to_note
from failover_agent.core.model import (
    LEASE_SCHEMA_VERSION,
    Fork,
    Holder,
    LeaseItem,
    Server,
    ServerState,
    SyncSet,
    Unknown,
)
from failover_agent.core.rejoin import Way, choose_way, last_shared
from failover_agent.core.timings import PROFILES, complaints

ITEM = LeaseItem("c", "s1", Holder("db0", "i-0", "n"), 3, "t", 6, 2, 1000)


@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_every_profile_keeps_the_relations(profile: str) -> None:
    assert complaints(PROFILES[profile]) == []


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"margin_s": 0.8}, "margin_s"),
        ({"ttl_s": 3.4}, "ttl_s"),
        ({"suspect_after_s": 2.2}, "suspect_after_s"),
        ({"beat_s": 0.0}, "beat_s"),
    ],
)
def test_a_broken_relation_is_named(change: dict[str, float], named: str) -> None:
    [complaint] = complaints(replace(PROFILES["balanced"], **change))
    assert complaint.startswith(named)


@given(st.integers(0, 2**64 - 1))
def test_a_wal_position_survives_its_notation(position: int) -> None:
    assert lsn.parse(lsn.show(position)) == position


@pytest.mark.parametrize("text", ["", "16", "/1", "1/", "x/1", "123456789/0"])
def test_what_is_no_wal_position_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"WAL position|invalid literal"):
        lsn.parse(text)


def standby(received: int, replayed: int = 0, timeline: int = 2) -> Server:
    return Server(ServerState.STANDBY, "s1", timeline, received, replayed)


CANDIDATES = (
    Candidate("a", "az-1", standby(1000), priority=9),
    Candidate("b", "az-1", standby(1200)),
    Candidate("c", "az-2", standby(1200)),
    Candidate("d", "az-2", standby(2000), nofailover=True),
    Candidate("e", "az-2", Unknown("silent")),
    Candidate("f", "az-2", standby(3000, timeline=1)),
    Candidate("g", "az-2", Server(ServerState.STOPPED, "s1", 2, 5000)),
    Candidate("h", "az-2", Server(ServerState.STANDBY, "s2", 2, 5000)),
    Candidate("i", "az-2", standby(800)),
    Candidate("j", "az-2", standby(0)),
)


def test_the_node_with_most_wal_wins_whatever_the_order_of_reports() -> None:
    few = (CANDIDATES[0], CANDIDATES[1], CANDIDATES[2], CANDIDATES[3])

    winners = {elect(order, ITEM, 100, "az-1").winner for order in itertools.permutations(few)}

    assert winners == {"b"}


def test_the_verdict_gives_a_reason_for_everybody_else() -> None:
    verdict = elect(CANDIDATES, ITEM, 100, "az-2")

    assert verdict.winner == "c"
    assert {name for name, why in verdict.why_not if why} == set("abdefghij")


def test_each_rank_decides_only_between_equals_of_the_rank_before() -> None:
    base = Candidate("m", "far", standby(1000, 900))
    better = (
        replace(base, name="z", server=standby(1001, 0)),
        replace(base, name="z", reaches_ec2=True),
        replace(base, name="z", server=standby(1000, 901)),
        replace(base, name="z", az="near"),
        replace(base, name="z", priority=1),
        replace(base, name="a"),
    )
    for one, worse in itertools.pairwise([*better, base]):
        assert elect([replace(worse, name="x"), one], ITEM, 100, "near").winner == one.name


@given(
    st.lists(
        st.tuples(
            st.integers(900, 1003), st.integers(0, 2), st.sampled_from(["az-1", "az-2"]), st.booleans()
        ),
        min_size=1,
        max_size=5,
    ),
    st.randoms(use_true_random=False),
)
def test_an_election_does_not_depend_on_order(rows: list[tuple[int, int, str, bool]], chance: object) -> None:
    candidates = [
        Candidate(f"n{i}", az, standby(received), priority, nofailover)
        for i, (received, priority, az, nofailover) in enumerate(rows)
    ]
    shuffled = list(candidates)
    chance.shuffle(shuffled)  # type: ignore[attr-defined]

    assert elect(shuffled, ITEM, 50, "az-1") == elect(candidates, ITEM, 50, "az-1")


def at(timeline: int, *forks: tuple[int, int]) -> Server:
    return Server(ServerState.STOPPED, "s1", timeline, 0, history=tuple(Fork(t, end) for t, end in forks))


@pytest.mark.parametrize(
    ("mine", "end", "primary", "way"),
    [
        (at(1), 500, at(1), Way.FOLLOW),
        (at(1), 500, at(2, (1, 500)), Way.FOLLOW),
        (at(1), 501, at(2, (1, 500)), Way.REWIND),
        (at(2, (1, 500)), 800, at(3, (1, 500), (2, 800)), Way.FOLLOW),
        (at(2, (1, 500)), 801, at(3, (1, 500), (2, 800)), Way.REWIND),
        (at(2, (1, 500)), 600, at(3, (1, 700)), Way.REWIND),
        (at(2, (1, 500)), 600, at(3, (1, 400)), Way.REWIND),
        (at(3, (1, 500), (2, 800)), 900, at(2, (1, 500)), Way.REWIND),
        (at(1), 0, at(1), Way.REWIND),
        (at(0), 500, at(1), Way.REWIND),
        (at(2), 600, at(2, (1, 500)), Way.FOLLOW),
        (at(2, (1, 500)), 600, at(2), Way.FOLLOW),
    ],
)
def test_the_way_back_follows_from_where_the_timelines_part(
    mine: Server, end: int, primary: Server, way: Way
) -> None:
    assert choose_way(mine, end, primary) is way


def test_the_last_shared_point_is_where_the_first_of_two_left() -> None:
    assert last_shared(at(2, (1, 500)), at(3, (1, 400))) == (1, 400)
    assert last_shared(at(2, (1, 500)), at(3, (1, 500), (2, 900))) == (2, 900)


def test_a_lease_survives_its_note() -> None:
    item = replace(ITEM, sync=SyncSet(("a", "b"), 1, 4), may_claim=("a",), unfenced=(Holder("b", "i", "n"),))
    assert from_note(json.loads(json.dumps(to_note(item)))) == item
    released = replace(item, holder=None)
    assert from_note(to_note(released)) == released
    paused = replace(item, paused="2026-11-29T14:52:29Z", schema_version=3)
    assert from_note(json.loads(json.dumps(to_note(paused)))) == paused
    patient = replace(item, suspect_after_s=8.0)
    assert from_note(json.loads(json.dumps(to_note(patient)))) == patient


def test_a_note_without_a_pause_has_no_word_of_it() -> None:
    """An agent that knows none refuses what it does not know: it would take up no lease, and carry none."""
    assert "paused" not in to_note(ITEM)


def test_a_note_of_an_older_agents_item_says_no_more_than_the_item() -> None:
    assert "suspect_after_s" not in to_note(replace(ITEM, suspect_after_s=0.0))


def test_a_note_of_an_older_agent_is_read_and_a_newer_ones_is_not() -> None:
    note = to_note(replace(ITEM, history=(Fork(1, 400),), agent="0.9"))
    older = {key: value for key, value in note.items() if key not in ("history", "agent")}

    assert from_note(note) == replace(ITEM, history=(Fork(1, 400),), agent="0.9")
    assert from_note(older) == ITEM
    with pytest.raises(ValueError, match="schema version"):
        from_note(note | {"schema_version": LEASE_SCHEMA_VERSION + 1})


@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_a_lost_question_shuts_no_gate_and_questions_are_no_more_frequent_than_that(profile: str) -> None:
    """With the store away the gate rests on questions that members noted (F6)."""
    t = PROFILES[profile]
    bound = t.suspect_after_s - t.margin_s

    assert 2 * t.ask_s < bound <= 4 * t.ask_s
