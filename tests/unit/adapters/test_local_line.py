"""Which timeline a directory's recovery ends on, by the history files that lie in it."""

from __future__ import annotations

from pathlib import Path

import pytest

from failover_agent.adapters.postgres.local_line import _newest_line
from failover_agent.adapters.postgres.timelines import MARK


@pytest.mark.parametrize(
    ("begins", "files", "expected"),
    [
        (1, {}, (1, {})),
        (1, {2: "1\t0/3000000\twhy\n"}, (2, {1: 0x3000000})),
        (2, {2: "1\t0/3000000\twhy\n"}, (2, {1: 0x3000000})),
        (
            1,
            {2: "1\t0/3000000\twhy\n", 3: "1\t0/3000000\twhy\n2\t0/4000000\twhy\n"},
            (3, {1: 0x3000000, 2: 0x4000000}),
        ),
        # A number passed over names no parent and ends no count; what comes after it counts.
        (1, {2: MARK}, (1, {})),
        (1, {2: MARK, 3: "1\t0/3000000\twhy\n"}, (3, {1: 0x3000000})),
        # Another node's, which does not come from here.
        (2, {2: "1\t0/3000000\twhy\n", 3: "1\t0/2000000\twhy\n"}, (2, {1: 0x3000000})),
        # PostgreSQL counts without a gap.
        (1, {3: "1\t0/3000000\twhy\n"}, (1, {})),
    ],
)
def test_a_recovery_ends_on_the_last_timeline_that_comes_from_where_it_begins(
    tmp_path: Path, begins: int, files: dict[int, str], expected: tuple[int, dict[int, int]]
) -> None:
    for timeline, text in files.items():
        (tmp_path / f"{timeline:08X}.history").write_text(text)

    assert _newest_line(tmp_path, begins) == expected
