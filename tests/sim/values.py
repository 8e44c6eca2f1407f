"""Values that cost less to make, in the processes that do nothing but simulate.

A frozen dataclass sets each field by a call that goes around its own lock; that was a sixth of a simulation's
time. That nobody changes a value is what mypy and every other test see; here they are made as if unlocked.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import Field, field, fields, is_dataclass, make_dataclass
from typing import Any

PACKAGES = ("failover_agent.", "tests.sim.")


def unlock_values() -> None:
    """Of every module loaded by now, for the rest of this process."""
    for made in list(_frozen()):
        unlocked: Any = make_dataclass(made.__name__, [(f.name, f.type, _alike(f)) for f in fields(made)])
        made.__init__ = unlocked.__init__
        del made.__setattr__, made.__delattr__


def _frozen() -> Iterator[Any]:
    modules = [module for name, module in sys.modules.items() if name.startswith(PACKAGES)]
    found = {value for module in modules for value in vars(module).values() if isinstance(value, type)}
    for made in found:
        if is_dataclass(made) and "__setattr__" in vars(made) and not hasattr(made, "__post_init__"):
            yield made


def _alike(of: Field[Any]) -> Any:
    return field(default=of.default, default_factory=of.default_factory, init=of.init, kw_only=of.kw_only)
