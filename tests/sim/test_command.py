"""`./run sim` refuses what it could only misunderstand: no seeds would be no proof."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from .__main__ import main


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--seeds", "0"), "0 is not in the range x>=1"),
        (("--seeds", "-3"), "-3 is not in the range x>=1"),
        (("--seed", "-1"), "-1 is not in the range x>=0"),
        (("--planted", "--only", "typo"), "'typo' is not one of"),
        (("--seeds", "1", "--only", "l1_epoch_not_raised"), "say --planted, too"),
        (("--planted", "--json", "{place}/out"), "seeds.toml"),
    ],
    ids=" ".join,
)
def test_what_can_only_be_a_mistake_is_refused_before_anything_runs(
    tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    done = CliRunner().invoke(main, [word.format(place=tmp_path) for word in words])

    assert (done.exit_code, done.stdout) == (2, "")
    assert said in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_one_seed_is_run_and_judged(tmp_path: Path) -> None:
    done = CliRunner().invoke(main, ["--seeds", "1", "--seed", "3", "--json", str(tmp_path / "out")])

    assert (done.exit_code, done.stdout) == (0, "1 seeds from 3, 0 with anomalies\n"), done.output
    assert (tmp_path / "out").read_text().count("\n") == 1
