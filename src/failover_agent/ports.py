"""What the shell asks of the world. Implementations live in `adapters`, one suite of
contract tests per port runs over all of them.

Every call is bounded in time by its implementation. A call that may change something is
"look, change what differs, look again" and safe to repeat. Silence becomes `Unknown`,
a foreseen refusal an `AgentError`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from failover_agent.core.liveness import Readings
from failover_agent.core.model import (
    Absent,
    Heard,
    LeaseItem,
    Mode,
    NodeReport,
    Server,
    SyncSet,
    Unknown,
    Version,
    WriteOutcome,
)
from failover_agent.core.promises import Promise
from failover_agent.core.promotion import Beginning
from failover_agent.core.quorum import SyncSeen, Waits
from failover_agent.core.relay import RouteChange
from failover_agent.core.seals import Position, Seal, Sealed
from failover_agent.core.slots import Change, SlotsSeen

Progress = Callable[[str], None]


class Clock(Protocol):
    def now(self) -> float:
        """Seconds on CLOCK_BOOTTIME."""

    def wall(self) -> float:
        """Seconds since 1970; for people and for the gate's absolute bound, never compared between nodes."""

    def wait(self, wake: object, timeout_s: float) -> bool:
        """Wait until the threading.Event `wake` is set or the time is over; True when it was set."""


class LeaseStore(Protocol):
    """One item per cluster that changes only under condition, and small notes beside it."""

    def read(self) -> LeaseItem | Unknown | None:
        """A consistent read. None: the store says that there is no item (an alarm, L6)."""

    def write(self, item: LeaseItem, *, only_if: Absent | Version) -> WriteOutcome:
        """Replace the item if the condition holds, atomically. One attempt, no retry (L3, R1).

        `Unknown` means that it may have landed, now or later.
        """

    def note(self, key: str, value: Mapping[str, str]) -> Unknown | None:
        """Unconditional side note, e.g. `member#db1`, `history#7`. Last writer wins."""

    def notes(self, prefix: str) -> Mapping[str, Mapping[str, str]] | Unknown: ...


class Gate(Protocol):
    """The kernel's say over who may talk to PostgreSQL (G1 to G7)."""

    def open_until(self, deadline: float) -> None:
        """Let traffic pass until `deadline` (CLOCK_BOOTTIME), then never again by itself.

        Raises GateFailed when the kernel did not take it; the gate is then shut or as before,
        never open longer.
        """

    def shut(self) -> None:
        """Shut at once. Raises GateFailed."""

    def end_sessions(self) -> int:
        """Destroy every TCP socket of PostgreSQL's port, orphans too (G7); how many there were.

        To be called while shut. Raises GateFailed when one could not be ended.
        """

    def dismiss(self) -> int:
        """Destroy the sockets of PostgreSQL's clients, so that they hear at once; how many there were.

        Members' are spared: they still replicate. To be called while shut. Raises GateFailed.
        """

    def can_end_sessions(self) -> bool:
        """Whether this kernel can; where it cannot, nobody may come in who would have to go again."""

    def intact(self) -> bool:
        """Whether our table stands in the kernel as we wrote it."""

    def restore(self) -> None:
        """Put the table back, shut (G5)."""

    def watch(self, disturbed: Callable[[], None]) -> None:
        """Call `disturbed` from a thread of the adapter whenever somebody else changes our table."""


class Addresses(Protocol):
    """Virtual addresses on this node (R1: bound before routed)."""

    def bind(self, vip: str) -> None: ...

    def unbind(self, vip: str) -> None: ...

    def bound(self) -> frozenset[str]: ...


class RouteTables(Protocol):
    """The VPC's route tables. One attempt per call, no SDK retry (R1)."""

    def targets(self, vip: str) -> Mapping[str, str] | Unknown:
        """Route table id → interface id of the VIP's /32, "" where there is no route or a blackhole."""

    def point(self, table_id: str, vip: str, interface_id: str) -> Unknown | None:
        """Replace the route, or create a missing one. Raises RouteDidNotMove when the API says no."""

    def drops_strangers(self, interface_id: str) -> bool | Unknown:
        """Whether the source/destination check of an interface is on: the VIP's packets are dropped then."""


class Fence(Protocol):
    """The cloud's hand on another node's machine, by one method. One attempt per call, no SDK retry.

    Only the holder of the lease fences, and a person's order undoes it. Silence is never a fence.
    """

    def is_fenced(self, instance_id: str) -> bool | Unknown:
        """Whether the cloud shows that the machine does not run, or that nothing reaches or leaves it."""

    def before(self, instance_id: str) -> Mapping[str, str] | Unknown:
        """What `undo` has to put back, to be kept before `fence`; empty: nothing."""

    def fence(self, instance_id: str) -> Unknown | None:
        """Ask for it; that it was taken is no proof yet. Raises FenceRefused: it never will be."""

    def undo(self, instance_id: str, before: Mapping[str, str]) -> Unknown | None:
        """Let the machine run, or reach others, again. Raises FenceRefused."""


