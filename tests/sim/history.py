"""What happened in a simulated run, as values: the checkers read these and nothing else.

`at`, `begin` and `end` are true time, which no node knows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from failover_agent.core.model import LeaseItem


@dataclass(frozen=True, slots=True)
class Window:
    """Between `begin` and `end` clients of `node` could have been acknowledged a write on `line`."""

    node: str
    line: int  # one timeline as one node wrote it; two lines may carry the same timeline number
    begin: float
    end: float


@dataclass(frozen=True, slots=True)
class Ack:
    """A client was told that its write `number` is committed; it stands at `lsn` of `line`."""

    at: float
    node: str
    number: int
    line: int
    lsn: int
    sent_at: float
    local: bool = False  # of a session that did not wait for standbys: outside every promise (S8)


@dataclass(frozen=True, slots=True)
class LeaseWrite:
    """The store took this item; its token left the node for the first time at `first_sent`.

    `by` is empty for what gives nobody a right: the first item, and a pause ended for a holder that is gone.
    """

    at: float
    by: str
    item: LeaseItem
    first_sent: float


@dataclass(frozen=True, slots=True)
class ClaimSent:
    """A node sent a claim for `epoch`. `better`: who had more WAL and could have been heard all the time."""

    at: float
    by: str
    epoch: int
    lag: int  # bytes behind what the lease says
    better: tuple[str, ...]
    offered: bool  # the last holder named this node
    seals_count: bool = False  # seals decide, not the lag (S1)


@dataclass(frozen=True, slots=True)
class ClaimLanded:
    """The store took a claim. `before`: what stood there; `sealed`: who was for exactly that version."""

    at: float
    by: str
    first_sent: float
    before: LeaseItem
    item: LeaseItem
    sealed: tuple[str, ...]
    still_fed: tuple[str, ...]  # of these, who still takes WAL from the old holder
    accepted: bool  # a person accepted the loss


@dataclass(frozen=True, slots=True)
class Promised:
    """`by` promised `to`, the holder of `epoch`, not to claim for one ttl, when it was asked for that."""

    asked_at: float
    at: float
    by: str
    to: str
    epoch: int
    ttl_s: float


@dataclass(frozen=True, slots=True)
class Promotion:
    at: float
    node: str
    line: int
    timeline: int
    epoch: int  # the store's at that moment
    sessions: int  # of readers that lived on
    gate_open: bool
    missing: tuple[int, ...]  # numbers of acknowledged writes that it does not have and its predecessor had
    handed_over: bool  # its lease was offered to it by name


@dataclass(frozen=True, slots=True)
class FenceSeen:
    """The cloud showed `by` that the machine of `node` is stopped; `down`: it is."""

    at: float
    by: str
    node: str
    down: bool


@dataclass(frozen=True, slots=True)
class ModeOrdered:
    """A person asked `node` to have the lease's mode switched."""

    at: float
    node: str
    mode: str


@dataclass(frozen=True, slots=True)
class PauseOrdered:
    """A person asked `node` to have failover paused, or resumed."""

    at: float
    node: str
    pause: bool


@dataclass(slots=True)
class HandoverOrdered:
    """A person waited for `node` to hand over, from `begin` to `end`."""

    begin: float
    node: str
    end: float = math.inf


@dataclass(frozen=True, slots=True)
class Death:
    """An agent's process ended by itself, by an error that nobody foresaw."""

    at: float
    node: str
    why: str


@dataclass(frozen=True, slots=True)
class Mistake:
    """Something was done in an order that a rule forbids; `what` says which."""

    at: float
    node: str
    rule: str
    what: str


@dataclass(frozen=True, slots=True)
class Phase:
    """Part of a run: `safety` (anything may fail), `liveness` (healed), `calm` (blips only)."""

    name: str
    begin: float
    end: float


@dataclass(frozen=True, slots=True)
class NodeAtEnd:
    node: str
    state: str  # of PostgreSQL
    may_write: bool
    streaming: bool
    upstream: str
    same_as_primary: bool  # its WAL is a piece of the primary's
    missing: tuple[int, ...]  # acknowledged writes not in its WAL, without those an earlier promotion missed
    rule: str


@dataclass(frozen=True, slots=True)
class AtEnd:
    """The cluster when a phase ended, and whether it had become whole by then."""

    phase: str
    at: float
    whole: bool
    waited_s: float
    nodes: tuple[NodeAtEnd, ...]
    routes: tuple[tuple[str, str], ...]  # table, node it leads to
    epoch: int


@dataclass(slots=True)
class History:
    seed: int
    mode: str  # that it began in
    ttl_s: float
    lag_limit_bytes: int
    nodes: tuple[str, ...]
    windows: list[Window] = field(default_factory=list)
    acks: list[Ack] = field(default_factory=list)
    writes: list[LeaseWrite] = field(default_factory=list)
    claims: list[ClaimSent] = field(default_factory=list)
    landed: list[ClaimLanded] = field(default_factory=list)
    promises: list[Promised] = field(default_factory=list)
    promotions: list[Promotion] = field(default_factory=list)
    fences: list[FenceSeen] = field(default_factory=list)
    suspect_after_s: float = 0.0
    waits_for_fences: bool = False  # a method is set, and the policy is to wait
    modes_ordered: list[ModeOrdered] = field(default_factory=list)
    pauses_ordered: list[PauseOrdered] = field(default_factory=list)
    handovers_ordered: list[HandoverOrdered] = field(default_factory=list)
    deaths: list[Death] = field(default_factory=list)
    mistakes: list[Mistake] = field(default_factory=list)
    phases: list[Phase] = field(default_factory=list)
    ends: list[AtEnd] = field(default_factory=list)

    def handover_ordered(self, at: float, node: str) -> HandoverOrdered:
        self.handovers_ordered.append(HandoverOrdered(at, node))
        return self.handovers_ordered[-1]


def shown(item: LeaseItem) -> dict[str, object]:
    """What a trace tells of a pause and of the sync set, where there is one."""
    paused: dict[str, object] = {"paused": item.paused} if item.paused else {}
    if item.mode == "async":
        return paused
    sync = item.sync
    return paused | {
        "sync": f"{sync.version}: {sync.k} of {','.join(sync.members)}",
        "may": ",".join(item.may_claim),
    }
