"""What happened in a simulated run, as values: the checkers read these and nothing else.

`at`, `begin` and `end` are true time, which no node knows.
"""

from __future__ import annotations

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


@dataclass(frozen=True, slots=True)
class LeaseWrite:
    """The store took this item; its token left the node for the first time at `first_sent`."""

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
    missing: tuple[int, ...]  # acknowledged writes not in its WAL
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
    mode: str
    ttl_s: float
    lag_limit_bytes: int
    nodes: tuple[str, ...]
    windows: list[Window] = field(default_factory=list)
    acks: list[Ack] = field(default_factory=list)
    writes: list[LeaseWrite] = field(default_factory=list)
    claims: list[ClaimSent] = field(default_factory=list)
    promotions: list[Promotion] = field(default_factory=list)
    deaths: list[Death] = field(default_factory=list)
    mistakes: list[Mistake] = field(default_factory=list)
    phases: list[Phase] = field(default_factory=list)
    ends: list[AtEnd] = field(default_factory=list)