class Postgres(Protocol):
    """The PostgreSQL of this node. It runs under its own systemd unit; only these calls start it (N1)."""

    def settle(self) -> None:
        """Take back what an earlier life of the agent left in the middle of a start: the leave to start,
        and a missing standby.signal (N1). Raises AgentError.
        """

    def observe(self, *, fresh: bool = False) -> Server | Unknown:
        """One look, bounded by a second. A server that runs and does not answer is Unknown, not stopped."""

    def start_standby(self, upstream: str) -> None:
        """Start in recovery, following `upstream` (empty: nobody). Returns when it takes connections.

        Settings that recovery needs as high as the primary's are raised to that for this start.
        """

    def start_primary(self, counts_on: Iterable[SyncSet] = ()) -> None:
        """Start read-write in place (crash recovery included), then put standby.signal back (N1).

        From the first commit on it waits for whom it was told to wait, never for less than all of
        `counts_on` permits (S1, S7). Raises PostgresFailed where these contradict each other.
        """

    def follow(self, upstream: str, slot: str = "") -> None:
        """Point a running standby at another node, or at its slot there, without a restart.

        Without a slot (and after every `start_standby`) it streams by none: one that is missing at the
        upstream would stop it.
        """

    def promote(self, timeout_s: float, deadline: float, *, above: int) -> int:
        """Promote the running standby, put standby.signal back; returns the new timeline.

        Before it is told, its own file names nobody to wait for and a fresh connection shows it (S7).

        It gets a number greater than `above`, so that none of a timeline that a lease named is used twice.
        Raises LeaseMovedOn when it could not be told before `deadline` (CLOCK_BOOTTIME, N2).
        """

    def beginning(self) -> Beginning | Unknown:
        """How the timeline that this primary is on began (N2)."""

    def stop(self, timeout_s: float) -> None:
        """Fast shutdown; when that takes longer than `timeout_s`, immediate, then `kill`.

        Standbys that listen get everything up to the shutdown checkpoint. Once that is written, who keeps
        the server from ending is waited for only briefly. Nothing of PostgreSQL is left when it returns.
        """

    def kill(self, timeout_s: float = 10.0) -> None:
        """Kill every process of the unit's cgroup (backends outlive a postmaster, N3) and see them gone.

        Raises PostgresFailed when some are still there after `timeout_s`: they hang in the kernel, and end
        there before they run another instruction of their own.
        """

    def checkpoint(self) -> None: ...

    def wal_end(self) -> int | Unknown:
        """End of the WAL on the disk of a stopped server, read from the segments themselves."""

    def init(self, progress: Progress) -> None:
        """initdb with checksums and the cluster's own roles; left stopped. Never over existing data."""

    def clone(self, upstream: str, progress: Progress) -> None:
        """pg_basebackup into a new directory that takes the data directory's place only when whole (N5)."""

    def rewind(self, upstream: str, progress: Progress) -> Mapping[str, object]:
        """pg_rewind against the running primary `upstream`; keeps a copy of the diverged WAL first (N5).

        Returns what is told about the copy: where it is kept, and under `lost` transactions, bytes, tables.

        Raises PostgresFailed when it cannot be done (then `clone` is the way).
        """

    def sync(self) -> SyncSeen | Unknown:
        """Whom the primary waits for, by a connection made for this look, and what standbys have flushed."""

    def set_sync(self, wait: Waits) -> int:
        """Make the running primary wait for `wait` at every commit (S3, S7).

        When it returns, no commit is acknowledged any more by an earlier list; what it returns is an LSN
        from after that moment, the barrier. Raises PostgresFailed, and then either list may hold.
        """

    def cut_from(self, name: str) -> Position:
        """Take nothing more from `name`, for good, and say what this standby has (F2). May be repeated.

        Raises PostgresFailed, and then the position is not final: it must not be answered.
        """

    def keep_cut(self, name: str) -> None:
        """The kernel's part of `cut_from`: before a start, after a restart, while sealed (F3).

        From here on `start_standby` and `follow` refuse `name`. Raises PostgresFailed.
        """

    def end_cut(self) -> None:
        """Let packets pass again; follows nobody by itself. Raises PostgresFailed."""

    def slots(self) -> SlotsSeen | Unknown:
        """What a running server shows of its slots and of the WAL it keeps."""

    def change_slots(self, changes: Sequence[Change]) -> None:
        """Carry out what `core.slots.plan` asks for, in order.

        Raises PostgresFailed at the first that fails; those before it are done.
        """

    def on_death(self, died: Callable[[], None]) -> None:
        """Call `died` from a thread of the adapter as soon as a running postmaster is gone."""


