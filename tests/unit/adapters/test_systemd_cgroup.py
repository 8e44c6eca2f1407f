"""The processes of a unit, whose cgroups come and go while they are walked through."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from failover_agent.adapters import systemd
from failover_agent.adapters.systemd import SCANS, SystemdUnit
from failover_agent.errors import PostgresFailed


class Vanishing:
    """A cgroup below which something was removed in the middle of the first `times` walks."""

    def __init__(self, listing: Path, times: int) -> None:
        self._listing, self.left = listing, times

    def rglob(self, _pattern: str) -> Iterator[Path]:
        self.left -= 1
        if self.left >= 0:
            raise FileNotFoundError(2, "No such file or directory", "worker")
        yield self._listing


def unit_of(cgroup: object, monkeypatch: pytest.MonkeyPatch) -> SystemdUnit:
    unit = SystemdUnit("some.service")
    monkeypatch.setattr(unit, "_cgroup", lambda: cgroup)
    return unit


def test_a_walk_that_met_a_removal_is_walked_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    listing = tmp_path / "cgroup.procs"
    listing.write_text("7\n8\n")

    assert unit_of(Vanishing(listing, 3), monkeypatch).processes() == [7, 8]


def test_a_cgroup_that_cannot_be_read_at_all_is_not_an_empty_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(PostgresFailed, match="cannot be read"):
        unit_of(Vanishing(tmp_path / "cgroup.procs", SCANS), monkeypatch).processes()


def test_a_unit_without_a_cgroup_has_no_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    assert systemd.SystemdUnit("some.service").processes() == []
    assert unit_of(None, monkeypatch).processes() == []
