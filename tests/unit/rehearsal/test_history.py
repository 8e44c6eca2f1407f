"""The checker is what every claim of safety rests on, so it is tried against histories with known answers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rehearsal.controls import judge
from rehearsal.history import Ack, Gap, acked_after, double, longest_gap, lost, unexplained_s


def ack(number: int, at: float, node: str = "db1", timeline: int = 1, via: str = "writer") -> Ack:
    return Ack(via, number, at, at + 0.001, node, timeline)


# db1 writes on timeline 1 until 1.0, db2 on timeline 2 from 5.0
HANDED_OVER = [ack(1, 0.0), ack(2, 1.0), ack(3, 5.0, "db2", 2), ack(4, 6.0, "db2", 2)]


def test_a_clean_takeover_has_no_double_acknowledgement() -> None:
    assert double(HANDED_OVER) == []


@pytest.mark.parametrize(("sent", "caught"), [(4.9, False), (5.0005, False), (5.002, True), (9.0, True)])
def test_an_old_primary_is_caught_as_soon_as_it_answers_a_write_sent_after_the_new_ones_first(
    sent: float, caught: bool
) -> None:
    late = ack(9, sent, "db1", 1, via="db1")

    assert double([*HANDED_OVER, late]) == ([late] if caught else [])


def test_two_nodes_on_one_timeline_are_two_primaries() -> None:
    twin = ack(9, 0.5, "db2", 1)

    assert double([ack(1, 0.0), twin, ack(2, 1.0)]) != []


@given(st.permutations(range(5)))
def test_the_order_of_reports_does_not_matter(order: list[int]) -> None:
    acks = [*HANDED_OVER, ack(9, 7.0, "db1", 1)]

    assert [a.id for a in double([acks[i] for i in order])] == [9]


def test_an_ack_whose_row_is_gone_is_lost_and_only_that() -> None:
    assert [a.id for a in lost(HANDED_OVER, present={1, 3, 4, 77})] == [2]


def test_the_longest_gap_is_the_one_around_the_fault_and_of_the_client_asked_for() -> None:
    noise = [ack(50, 2.0, "db1", 1, via="db1"), ack(51, 30.0, "db2", 2)]

    gap = longest_gap([*HANDED_OVER, *noise], "writer", since=1.2, until=5.5)

    assert gap is not None
    assert gap.seconds == pytest.approx(4.0)


def test_no_gap_is_told_from_a_single_ack() -> None:
    assert longest_gap([ack(1, 0.0)], "writer", 0.0, 10.0) is None


def test_an_ack_received_after_the_lease_ended_is_named_even_if_it_was_sent_before() -> None:
    straddling = replace(ack(7, 2.9), received=3.1)

    assert acked_after([ack(1, 1.0), straddling], "db1", 1, moment=3.0) == [straddling]


@pytest.mark.parametrize(
    ("excuses", "left_s"),
    [
        ([], 4.0),
        ([Gap(0.0, 5.0)], 0.0),
        ([Gap(2.0, 3.0)], 3.0),
        ([Gap(2.0, 3.0), Gap(2.5, 3.5)], 2.5),
        ([Gap(2.5, 3.5), Gap(0.0, 2.0), Gap(4.9, 9.0)], 1.9),
        ([Gap(5.0, 9.0), Gap(0.0, 1.0)], 4.0),
    ],
)
def test_of_a_gap_remains_what_no_excuse_covers_however_they_overlap(
    excuses: list[Gap], left_s: float
) -> None:
    assert unexplained_s(Gap(1.0, 5.0), excuses) == pytest.approx(left_s)


def beats(via: str, *spans: tuple[float, float]) -> list[Ack]:
    """One ack every 20 ms within each span."""
    return [
        ack(round(start * 1000) + i, start + i / 50, via=via)
        for start, end in spans
        for i in range(round((end - start) * 50) + 1)
    ]


@pytest.mark.parametrize(
    ("local", "echo", "undisturbed", "agents_s"),
    [
        ([(0, 10)], [(0, 10)], True, 3.0),  # both went on: the gate or the route
        ([(0, 4), (7, 10)], [(0, 10)], True, 0.0),  # PostgreSQL stood still
        ([(0, 10)], [(0, 4), (7, 10)], True, 0.0),  # the network did
        ([(0, 4), (5, 10)], [(0, 5), (6, 10)], True, 1.0),  # first the one, then the other
        ([(0, 4), (7, 10)], [(0, 4), (7, 10)], False, 3.0),  # an agent took over meanwhile
    ],
)
def test_a_gap_is_the_agents_as_far_as_no_control_shares_it(
    local: list[tuple[float, float]], echo: list[tuple[float, float]], undisturbed: bool, agents_s: float
) -> None:
    clients = beats("writer", (0, 4), (7, 10))

    verdict = judge(clients, beats("local", *local) + beats("echo", *echo), 1, 9, undisturbed)

    assert verdict.longest_s == pytest.approx(3.0)
    assert verdict.agents_s == pytest.approx(agents_s, abs=0.05)


def test_a_client_that_never_wrote_had_one_gap_as_long_as_the_whole() -> None:
    assert judge([], beats("local", (0, 10)), 1, 9, undisturbed=True).agents_s == 8
