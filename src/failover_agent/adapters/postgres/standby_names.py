"""`synchronous_standby_names` as the agent writes it: `ANY 1 ("db2", "db3")`, or empty."""

from __future__ import annotations

import re

from failover_agent.core.model import Unknown
from failover_agent.core.quorum import NOBODY, Waits, waits

_ANY = re.compile(r'^ANY (\d+) \(("[^"]+"(?:, "[^"]+")*)\)$')


def standby_names(wait: Waits) -> str:
    if not wait.k:
        return ""
    return f"ANY {wait.k} ({', '.join(_quoted(name) for name in wait.members)})"


def _quoted(name: str) -> str:
    """Raises ValueError on a name that could end the quotes: names of members have no such characters."""
    if not name or '"' in name or "'" in name or "\\" in name:
        raise ValueError(f"{name!r} is no name of a member")
    return f'"{name}"'


def parsed(text: str) -> Waits | Unknown:
    """Anything the agent would not have written is Unknown: what it promises is not ours to guess."""
    if not text:
        return NOBODY
    found = _ANY.match(text)
    if found is None:
        return Unknown(f"synchronous_standby_names is {text!r}, which the agent did not write")
    try:
        return waits((name.strip('"') for name in found.group(2).split(", ")), int(found.group(1)))
    except ValueError as error:
        return Unknown(f"synchronous_standby_names is {text!r}: {error}")
