"""The agent's own judgement of timings, for playbooks: one source of the relations (PROTOCOL L5)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict

from failover_agent.core.model import Timings
from failover_agent.core.timings import PROFILES, complaints


def timings_complaints(overrides: Mapping[str, object], profile: str) -> list[str]:
    """What is wrong with a profile and the single values laid over it, with the sums; empty when nothing."""
    plain = asdict(PROFILES[profile])
    if strange := sorted(set(overrides) - set(plain)):
        return [f"there is no timing {name}; there are {', '.join(sorted(plain))}" for name in strange]
    try:
        numbers = {name: float(str(value)) for name, value in overrides.items()}
    except ValueError as error:
        return [f"no number of seconds: {error}"]
    return complaints(Timings(**{**plain, **numbers}))


class FilterModule:
    """What Ansible looks for in this file."""

    def filters(self) -> dict[str, Callable[..., object]]:
        """Names as templates use them."""
        return {"timings_complaints": timings_complaints}
