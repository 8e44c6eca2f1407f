"""Fixtures of the lab's unit tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.ec2_lab.door_lab import Lab, fresh_lab


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    """A region with one VPC over recording wires and machines."""
    with fresh_lab(tmp_path) as made:
        yield made
