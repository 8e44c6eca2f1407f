"""When the next step of a rehearsal may begin."""

from __future__ import annotations

from typing import Any

import pytest

from rehearsal.cluster import is_whole

WHOLE: dict[str, Any] = {
    "holder": "db1",
    "sync": {"members": ["db2"]},
    "members": [{"state": "streaming"}, {"state": "running"}, {"state": "streaming"}],
    "endpoints": [{"target": "db1"}],
}
ALONE = [{"state": "running"}]


@pytest.mark.parametrize(
    ("changed", "nodes", "whole"),
    [
        ({}, 3, True),
        ({}, 4, False),
        ({"members": [*WHOLE["members"][:2], {"state": "stopped"}]}, 3, False),
        ({"endpoints": [{"target": "db2"}]}, 3, False),
        ({"sync": {"members": []}}, 3, False),
        ({"sync": None}, 3, True),
        ({"members": ALONE, "sync": {"members": []}}, 1, True),
    ],
)
def test_a_cluster_is_whole_when_its_primary_serves_and_can_be_replaced(
    changed: dict[str, Any], nodes: int, whole: bool
) -> None:
    assert is_whole(WHOLE | changed, nodes) is whole
