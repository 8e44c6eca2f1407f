"""The module that writes the hosts' files: looks, changes what differs, and says so."""

from __future__ import annotations

import getpass
import grp
import importlib.util
import os
import stat
from pathlib import Path
from typing import Any

import pytest

MODULE = Path(__file__).parents[3] / "roles/file_set/library/file_set.py"


@pytest.fixture(scope="module")
def file_set() -> Any:
    spec = importlib.util.spec_from_file_location("file_set", MODULE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def entry(path: Path, **wanted: Any) -> dict[str, Any]:
    me = {"owner": getpass.getuser(), "group": grp.getgrgid(os.getgid()).gr_name}
    return {"path": str(path), **me, **wanted}


def settle(module: Any, *entries: dict[str, Any], dry: bool = False) -> list[str]:
    files = module.FileSet(dry=dry)
    for each in entries:
        files.settle(each)
    return [Path(path).name for path in files.changed]


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_a_second_run_changes_nothing(file_set: Any, tmp_path: Path) -> None:
    wanted = (
        entry(tmp_path / "d", state="directory", mode="0750"),
        entry(tmp_path / "d/f", content="x\n", mode="0600"),
        entry(tmp_path / "l", link="/dev/null"),
        entry(tmp_path / "gone", state="absent"),
    )

    assert settle(file_set, *wanted) == ["d", "f", "l"]
    assert settle(file_set, *wanted) == []
    assert (tmp_path / "d/f").read_text() == "x\n"
    assert (mode_of(tmp_path / "d"), mode_of(tmp_path / "d/f")) == (0o750, 0o600)


def test_a_check_run_reports_and_leaves_everything_alone(file_set: Any, tmp_path: Path) -> None:
    (tmp_path / "old").write_text("old\n")
    wanted = (
        entry(tmp_path / "d", state="directory"),
        entry(tmp_path / "d/f", content="x\n", owner="nobody-made-this-user"),
        entry(tmp_path / "old", content="new\n", validate="/bin/false %s.missing-program"),
    )

    with pytest.raises(file_set.Refused):
        settle(file_set, wanted[2], dry=True)
    assert settle(file_set, *wanted[:2], dry=True) == ["d", "f"]
    assert [p.name for p in tmp_path.iterdir()] == ["old"]
    assert (tmp_path / "old").read_text() == "old\n"


def test_only_the_mode_differs(file_set: Any, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x\n")
    (tmp_path / "f").chmod(0o644)

    assert settle(file_set, entry(tmp_path / "f", content="x\n", mode="0600")) == ["f"]
    assert mode_of(tmp_path / "f") == 0o600


def test_a_file_that_would_be_wrong_does_not_replace_a_good_one(file_set: Any, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("good\n")

    with pytest.raises(file_set.Refused):
        settle(file_set, entry(tmp_path / "f", content="bad\n", validate="/bin/grep -q good %s"))

    assert [p.name for p in tmp_path.iterdir()] == ["f"]
    assert (tmp_path / "f").read_text() == "good\n"
    good = entry(tmp_path / "f", content="good too\n", validate="/bin/grep -q good %s")
    assert settle(file_set, good) == ["f"]


def test_what_is_kept_is_only_made_once(file_set: Any, tmp_path: Path) -> None:
    first = entry(tmp_path / "f", content="ours\n", keep=True)

    assert settle(file_set, first) == ["f"]
    (tmp_path / "f").write_text("theirs\n")
    (tmp_path / "f").chmod(0o600)
    assert settle(file_set, first) == []
    assert (tmp_path / "f").read_text() == "theirs\n"
    assert mode_of(tmp_path / "f") == 0o600  # theirs, too


@pytest.mark.parametrize("wanted", [{"state": "absent"}, {"link": "/dev/null"}, {"content": "x"}])
def test_a_folder_is_never_replaced_or_removed(file_set: Any, tmp_path: Path, wanted: dict[str, Any]) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/inside").touch()

    with pytest.raises(file_set.Refused):
        settle(file_set, entry(tmp_path / "d", **wanted))

    assert (tmp_path / "d/inside").exists()


def test_a_link_moves_to_its_new_target(file_set: Any, tmp_path: Path) -> None:
    settle(file_set, entry(tmp_path / "l", link="old"))

    assert settle(file_set, entry(tmp_path / "l", link="new")) == ["l"]
    assert str((tmp_path / "l").readlink()) == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["l"]
