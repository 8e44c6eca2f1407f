"""`./run test lab` asks once more what failed, and never what was unsafe."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ASKED_TWICE = """
set -euo pipefail
say() { printf '%s\\n' "$*" >&2; }
source <(sed -n '/^asked_twice() {/,/^}/p' "$ROOT/run")
asked_twice case lab
"""
CONFTEST = "from tests.conftest import pytest_runtest_makereport, pytest_sessionfinish\n"
CASE = """
import pytest
from pathlib import Path
from tests.support.unsafe import Unsafe

def told(name):
    with Path("asked").open("a") as asked:
        asked.write(name + " ")
    return Path("asked").read_text().split().count(name)

@pytest.mark.lab
def test_good():
    told("good")

@pytest.mark.lab
def test_other():
    if told("other") <= {fails}:
        raise {error}

def test_without_a_lab():
    told("elsewhere")
"""


@pytest.mark.parametrize(
    ("fails", "error", "status", "asked"),
    [
        (0, "AssertionError", 0, ["good", "other"]),
        (1, "AssertionError", 0, ["good", "other", "other"]),
        (1, "TimeoutError", 0, ["good", "other", "other"]),
        (2, "AssertionError", 1, ["good", "other", "other"]),
        (1, "Unsafe('two writers')", 70, ["good", "other"]),
    ],
)
def test_what_failed_is_asked_once_more_by_itself_and_what_was_unsafe_is_not(
    tmp_path: Path, fails: int, error: str, status: int, asked: list[str]
) -> None:
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = lab\n")
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_case.py").write_text(CASE.format(fails=fails, error=error))
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    env = os.environ | {"PATH": path, "PYTHONPATH": str(ROOT), "ROOT": str(ROOT)}

    done = subprocess.run(("bash", "-c", ASKED_TWICE), cwd=tmp_path, env=env, capture_output=True, text=True)

    assert done.returncode == status, done.stdout + done.stderr
    assert (tmp_path / "asked").read_text().split() == asked
    assert done.stdout.count("FAILURES") == min(fails, 2), "how it failed at first is told as well"
