"""What several suites of one room share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .gate_net import Net, gated_net


@pytest.fixture
def net() -> Iterator[Net]:
    with gated_net() as made:
        yield made
