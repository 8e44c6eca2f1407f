"""What the agents talk about. Values only; `rules` decides over them.

Times are seconds on CLOCK_BOOTTIME of the node that holds the value (it goes on through
suspend, and never steps); they mean nothing on another node. LSNs are byte positions in
the WAL as integers.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Literal

from failover_agent.core.health import WELL, Health
from failover_agent.errors import AgentError

Mode = Literal["async", "quorum", "strict"]

LEASE_SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class Unknown:
    """We asked and got no answer we trust. Never the same as a no."""

    why: str
    cause: AgentError | None = field(default=None, compare=False)  # where we know it by class


@dataclass(frozen=True, slots=True)
class TooNew(Unknown):
    """The lease item is of a form that only a newer agent may judge, or write."""


@dataclass(frozen=True, slots=True)
class Fork:
    """One line of a timeline history: `timeline` ended at `lsn` (PostgreSQL's .history files)."""

    timeline: int
    lsn: int


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds the lease: a name is not enough, two hosts may come from one snapshot (L2)."""

    name: str
    instance_id: str
    nonce: str  # fresh at every start of an agent


@dataclass(frozen=True, slots=True)
class SyncSet:
    """Any |members| - k + 1 of the members together hold every acknowledged commit (S1)."""

    members: tuple[str, ...] = ()
    k: int = 0
    version: int = 0
    incarnations: tuple[str, ...] = ()  # of the members' data directories, in their order (S5)


@dataclass(frozen=True, slots=True)
class LeaseItem:
    """The lease as it stands in the store (L1). Every write replaces it whole, under condition."""

    cluster: str
    system_identifier: str  # empty until initdb has run
    holder: Holder | None  # None: released
    epoch: int  # grows by one with every claim, never shrinks
    token: str  # fresh at every write
    ttl_s: float
    timeline: int
    lsn: int  # the holder's WAL position when it wrote this
    sync: SyncSet = SyncSet()
    may_claim: tuple[str, ...] = ()
    claim_needs: Literal["any", "majority"] = "any"
    offered_to: str = ""  # with no holder: only this node may claim within one ttl; empty: anybody
    schema_version: int = LEASE_SCHEMA_VERSION
    history: tuple[Fork, ...] = ()  # of `timeline`, its last lines; empty: not known (an older agent's item)
    agent: str = ""  # version of the agent that wrote it, for people

    def but(self, **changes: object) -> LeaseItem:
        return replace(self, **changes)  # type: ignore[arg-type]  # names are checked by replace itself


@dataclass(frozen=True, slots=True)
class Absent:
    """Condition of a first write: there is no item."""


@dataclass(frozen=True, slots=True)
class Version:
    """Condition of every other write: the item still shows this epoch and token (L2, F5)."""

    epoch: int
    token: str


@dataclass(frozen=True, slots=True)
class Landed:
    """The store took the write."""


@dataclass(frozen=True, slots=True)
class Refused:
    """The condition did not hold; `current` is what stood there instead."""

    current: LeaseItem | None


WriteOutcome = Landed | Refused | Unknown


@dataclass(frozen=True, slots=True)
class LeaseSeen:
    """The lease as a node that does not hold it knows it (L4)."""

    item: LeaseItem
    token_seen_at: float  # when the answer that first showed this token was received
    read_at: float  # when the last successful read was received


class ServerState(Enum):
    ABSENT = "absent"  # no data directory
    STOPPED = "stopped"
    STARTING = "starting"  # runs and does not take connections yet
    STANDBY = "standby"  # in recovery
    PRIMARY = "primary"


@dataclass(frozen=True, slots=True)
class Server:
    """PostgreSQL on this node, as the last look found it."""

    state: ServerState
    system_identifier: str = ""
    timeline: int = 0
    received_lsn: int = 0  # standby: on disk; primary: flushed; stopped: end of local WAL, 0 if unread
    replayed_lsn: int = 0
    streaming: bool = False  # a WAL receiver is connected and streaming
    upstream: str = ""  # the node it is told to follow
    clean: bool = False  # stopped: the control file says so
    history: tuple[Fork, ...] = ()  # of its own timeline, oldest first
    replicas: tuple[str, ...] = ()  # primary: application names of streaming standbys
    standby_signal: bool = False  # not running or starting: standby.signal stands, so a start is a standby's


@dataclass(frozen=True, slots=True)
class NodeReport:
    """What a node tells the others about itself."""

    name: str
    az: str
    instance_id: str
    server: Server | Unknown
    epoch: int  # the highest it has seen
    holds_lease: bool
    doing: str = ""  # empty, or clone, rewind, …, with progress: "clone 42 %"
    reaches_ec2: bool = False
    reads_store: bool = True  # it read the lease lately; an older agent does not say
    nofailover: bool = False
    priority: int = 0
    version: str = ""
    serving: bool = False  # primary, and its gate is open to clients
    interface_id: str = ""  # where a route must point to reach it
    incarnation: str = ""  # of its data directory; another one after every replacement (S5)
    sealed: tuple[int, int] = (0, 0)  # epoch and version it is sealed for; zeros: not
    reads_open: bool = False  # a standby whose gate is open to readers (G6)
    rejoins: bool = False  # it does what cannot be undone, under a holder's grant (N5)
    health: Health = WELL


@dataclass(frozen=True, slots=True)
class Heard:
    """A report and when its answer was received."""

    report: NodeReport
    at: float


@dataclass(frozen=True, slots=True)
class Timings:
    """All seconds. `core.timings` holds the relations between them (L5)."""

    ttl_s: float
    beat_s: float
    suspect_after_s: float
    poll_s: float
    request_timeout_s: float
    margin_s: float


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A name, a virtual address and a port that clients use (DESIGN 4)."""

    name: str
    vip: str
    port: int


@dataclass(frozen=True, slots=True)
class Member:
    """A node of the cluster as the configuration names it."""

    name: str
    address: str
    az: str
    instance_id: str


@dataclass(frozen=True, slots=True)
class EndpointStatus:
    endpoint: Endpoint
    bound: bool
    targets: tuple[tuple[str, str], ...] | Unknown  # (route table, interface id or "")
