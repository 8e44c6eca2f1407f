"""What rules are made of besides facts: their form, actions that carry a value, details of sentences.

The rules themselves, and with them everything that can change a node's course, stand beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from failover_agent.core import claiming as c
from failover_agent.core import facts as f
from failover_agent.core import other_facts as o
from failover_agent.core.lsn import show
from failover_agent.core.model import LeaseSeen, Server
from failover_agent.core.seals import why_not_claim
from failover_agent.core.slots import slot_name
from failover_agent.core.snapshot import (
    Action,
    Claim,
    Follow,
    GatherSeals,
    ShutGate,
    Snapshot,
    StopPostgres,
    SwitchOver,
    UnbindVips,
)

Fact = Callable[[Snapshot], bool]

SHUT_OUT = (ShutGate(), UnbindVips())


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
    report = o.serving_holder(s)
    assert report is not None, "asked only under another_node_serves"
    return report.name


def follow_by_my_slot(s: Snapshot) -> tuple[Action, ...]:
    return (Follow(holder(s), slot_name(s.me.name)),)


def take_nothing_more(s: Snapshot) -> tuple[Action, ...]:
    """From whoever is left of the old primary: while more comes, replay has no end."""
    streams = isinstance(s.server, Server) and s.server.streaming
    return (Follow(""),) if streams else ()


def what_is_not_replayed(s: Snapshot) -> str:
    """In halves, so that it is not said anew at every look."""
    return f"less than {1 << (f.unreplayed(s) >> 20).bit_length()} MiB are left"


def what_holds_replay(s: Snapshot) -> str:
    return s.server.held if isinstance(s.server, Server) else ""


def what_it_lacks(s: Snapshot) -> str:
    assert isinstance(s.server, Server), "asked only of a copy that was looked at"
    return f"its WAL ends at {show(s.server.received_lsn)}, consistent from {show(s.server.whole_from)} on"


def which_wal(s: Snapshot) -> str:
    report = o.serving_holder(s)
    need = s.server.received_lsn if isinstance(s.server, Server) else 0
    return f"from {show(need)} on; it begins at {show(report.kept.oldest_wal if report else 0)}"


def epoch(s: Snapshot) -> int:
    assert s.mine is not None, "asked only under the_lease_is_mine"
    return s.mine.epoch


def claim(s: Snapshot) -> tuple[Action, ...]:
    return (Claim(s.lease if isinstance(s.lease, LeaseSeen) else None),)


def stop_a_standby(s: Snapshot) -> tuple[Action, ...]:
    """So that nobody reads from it, and a person can move its directory: its unit is not theirs to stop."""
    return (StopPostgres(),) if f.i_am_a_standby(s) else ()


def switch_over(s: Snapshot) -> tuple[Action, ...]:
    assert s.order is not None, "asked only under a_switchover_was_ordered"
    return (SwitchOver(s.order),)


def who_is_missing(s: Snapshot) -> str:
    return "waiting for " + ", ".join(o.missing_for_bootstrap(s) or [min(m.name for m in s.others)])


def both_systems(s: Snapshot) -> str:
    here = s.server.system_identifier if isinstance(s.server, Server) else ""
    return f"the token names {s.adopts}, the data directory is {here or 'not there'}"


def gather(s: Snapshot) -> tuple[Action, ...]:
    """Of who was heard lately: whoever is silent is asked when it answers again."""
    assert isinstance(s.lease, LeaseSeen), "asked only where seals are missing"
    members = s.lease.item.sync.members
    return (GatherSeals(s.lease, tuple(m for m in members if m == s.me.name or s.report_of(m))),)


def who_is_not_sealed(s: Snapshot) -> str:
    assert isinstance(s.lease, LeaseSeen), "asked only where seals are missing"
    item, reasons = s.lease.item, dict(s.gathered.why_not)
    silent = {m: "it does not answer" for m in item.sync.members if m != s.me.name and not s.report_of(m)}
    told = "; ".join(f"{name}: {why}" for name, why in sorted((silent | reasons).items()))
    missing = why_not_claim(item, s.me.name, s.gathered.seals)
    return f"{missing} ({told})" if told else missing


def who_is_not_fenced(s: Snapshot) -> str:
    return "; ".join(f"{i}: {s.fences.why_open(i)}" for i in f.not_fenced(s))


def why_not_me(s: Snapshot) -> str:
    if c.seals_decide(s) or (isinstance(s.lease, LeaseSeen) and s.lease.item.claim_needs != "any"):
        return c.why_not(s)
    chosen = c.verdict(s)
    waits = [f"waiting a moment for {name}" for name in o.unheard(s)]
    waits += [
        f"waiting up to {o.STARTING_WAIT_S:g} s for {name}, which replays its WAL"
        for name in o.still_starting(s)
    ]
    waits += [
        f"waiting up to {o.READY_WAIT_S:g} s for {name}, which has yet to start"
        for name in o.not_started_yet(s)
    ]
    return "; ".join([*waits, *(f"{name}: {why}" for name, why in chosen.why_not)])


def who_is_to_vouch(s: Snapshot) -> str:
    return f"waiting for {s.sync.waiting_for}" if s.sync.waiting_for else ""


def whom_i_promised(s: Snapshot) -> str:
    assert s.promised is not None, "asked only under i_am_bound_by_a_promise"
    return s.promised.promise.holder.name


def which_volume(s: Snapshot) -> str:
    return f"the {s.health.fsync_where} volume"
