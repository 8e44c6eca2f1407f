"""The simulation in the quick tests: clean seeds, planted bugs at their seeds, and its own promises."""

from __future__ import annotations

import multiprocessing as mp
import os
import subprocess
import sys

import pytest

from failover_agent.core import suspicion
from tests.sim.docs import PAGE, with_table
from tests.sim.hunt import begin_worker, catches, run_all
from tests.sim.planted import DoesNotFit, Plant, caught, load, names, planted
from tests.sim.run import run_seed

SEEDS = 300


def test_seeds_show_no_anomaly() -> None:
    found = {r.seed: r.anomalies for r in run_all(range(1, SEEDS + 1)) if r.anomalies}
    assert found == {}, f"again: ./run sim --seeds 1 --seed {min(found)}"


def _checks_at_its_seed(name: str) -> tuple[str, tuple[str, ...]]:
    return name, catches(name, caught()[name].seed)


def test_every_planted_bug_is_caught_at_its_seed() -> None:
    """A plant without a seed, and a seed without a plant, fail as well: `./run sim --planted` hunts anew."""
    assert sorted(caught()) == names()
    with mp.get_context("fork").Pool(os.cpu_count() or 1, begin_worker) as pool:
        found = dict(pool.imap_unordered(_checks_at_its_seed, names()))
    assert [name for name, checks in found.items() if not checks] == []


def test_a_plant_whose_text_is_gone_is_refused() -> None:
    plant = Plant("L4", "nothing", suspicion.is_expired, "no such text", "")
    with pytest.raises(DoesNotFit), planted(plant):
        pass


def test_a_plant_is_taken_out_again() -> None:
    before = suspicion.is_expired.__code__
    with planted(Plant("L4", "wrong", suspicion.is_expired, " and seen.read_at >= end", "")):
        assert suspicion.is_expired.__code__ is not before
    assert suspicion.is_expired.__code__ is before


def test_the_same_seed_gives_the_same_trace_in_every_process() -> None:
    """Hashes of strings differ between processes: no order may rest on them."""
    here = [run_seed(seed).fingerprint for seed in (7, 8)]
    program = "from tests.sim.run import run_seed; print(*[run_seed(s).fingerprint for s in (7, 8)])"
    for hash_seed in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.split() == here


def test_a_worker_makes_values_cheaper_and_the_same_trace() -> None:
    assert [r.fingerprint for r in run_all((7, 8))] == [run_seed(seed).fingerprint for seed in (7, 8)]


def test_other_seeds_give_other_traces() -> None:
    assert run_seed(7).fingerprint != run_seed(8).fingerprint


def test_the_page_shows_the_plants_and_their_seeds() -> None:
    text = PAGE.read_text()
    assert with_table(text) == text, "write it anew: ./run sim --planted"
    assert all(load(name).rule for name in names())
