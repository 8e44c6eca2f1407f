"""What rules are made of besides facts: their form, actions that carry a value, details of sentences.

The rules themselves, and with them everything that can change a node's course, stand in `rules`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from failover_agent.core import facts as f
from failover_agent.core.model import LeaseSeen, Server
from failover_agent.core.snapshot import Action, Claim, Snapshot, SwitchOver

Fact = Callable[[Snapshot], bool]


def nothing(_: Snapshot) -> tuple[Action, ...]:
    return ()


def do(*actions: Action) -> Callable[[Snapshot], tuple[Action, ...]]:
    return lambda _: actions


def silent(_: Snapshot) -> str:
    return ""


@dataclass(frozen=True, slots=True)
class Rule:
    name: str
    when: tuple[Fact, ...]
    because: str
    then: Callable[[Snapshot], tuple[Action, ...]] = nothing
    detail: Callable[[Snapshot], str] = silent


@dataclass(frozen=True, slots=True)
class Decision:
    rule: str
    actions: tuple[Action, ...]
    because: str


def holder(s: Snapshot) -> str:
    report = f.serving_holder(s)
    assert report is not None, "asked only under another_node_serves"
    return report.name


def epoch(s: Snapshot) -> int:
    assert s.mine is not None, "asked only under the_lease_is_mine"
    return s.mine.epoch


def claim(s: Snapshot) -> tuple[Action, ...]:
    return (Claim(s.lease if isinstance(s.lease, LeaseSeen) else None),)


def switch_over(s: Snapshot) -> tuple[Action, ...]:
    assert s.order is not None, "asked only under a_switchover_was_ordered"
    return (SwitchOver(s.order),)


def who_is_missing(s: Snapshot) -> str:
    return "waiting for " + ", ".join(f.missing_for_bootstrap(s) or [min(m.name for m in s.others)])


def both_systems(s: Snapshot) -> str:
    here = s.server.system_identifier if isinstance(s.server, Server) else ""
    return f"the token names {s.adopts}, the data directory is {here or 'not there'}"


def why_not_me(s: Snapshot) -> str:
    chosen = f.verdict(s)
    waits = [f"waiting a moment for {name}" for name in f.unheard(s)]
    waits += [
        f"waiting up to {f.STARTING_WAIT_S:g} s for {name}, which replays its WAL"
        for name in f.still_starting(s)
    ]
    return "; ".join([*waits, *(f"{name}: {why}" for name, why in chosen.why_not)])


def which_volume(s: Snapshot) -> str:
    return f"the {s.health.fsync_where} volume"