class Probes(Protocol):
    """Whoever keeps trying whether PostgreSQL here and its volumes make progress (N4). Never blocks."""

    def start(self) -> None: ...

    def watch_primary(self, primary: bool) -> None:
        """Whether PostgreSQL here is a primary whose sessions and commits are to be watched."""

    def readings(self) -> Readings:
        """What the probes have shown up to now."""


class Peers(Protocol):
    """The other nodes' agents."""

    def reports(self) -> Mapping[str, Heard | Unknown]:
        """What each other member said last; a silent one is Unknown."""

    def ask(self, name: str) -> Heard | Unknown:
        """Ask one node now; the answer is newer than this call."""

    def carry(self, epoch: Callable[[], int], heard_by: Callable[[NodeReport, float], None]) -> None:
        """Say in every question that we hold the lease in `epoch()` (0: we do not), from now on.

        Calls `heard_by`, from any thread, with the report of each member that noted it and is not sealed, and
        with the time right before the question was sent (F6).
        """

    def ask_rejoin(self, name: str) -> bool | Unknown:
        """Ask the lease holder `name` for the one slot for destructive steps, or to keep it (N5)."""

    def ask_vote(self, name: str, seal: Seal) -> str | Unknown:
        """Ask a member why it would not seal; empty: it would. Without effect (F1)."""

    def ask_seal(self, name: str, seal: Seal) -> Sealed | Unknown:
        """Have a member seal. Unknown: refused or no answer; it may be sealed all the same."""

    def ask_promise(self, name: str, promise: Promise) -> str | Unknown:
        """Ask a member to promise not to claim; why it does not, empty: it has promised (P1)."""

    def relay_write(self, name: str, item: LeaseItem, only_if: Version) -> WriteOutcome:
        """Have a member carry our own write of the lease, once, unchanged (P4)."""

    def relay_targets(self, name: str, vip: str) -> Mapping[str, str] | Unknown:
        """Have a member look at the route tables, see `RouteTables.targets`."""

    def relay_point(self, name: str, change: RouteChange) -> Unknown | None:
        """Have a member change a route for us while our lease lasts (R1). Unknown: refused, or no answer."""

    def order_switchover(self, name: str, to: str) -> Mapping[str, object] | Unknown:
        """Pass a person's order on to the lease holder `name`; its answer, see `Agent.request_switchover`."""

    def order_failover(self, name: str, accept_loss: bool) -> Mapping[str, object] | Unknown:
        """Pass a person's order on to the node `name` that shall take over, see `Agent.request_failover`."""

    def order_mode(self, name: str, mode: Mode) -> Mapping[str, object] | Unknown:
        """Pass a person's order on to the lease holder `name`; its answer, see `Agent.request_mode`."""

    def order_pause(self, name: str, pause: bool) -> Mapping[str, object] | Unknown:
        """Pass a person's order on to the lease holder `name`; its answer, see `Agent.request_pause`."""

    def wake(self, name: str) -> None:
        """Tell a node that the lease changed. A courtesy without authority; errors are swallowed."""

    def publish(self, report: NodeReport) -> None:
        """What we answer when asked."""


class Notebook(Protocol):
    """Small notes on this node. One in run_dir (gone after a reboot), one in state_dir (survives it)."""

    def load(self, key: str) -> Mapping[str, object] | None:
        """What `save` was last given (JSON values); None when there is none or it cannot be read whole."""

    def save(self, key: str, value: Mapping[str, object]) -> None:
        """Replace the note atomically and durably before returning. Raises AgentError."""

    def forget(self, key: str) -> None:
        """Remove the note if it is there, durably."""


class BootstrapToken(Protocol):
    """The playbook's one-time leave to begin a cluster (L6): by initdb, or with data that exists."""

    def present(self) -> bool:
        """Leave to run initdb."""

    def adopts(self) -> str:
        """The system identifier of the data to begin with; empty: none."""

    def spend(self) -> None:
        """Remove it; nothing happens when it is gone already."""


class Supervisor(Protocol):
    """systemd, which restarts us when we stop telling it that we live."""

    def ready(self, status: str) -> None: ...

    def alive(self, status: str) -> None: ...

    def ends_for_good(self) -> bool:
        """Whether no next life was ordered: a stop, or the host going down. False where that is not known."""
        ...
