"""What one decision looks at, and what it may ask for. Values only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from failover_agent.core.fencing import NOTHING_KNOWN, OFF, Fences, Fencing
from failover_agent.core.health import BALANCED, WELL, Health, Limits
from failover_agent.core.model import (
    IN_PLACE,
    Heard,
    LeaseItem,
    LeaseSeen,
    Member,
    NodeReport,
    Server,
    ServerState,
    SyncProgress,
    Timings,
    Unknown,
)
from failover_agent.core.promises import Given
from failover_agent.core.promotion import Standing
from failover_agent.core.seals import NOTHING_GATHERED, Gathered
from failover_agent.core.slots import NOTHING_TOLD, Kept


@dataclass(frozen=True, slots=True)
class Mine:
    """The lease as its holder knows it."""

    item: LeaseItem  # as it last landed
    valid_until: float  # exclusive; margin already taken off (L3)
    was_primary: bool  # this node was seen as primary in this very epoch
    beat_sent: float = 0.0  # when the token in `item` was first sent (F6)
    promised: tuple[tuple[str, float], ...] = ()  # until when which member neither seals nor claims (P1)

    @property
    def epoch(self) -> int:
        return self.item.epoch


@dataclass(frozen=True, slots=True)
class SwitchoverOrder:
    """A person asked this holder to hand over; `to` is empty for the best standby."""

    number: int
    to: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything one decision may look at. Built by shell.observe, read by rules."""

    now: float
    me: Member
    others: tuple[Member, ...]
    timings: Timings
    lag_limit_bytes: int
    server: Server | Unknown
    lease: LeaseSeen | Unknown | None  # None: the store says that there is no item
    mine: Mine | None = None
    heard: tuple[Heard, ...] = ()
    slept_s: float = 0.0  # since the end of the last round, waits that were meant taken off
    server_before: Server | None = None  # the last look that found an answer
    blind_s: float = 0.0  # for how long `server` has been Unknown
    unstreamed_s: float = 0.0  # for how long a running standby has not streamed
    unmoved_s: float = 0.0  # for how long a standby that does not stream got no WAL from anywhere either
    replay_still_s: float = 0.0  # for how long a standby has replayed nothing
    astray_s: float = 0.0  # for how long it has waited for WAL, to get ready, from another than who serves
    unanswered: bool = False  # a write of this holder to the store, and nothing came back at all
    claiming: bool = False  # a claim was sent and its fate is not known yet
    gathered: Gathered = NOTHING_GATHERED  # what members of S answered to this node, for the item in `lease`
    promised: Given | None = None  # to a holder that the store is away from: not to claim (P1)
    serving_epoch: int = 0  # the gate is kept open for this epoch; 0: shut
    reading_epoch: int = 0  # the gate is kept open for a standby's readers in this epoch; 0: not
    vips_bound: bool = False  # some virtual address is on this node
    job: str = ""  # the long job that runs
    resting: bool = False  # a job failed a moment ago
    failed_starts: int = 0  # starts or promotions, in a row
    bootstrap_token: bool = False
    adopts: str = ""  # the system identifier that the playbook's token lets this node begin a cluster with
    half_rewound: bool = False  # a rewind began and did not end (N5)
    standing: Standing = Standing.IN_LINE  # of this node's own last promotion (N2)
    order: SwitchoverOrder | None = None
    pause_sent: bool = False  # in a write of this holder whose fate is not known yet
    accepted_loss: int = 0  # the epoch that a person gave up, with what may be lost by it
    nofailover: bool = False
    priority: int = 0
    reaches_ec2: bool = False
    health: Health = WELL
    limits: Limits = BALANCED
    sync: SyncProgress = IN_PLACE
    fencing: Fencing = OFF
    fences: Fences = NOTHING_KNOWN
    kept: Kept = NOTHING_TOLD  # what WAL this node keeps, and for whom

    def but(self, **changes: object) -> Snapshot:
        """The same moment, differing only as stated."""
        return replace(self, **changes)  # type: ignore[arg-type]  # names are checked by replace itself

    def fresh(self) -> Iterator[NodeReport]:
        """What other nodes said lately enough to count."""
        return (h.report for h in self.heard if self.now - h.at <= self.timings.suspect_after_s)

    def report_of(self, name: str) -> NodeReport | None:
        return next((r for r in self.fresh() if r.name == name), None)

    def item(self) -> LeaseItem | None:
        """The lease as the store last showed it; None: that is not known, or there is none."""
        return self.lease.item if isinstance(self.lease, LeaseSeen) else None

    def state(self) -> ServerState | None:
        """None: unknown."""
        return self.server.state if isinstance(self.server, Server) else None


@dataclass(frozen=True, slots=True)
class DropBeliefs:
    """Shut the gate, then forget the lease, the peers and every timer (N7)."""


@dataclass(frozen=True, slots=True)
class ShutGate: ...


@dataclass(frozen=True, slots=True)
class UnbindVips: ...


@dataclass(frozen=True, slots=True)
class StopPostgres: ...


@dataclass(frozen=True, slots=True)
class Claim:
    """Take the lease under the condition that it still stands as `seen`; None: that there is no item."""

    seen: LeaseSeen | None


@dataclass(frozen=True, slots=True)
class GatherSeals:
    """Ask members of S, this node included, to seal the version in `seen` (F1, F2)."""

    seen: LeaseSeen
    members: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Release:
    offered_to: str
    data_lost: bool = False  # this node has nothing any more of what it acknowledged


@dataclass(frozen=True, slots=True)
class Init: ...


@dataclass(frozen=True, slots=True)
class RecoverPrimary:
    """The primary's process died: hand over to a node that has everything, else restart in place (N3)."""

    in_place: bool = False  # hand over to nobody


@dataclass(frozen=True, slots=True)
class TakeOver:
    epoch: int


@dataclass(frozen=True, slots=True)
class FenceFirst:
    """Have those fenced who held the lease before and did not give it away."""

    epoch: int


@dataclass(frozen=True, slots=True)
class Serve:
    epoch: int


@dataclass(frozen=True, slots=True)
class AwaitSyncSet:
    """Bring the sync set of `epoch` into place; open as soon as it is."""

    epoch: int


@dataclass(frozen=True, slots=True)
class PublishIdentity:
    """Renew at once, so that the lease item names the system and its timeline before anybody writes."""


@dataclass(frozen=True, slots=True)
class SwitchOver:
    order: SwitchoverOrder


@dataclass(frozen=True, slots=True)
class LeaveHungStorage:
    """Shut, kill what can be killed, and give the lease away without touching the volume."""


@dataclass(frozen=True, slots=True)
class LeaveFullDisk:
    """Hand over as in a switchover to a standby that has room."""


@dataclass(frozen=True, slots=True)
class StartStandby:
    upstream: str


@dataclass(frozen=True, slots=True)
class Follow:
    upstream: str
    slot: str = ""  # by which to stream; empty: without


@dataclass(frozen=True, slots=True)
class Rewind:
    upstream: str


@dataclass(frozen=True, slots=True)
class Clone:
    upstream: str
    over_existing: bool


Action = (
    DropBeliefs
    | ShutGate
    | UnbindVips
    | StopPostgres
    | Claim
    | GatherSeals
    | Release
    | Init
    | RecoverPrimary
    | TakeOver
    | FenceFirst
    | Serve
    | AwaitSyncSet
    | PublishIdentity
    | SwitchOver
    | LeaveHungStorage
    | LeaveFullDisk
    | StartStandby
    | Follow
    | Rewind
    | Clone
)
