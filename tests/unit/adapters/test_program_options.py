"""PostgreSQL's own programs are given no option that their version does not know: they would not run."""

from __future__ import annotations

from dataclasses import replace

import pytest
from tests.unit.adapters.test_settings import PLAN


@pytest.mark.parametrize(
    ("version", "told"), [(13, ()), (14, ()), (15, ("--config-file=/etc/postgresql.conf",))]
)
def test_pg_rewind_is_told_where_the_settings_are_since_it_can_be(
    version: int, told: tuple[str, ...]
) -> None:
    assert replace(PLAN, version=version).rewind_option == told


@pytest.mark.parametrize(("version", "told"), [(16, ()), (17, ("--sync-method=syncfs",))])
def test_whole_file_systems_are_synced_since_the_programs_can(version: int, told: tuple[str, ...]) -> None:
    assert replace(PLAN, version=version).sync_option == told
