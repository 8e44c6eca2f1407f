"""Files that are old or new, never half; notes and tokens on top of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from failover_agent.adapters.files import JsonNotebook, TokenFile, write_durably, write_if_other


def test_a_replaced_file_has_its_mode_before_its_text(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("old")
    path.chmod(0o644)

    write_durably(path, "new", mode=0o600)

    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert os.listdir(tmp_path) == ["secret"]  # noqa: PTH208  # nothing temporary is left


def test_what_is_there_already_is_not_written_again(tmp_path: Path) -> None:
    path = tmp_path / "file"

    assert write_if_other(path, "text")
    before = path.stat().st_ino
    assert not write_if_other(path, "text")
    assert path.stat().st_ino == before


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("old")

    with pytest.raises(UnicodeEncodeError):
        write_durably(path, "half \ud800")

    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_a_notebook_gives_back_what_it_was_given_and_nothing_for_half_a_note(tmp_path: Path) -> None:
    notes = JsonNotebook(tmp_path / "notes")
    assert notes.load("lease") is None

    notes.save("lease", {"epoch": 7, "tokens": ["a", "b"]})
    assert notes.load("lease") == {"epoch": 7, "tokens": ["a", "b"]}

    (tmp_path / "notes/lease.json").write_text('{"epoch": 7, "tok')
    assert notes.load("lease") is None

    notes.forget("lease")
    notes.forget("lease")
    assert notes.load("lease") is None


@pytest.mark.parametrize("name", ["", "../lease", "a/b", ".hidden"])
def test_a_note_cannot_leave_its_directory(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="no name"):
        JsonNotebook(tmp_path).save(name, {})


def test_a_token_that_names_data_is_leave_to_adopt_it_and_never_to_run_initdb(tmp_path: Path) -> None:
    token = TokenFile(tmp_path / "token")
    assert token.adopts() == ""

    for text, initdb, adopts in (
        ("once", True, ""),
        ("adopt 7431 once", False, "7431"),
        ("adopt 7431", False, ""),  # a word too few: leave for nothing
    ):
        (tmp_path / "token").write_text(text + "\n")
        assert (token.present(), token.adopts()) == (initdb, adopts), text

    token.spend()
    assert (token.present(), token.adopts()) == (False, "")


def test_a_token_is_spent_once_and_an_empty_one_is_none(tmp_path: Path) -> None:
    token = TokenFile(tmp_path / "token")
    assert not token.present()

    (tmp_path / "token").write_text("\n")
    assert not token.present()

    (tmp_path / "token").write_text("once\n")
    assert token.present()
    token.spend()
    token.spend()
    assert not token.present()
