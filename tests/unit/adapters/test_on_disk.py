"""Parsing what PostgreSQL's programs and files say about a data directory at rest."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from failover_agent.adapters.postgres.on_disk import (
    parse_control,
    parse_history,
    record_end,
    segment_name,
    written_segments,
)
from failover_agent.core.lsn import show
from failover_agent.core.model import Fork
from failover_agent.errors import DataDirectoryRefused

PAGE, SEGMENT = 8192, 16 * 1024 * 1024

CONTROL = """\
pg_control version number:            1700
Database system identifier:           7437012345678901234
Database cluster state:               in archive recovery
Latest checkpoint's TimeLineID:       3
Latest checkpoint's PrevTimeLineID:   3
Minimum recovery ending location:     0/5000150
Min recovery ending loc's timeline:   4
max_connections setting:              120
max_worker_processes setting:         8
max_wal_senders setting:              20
max_prepared_xacts setting:           3
max_locks_per_xact setting:           64
WAL block size:                       8192
Bytes per WAL segment:                16777216
"""


def test_a_server_promoted_and_not_yet_checkpointed_is_on_its_recovery_timeline() -> None:
    control = parse_control(CONTROL)

    assert (control.system_identifier, control.timeline, control.clean) == ("7437012345678901234", 4, False)
    assert (control.page_bytes, control.segment_bytes) == (PAGE, SEGMENT)
    assert parse_control(CONTROL.replace("timeline:   4", "timeline:   0")).timeline == 3


def test_where_a_directory_becomes_consistent_is_a_position_and_0_where_there_is_none() -> None:
    assert parse_control(CONTROL).recovery_end == 0x5000150
    assert parse_control(CONTROL.replace("0/5000150", "0/0")).recovery_end == 0


@pytest.mark.parametrize("state", ["shut down", "shut down in recovery"])
def test_only_a_shutdown_is_clean(state: str) -> None:
    assert parse_control(CONTROL.replace("in archive recovery", state)).clean
    assert not parse_control(CONTROL.replace("in archive recovery", "in production")).clean
    assert not parse_control(CONTROL.replace("in archive recovery", "shutting down")).clean


def test_what_a_standby_needs_is_read_under_the_names_of_the_settings() -> None:
    assert parse_control(CONTROL).required == {
        "max_connections": 120,
        "max_worker_processes": 8,
        "max_wal_senders": 20,
        "max_prepared_transactions": 3,
        "max_locks_per_transaction": 64,
    }


@pytest.mark.parametrize(
    "line", [line for line in CONTROL.splitlines() if " TimeLineID" in line or line.startswith("max_")]
)
def test_a_control_file_that_lacks_a_line_is_refused(line: str) -> None:
    with pytest.raises(DataDirectoryRefused):
        parse_control(CONTROL.replace(line, ""))


def test_a_history_file_gives_its_forks_oldest_first() -> None:
    text = "1\t0/3014F38\tno recovery target specified\n\n# a comment\n2\t1/A0000000\treason 5/5\n"

    assert parse_history(text) == (Fork(1, 0x3014F38), Fork(2, (1 << 32) + 0xA0000000))


def record(position: int, total: int, desc: str = "INSERT") -> str:
    return (
        f"rmgr: Heap        len (rec/tot):     59/ {total:5}, tx:        733, lsn: {show(position)},"
        f" prev 0/01558F88, desc: {desc} off: 1"
    )


@pytest.mark.parametrize(
    ("position", "total", "end"),
    [
        (0x3000100, 64, 0x3000140),
        (0x3000100, 61, 0x3000140),  # rounded up to eight
        (0x3001F00, 0x100, 0x3002000),  # ends with the page: no header yet
        (0x3001F00, 0x101, 0x3002000 + 24 + 8),  # one byte beyond the page's header
        (0x3FFFF00, 0x108, 0x4000000 + 40 + 8),  # a new segment begins with the long header
        (0x3001F00, 0x100 + (PAGE - 24) + 8, 0x3004000 + 24 + 8),  # a whole page in between
    ],
)
def test_a_record_ends_after_the_page_headers_on_its_way(position: int, total: int, end: int) -> None:
    assert record_end(record(position, total), PAGE, SEGMENT) == end


def test_a_switch_takes_the_rest_of_its_segment() -> None:
    assert record_end(record(0x3000100, 24, "SWITCH"), PAGE, SEGMENT) == 0x4000000


def test_a_line_that_shows_no_record_is_refused() -> None:
    with pytest.raises(DataDirectoryRefused):
        record_end("pg_waldump: error: something", PAGE, SEGMENT)


@given(st.integers(0x28, 0x1FF), st.integers(24, 5_000_000))
def test_longer_records_never_end_earlier_and_ends_are_aligned(eighths: int, total: int) -> None:
    start = 0x3000000 + eighths * 8

    end = record_end(record(start, total), PAGE, SEGMENT)

    assert end % 8 == 0
    assert end >= start + total
    assert record_end(record(start, total + 8), PAGE, SEGMENT) >= end


def test_recycled_and_empty_segments_hold_nothing_yet(tmp_path: Path) -> None:
    """Method: three names; the first holds its own address, one an older one, one zeroes."""

    def segment(name: str, address: int) -> None:
        (tmp_path / name).write_bytes(struct.pack("=HHIQII", 0xD113, 2, 1, address, 0, 0))

    segment("000000010000000000000003", 0x3000000)
    segment("000000010000000000000004", 0x1000000)
    segment("000000010000000000000005", 0)
    segment("000000010000000100000001", (1 << 32) + 0x1000000)
    (tmp_path / "000000010000000000000006").write_bytes(b"")
    (tmp_path / "00000002.history").write_text("")

    found = written_segments(tmp_path, SEGMENT)

    assert [(s.path.name, s.start) for s in found] == [
        ("000000010000000000000003", 0x3000000),
        ("000000010000000100000001", (1 << 32) + 0x1000000),
    ]


def test_a_position_lies_in_the_file_that_postgresql_names_so() -> None:
    mib = 1 << 20

    assert segment_name(1, 0x1000000, 16 * mib) == "000000010000000000000001"
    assert segment_name(0x23, 0x1_0000_0000 - 1, 16 * mib) == "0000002300000000000000FF"
    assert segment_name(0x23, 0x1_0000_0000, 16 * mib) == "000000230000000100000000"
    assert segment_name(2, 0x5_4000_0000, 1024 * mib) == "000000020000000500000001"
