"""N6: only the holder archives, and nobody takes an old timeline past its fork."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.core.test_rules import MINE

from failover_agent.core.archive import Line, why_not_archive, why_not_restore

MIB = 1 << 20
SEGMENT = "000000020000000000000003"  # of timeline 2, bytes 48 to 64 MiB
# The primary is on timeline 3; 2 was left in the middle of segment 4, 1 exactly at the end of segment 2.
LINE = Line(3, ((1, 48 * MIB), (2, 70 * MIB)))


def test_only_who_holds_the_lease_archives() -> None:
    assert why_not_archive(MINE, SEGMENT) == ""
    assert "lease" in why_not_archive(None, SEGMENT)


def test_before_its_promotion_a_holder_archives_nothing_but_the_history() -> None:
    promoting = replace(MINE, was_primary=False)

    assert why_not_archive(promoting, SEGMENT)
    assert why_not_archive(promoting, "00000003.history") == ""
    assert why_not_archive(None, "00000003.history"), "an abandoned promotion must not name a timeline"


@pytest.mark.parametrize(
    "name", ["", "../passwd", "00000002", SEGMENT + "0", SEGMENT + ".part", SEGMENT + "\n"]
)
def test_what_is_no_wal_is_refused_both_ways(name: str) -> None:
    assert why_not_archive(MINE, name)
    assert why_not_restore(LINE, name, 16 * MIB)


@pytest.mark.parametrize("name", [SEGMENT + ".partial", SEGMENT + ".00000028.backup"])
def test_what_belongs_to_a_segment_may_pass(name: str) -> None:
    assert why_not_archive(MINE, name) == ""
    assert why_not_restore(LINE, name, 16 * MIB) == ""


@pytest.mark.parametrize(
    ("name", "may"),
    [
        ("000000030000000000000004", True),  # the primary's own timeline
        ("0000000300000000000000FF", True),
        ("000000020000000000000003", True),  # ends before the fork
        ("000000020000000000000004", False),  # holds the fork, and what lies beyond
        ("000000020000000000000005", False),
        ("000000010000000000000002", True),  # ends exactly at the fork
        ("000000010000000000000003", False),
        ("000000040000000000000004", False),  # nobody's, or not yet recorded
        ("00000002.history", True),
        ("00000003.history", True),
        ("00000004.history", False),
    ],
)
def test_an_old_timeline_is_taken_up_to_its_fork(name: str, may: bool) -> None:
    assert (why_not_restore(LINE, name, 16 * MIB) == "") is may


def test_the_size_of_a_segment_decides_where_it_ends() -> None:
    assert why_not_restore(LINE, "000000020000000000000000", 64 * MIB) == ""
    assert why_not_restore(LINE, "000000020000000000000001", 64 * MIB)
    assert why_not_restore(LINE, "000000020000000000000001", 16 * MIB) == ""


def test_while_nobody_serves_nothing_is_taken() -> None:
    assert "nobody" in why_not_restore(None, SEGMENT, 16 * MIB)
