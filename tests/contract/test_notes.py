"""What every Notebook and every BootstrapToken promises."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from failover_agent.adapters.files import JsonNotebook, TokenFile
from failover_agent.ports import BootstrapToken, Notebook
from tests.support.machine import Pages, Token

Open = Callable[[], Notebook]


@pytest.fixture(params=["memory", "json"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    """Opens the same notebook again, as the agent's next life does."""
    pages = Pages()
    return (lambda: pages) if request.param == "memory" else lambda: JsonNotebook(tmp_path / "notes")


@pytest.fixture(params=["memory", "file"])
def token(request: pytest.FixtureRequest, tmp_path: Path) -> BootstrapToken:
    if request.param == "memory":
        return Token()
    (tmp_path / "token").write_text("once\n")
    return TokenFile(tmp_path / "token")


def test_a_note_that_was_never_written_is_none(opened: Open) -> None:
    assert opened().load("lease") is None


def test_the_next_life_reads_what_the_last_one_saved(opened: Open) -> None:
    opened().save("lease", {"epoch": 7, "tokens": ["a", "b"], "until": 1.5, "mine": True, "nobody": None})

    assert opened().load("lease") == {
        "epoch": 7,
        "tokens": ["a", "b"],
        "until": 1.5,
        "mine": True,
        "nobody": None,
    }


def test_a_note_is_replaced_whole_and_others_stay(opened: Open) -> None:
    notes = opened()
    notes.save("lease", {"epoch": 7, "pending": "t8"})
    notes.save("reads", {"epoch": 6})

    notes.save("lease", {"epoch": 8})

    assert notes.load("lease") == {"epoch": 8}
    assert notes.load("reads") == {"epoch": 6}


def test_what_was_saved_does_not_change_with_what_it_was_made_of(opened: Open) -> None:
    made: dict[str, object] = {"tokens": ["a"]}
    opened().save("lease", made)

    made["epoch"] = 9
    made["tokens"] = ["b"]

    assert opened().load("lease") == {"tokens": ["a"]}


def test_a_note_is_forgotten_and_may_be_forgotten_again(opened: Open) -> None:
    notes = opened()
    notes.save("lease", {"epoch": 7})
    for _ in range(2):
        notes.forget("lease")
        assert opened().load("lease") is None


def test_a_token_is_there_until_it_is_spent_and_may_be_spent_again(token: BootstrapToken) -> None:
    assert token.present()
    for _ in range(2):
        token.spend()
        assert not token.present()
