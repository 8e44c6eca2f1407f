"""The page about the lab says what its modules say, and each behaviour says where it is from."""

from __future__ import annotations

from pathlib import Path

import pytest

from ec2_lab import simulated
from rehearsal.cluster import ROOT


def test_the_page_is_up_to_date() -> None:
    assert (ROOT / "docs/lab.md").read_text() == simulated.page(), "python -m ec2_lab.simulated > docs/lab.md"


def test_every_room_of_the_lab_says_what_it_simulates() -> None:
    rooms = {one.module.rsplit(".", 1)[0] for one in simulated.behaviours()}

    assert rooms >= {"ec2_lab", "ec2_lab.door", "ec2_lab.hosts", "ec2_lab.vpc"}


@pytest.mark.parametrize(
    "bullet",
    [
        "- a behaviour of no kind",
        "- [documented] a behaviour without a source",
        "- [guessed] a kind of its own",
    ],
)
def test_a_behaviour_must_say_its_kind_and_a_documented_one_its_source(tmp_path: Path, bullet: str) -> None:
    (tmp_path / "module.py").write_text(f'"""A module.\n\nSimulated:\n{bullet}\n"""\n')

    with pytest.raises(simulated.NotABehaviour):
        list(simulated.behaviours(tmp_path))


def test_a_behaviour_is_read_over_several_lines(tmp_path: Path) -> None:
    (tmp_path / "module.py").write_text(
        '"""A module.\n\nSimulated:\n- [documented (text)] one\n  thing <EC2 API:\n  Thing>\n'
        '- [assumed] two\n"""\n'
    )

    first, second = simulated.behaviours(tmp_path)

    assert (first.kind, first.behaviour, first.source) == ("documented (text)", "one thing", "EC2 API: Thing")
    assert (second.kind, second.behaviour, second.source) == ("assumed", "two", "")
