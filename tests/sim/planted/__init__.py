"""Bugs planted on purpose, one rule of PROTOCOL left out or inverted each. The simulation must catch all.

A plant names a function of the agent, one piece of its text, and what stands there instead. A piece that is
not there exactly once raises: a plant must never rot into one that changes nothing.
"""

from __future__ import annotations

import inspect
import pkgutil
import textwrap
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import FunctionType


@dataclass(frozen=True, slots=True)
class Plant:
    rule: str  # of PROTOCOL, or what it belongs to
    wrong: str  # what the agent does then, in a sentence without a full stop
    function: object
    text: str
    instead: str
    also: Plant | None = None  # the second place of a rule that stands twice


class DoesNotFit(Exception):
    """The text to be replaced is not there exactly once."""


def names() -> list[str]:
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load(name: str) -> Plant:
    plant = import_module(f"{__name__}.{name}").PLANT
    assert isinstance(plant, Plant)
    return plant


SEEDS = Path(__file__).with_name("seeds.toml")


@dataclass(frozen=True, slots=True)
class Catch:
    """The seed that caught a plant, and the checks that failed; seed -1: none did."""

    plant: str
    seed: int
    checks: tuple[str, ...]


def caught() -> dict[str, Catch]:
    """What the last hunt wrote down."""
    table = tomllib.loads(SEEDS.read_text())
    return {name: Catch(name, row["seed"], tuple(row["checks"])) for name, row in table.items()}


def write_down(catches: dict[str, Catch]) -> None:
    lines = ["# Written by `./run sim --planted`: the first seed that caught each planted bug.\n"]
    for name, catch in sorted(catches.items()):
        checks = ", ".join(f'"{check}"' for check in catch.checks)
        lines.append(f"\n[{name}]\nseed = {catch.seed}\nchecks = [{checks}]\n")
    SEEDS.write_text("".join(lines))


@contextmanager
def planted(plant: Plant) -> Iterator[None]:
    """Within it, the function does the wrong, whoever imported it."""
    with ExitStack() as stack:
        part: Plant | None = plant
        while part is not None:
            stack.enter_context(_planted(part))
            part = part.also
        yield


@contextmanager
def _planted(plant: Plant) -> Iterator[None]:
    function = plant.function
    assert isinstance(function, FunctionType)
    source = textwrap.dedent(inspect.getsource(function))
    if source.count(plant.text) != 1:
        raise DoesNotFit(f"{plant.text!r} stands {source.count(plant.text)} times in {function.__qualname__}")
    wrong = source.replace(plant.text, plant.instead)
    found: dict[str, FunctionType] = {}
    # Annotations stay text, as in the agent's own modules: this module's future import is inherited.
    exec(compile(wrong, f"planted {plant.rule}", "exec"), dict(function.__globals__), found)  # noqa: S102  # our own text
    right = function.__code__
    function.__code__ = found[function.__name__].__code__
    try:
        yield
    finally:
        function.__code__ = right
