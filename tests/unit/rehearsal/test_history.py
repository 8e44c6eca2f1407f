"""The checker is what every claim of safety rests on, so it is tried against histories with known answers."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rehearsal.history import Ack, acked_after, double, longest_gap, lost


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
