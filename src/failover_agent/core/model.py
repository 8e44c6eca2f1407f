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
from failover_agent.core.slots import NOTHING_TOLD, Kept
from failover_agent.errors import AgentError

Mode = Literal["async", "quorum", "strict"]

# Version 2 knows modes in which not everybody may claim, version 3 a pause in which hardly anybody may. An
# item is of the lowest version that says all it says, so that agents older than this one go on with it while
# a cluster is upgraded.
LEASE_SCHEMA_VERSION = 3


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
    schema_version: int = 1
    history: tuple[Fork, ...] = ()  # of `timeline`, its last lines; empty: not known (an older agent's item)
    agent: str = ""  # version of the agent that wrote it, for people
    mode: Mode = "async"  # what commits are promised; switched at run time, by the holder
    released_by: str = ""  # with no holder: the last one, whom seals are against
    unfenced: tuple[Holder, ...] = ()  # held it, did not give it away, not known to be fenced (`fencing`)
    paused: str = ""  # since when (UTC) a person has failover paused (`pausing`); empty: it is not
    suspect_after_s: float = 0.0  # by which its holder keeps the gate open (F6); 0: an older agent's item

    @property
    def last_holder(self) -> str:
        """Name of the holder, or of the node that released; empty: nobody known."""
        return self.holder.name if self.holder else self.released_by

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
    upstream: str = ""  # standby, or starting as one: the node it is told to follow
    clean: bool = False  # stopped: the control file says so
    history: tuple[Fork, ...] = ()  # of its own timeline, oldest first
    replicas: tuple[str, ...] = ()  # primary: application names of streaming standbys
    standby_signal: bool = False  # not running or starting: standby.signal stands, so a start is a standby's
    slot: str = ""  # standby: the slot at its upstream by which it streams, or tries to
    held: str = ""  # standby: by which settings, lower than the primary's, its replay is held
    replay_waits: bool = False  # standby: paused, or told to stay behind; a promotion ends both
    whole_from: int = 0  # stopped or starting: not consistent before it has replayed up to here


@dataclass(frozen=True, slots=True)
class SyncProgress:
    """How far the sync set of this primary has come, as the last round found it (S2)."""

    in_place: bool = True  # the item and PostgreSQL say what the mode wants, and that lets clients in
    waiting_for: str = ""  # the operator's words; empty when nothing is waited for
    away: tuple[str, ...] = ()  # commits hang until enough of these stream again
    waiting: int = 0  # sessions whose commit waited at that look
    longest_wait_s: float = 0.0  # since the statement of one of them began


IN_PLACE = SyncProgress()


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
    sync: SyncProgress | None = None  # of who holds the lease in a mode in which commits wait
    health: Health = WELL
    noted: int = 0  # the epoch in which who asked says to hold the lease, noted before this was made (F6)
    kept: Kept = NOTHING_TOLD  # what WAL it keeps, and for whom; an older agent does not say
    promised: int = 0  # the epoch whose holder it promised not to claim (P1); 0: none
    paused: bool = False  # the lease, as it last knew it, says so; an older agent does not say
    suspects_after_s: float = 0.0  # of silence of who holds the lease, and no sooner (F6); 0: it does not say


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

    @property
    def ask_s(self) -> float:
        """Between two questions to a member; one may be lost before the gate of a primary misses it (F6).

        Not every poll: what was heard last is what suspect_after counts from (F1), so each further question a
        second makes a dead primary's absence known later.
        """
        return self.beat_s / 2


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A name, a virtual address and a port that clients use."""

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
