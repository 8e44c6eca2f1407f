"""Runs many seeds on all cores, and hunts planted bugs until a seed catches them."""

from __future__ import annotations

import gc
import multiprocessing as mp
import os
from collections.abc import Iterable, Iterator

from tests.sim.checkers import UnusableHistory
from tests.sim.planted import Catch, load, planted
from tests.sim.run import Result, run_seed, threaded_modules
from tests.sim.values import unlock_values

COLLECT_EVERY = 20  # seeds between two collections of what they left


def begin_worker() -> None:
    """What a process does once that runs nothing but seeds."""
    threaded_modules()
    unlock_values()
    gc.collect()
    gc.freeze()  # what is loaded stays; no collection needs to look at it again


def _one(seed: int) -> Result:
    if seed % COLLECT_EVERY == 0:
        gc.collect()
    try:
        return run_seed(seed)
    except UnusableHistory as error:
        raise RuntimeError(f"seed {seed}: {error}") from error


def run_all(seeds: Iterable[int], processes: int = 0) -> Iterator[Result]:
    """Results in the order of the seeds."""
    with mp.get_context("fork").Pool(processes or os.cpu_count() or 1, begin_worker) as pool:
        yield from pool.imap(_one, seeds, chunksize=5)


def catches(name: str, seed: int) -> tuple[str, ...]:
    """The checks that fail when plant `name` runs under `seed`."""
    with planted(load(name)):
        try:
            result = run_seed(seed)
        except UnusableHistory:
            return ()
    return tuple(sorted({a.check for a in result.anomalies}))


def _hunt(work: tuple[str, int, int]) -> Catch:
    name, first, count = work
    for seed in range(first, first + count):
        if seed % COLLECT_EVERY == 0:
            gc.collect()
        if found := catches(name, seed):
            return Catch(name, seed, found)
    return Catch(name, -1, ())


def hunt(names: Iterable[str], first: int, count: int, processes: int = 0) -> Iterator[Catch]:
    """The first seed of `first` … `first + count - 1` that catches each plant."""
    with mp.get_context("fork").Pool(processes or os.cpu_count() or 1, begin_worker) as pool:
        yield from pool.imap_unordered(_hunt, [(name, first, count) for name in names])
