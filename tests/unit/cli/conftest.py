from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.one_agent import OneAgent, one_agent


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[OneAgent]:
    with one_agent(tmp_path) as one:
        yield one
