"""What a rehearsal does to a cluster, one function per event, and what its clients saw of it."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field, replace

from failover_agent.core.timings import PROFILES
from rehearsal.cluster import Cluster, Say
from rehearsal.errors import RehearsalError
from rehearsal.history import Ack, acked_after, double, longest_gap, lost
from rehearsal.leases import last_write
from rehearsal.phases import first_after_opening, read_phases, since_fault
from rehearsal.recorder import Recorder
from rehearsal.waiting import wait_for

# In async mode a crash may take what had not reached a standby; streaming is never this far behind
# in a rehearsal, so an older loss is a defect.
ASYNC_WINDOW_S = 1.0


@dataclass(frozen=True, slots=True)
class StepResult:
    name: str
    outage_s: float
    phases: dict[str, float] = field(default_factory=dict)
    acked: int = 0
    lost: int = 0
    double: int = 0
    late: int = 0  # acknowledged by a deposed node after its lease had ended
    rejoined_s: float = 0.0
    lost_beyond_mode: int = 0  # of the lost, those the mode does not allow
    began_at: float = 0.0  # seconds since 1970
    healed_at: float = 0.0  # when what was broken was whole again
    victim: str = ""  # the node that was hurt

    @property
    def good(self) -> bool:
        return self.double == 0 and self.late == 0 and self.lost_beyond_mode == 0

    def with_more_lost(self, lost: int, beyond_mode: int) -> StepResult:
        """The same step with what other clients than the recorder's have lost."""
        return replace(self, lost=self.lost + lost, lost_beyond_mode=self.lost_beyond_mode + beyond_mode)

    def as_json(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Stage:
    """One cluster with clients on it."""

    cluster: Cluster
    recorder: Recorder
    nodes: int
    say: Say
    profile: str = "balanced"
    mode: str = "async"
    still_s: float = 60.0  # for how long a stopped agent or a paused host stands still
    judged: set[int] = field(default_factory=set)  # ids whose loss an earlier step has answered for

    @property
    def ttl_s(self) -> float:
        return PROFILES[self.profile].ttl_s


@dataclass(frozen=True, slots=True)
class Reign:
    """A primary as it was right before it is hurt."""

    node: str
    address: str
    timeline: int


def reign(stage: Stage) -> Reign:
    node = stage.cluster.primary()
    timeline = max(ack.timeline for ack in stage.recorder.acks())
    return Reign(node, stage.cluster.nodes()[node], timeline)


def power_loss(stage: Stage) -> StepResult:
    """Cut the power of the primary's host; another node takes over; give the power back."""
    cluster, say = stage.cluster, stage.say
    victim = cluster.primary()
    say(f"cutting the power of {victim}")
    fault_at = time.time()
    cluster.lab.fault("crash", victim)
    first_write = wait_for_another(stage, victim, fault_at)
    say(f"writes go on after {first_write - fault_at:.2f} s; {victim} gets its power back")
    powered_at = time.time()
    cluster.lab.fault("start", victim)
    rejoined_s = cluster.wait_until_streaming(victim, powered_at)
    say(f"{victim} streams again {rejoined_s:.1f} s after its power came back")
    may_lose_since = fault_at - ASYNC_WINDOW_S
    return result("power_loss", stage, fault_at, powered_at, rejoined_s, may_lose_since)


def switchover(stage: Stage, to: str) -> StepResult:
    """Hand the primary over to a named standby, as planned maintenance would."""
    cluster, say = stage.cluster, stage.say
    before = cluster.primary()
    say(f"switching over from {before} to {to}")
    began_at = time.time()
    cluster.switch_over(to)
    wait_for_another(stage, before, began_at)
    rejoined_s = cluster.wait_until_streaming(before, began_at)
    return result("switchover", stage, began_at, began_at, rejoined_s, may_lose_since=None)


def wait_for_another(stage: Stage, not_this: str, since: float) -> float:
    """When the first write through the virtual address was acknowledged by another node."""

    def first() -> float | None:
        answers = (a.received for a in stage.recorder.sent_since(since) if a.node != not_this)
        return min(answers, default=None)

    return wait_for(f"a write that is not {not_this}'s", first, timeout_s=90, every_s=0.05)


def result(
    name: str,
    stage: Stage,
    since: float,
    healed_at: float,
    rejoined_s: float,
    may_lose_since: float | None,
    deposed: Reign | None = None,
) -> StepResult:
    """What clients saw from `since` until now. `deposed`: whose lease was left to end by itself.

    `may_lose_since` is what mode async allows; the other modes never lose anything.
    """
    until = time.time()
    may_lose_since = may_lose_since if stage.mode == "async" else None
    wait_for("a write after the step", lambda: stage.recorder.acked_since(until), timeout_s=60)
    present = stage.recorder.present()
    acks = [ack for ack in stage.recorder.acks() if ack.received <= until]
    gap = longest_gap(acks, "writer", since, until)
    if gap is None:
        raise RehearsalError(f"no writes around the step {name}", hint="Look at the writer's host.")
    gone = [ack for ack in lost(acks, present) if ack.id not in stage.judged]
    stage.judged.update(ack.id for ack in gone)
    phases = read_phases(stage.cluster.lab, stage.cluster.lab.running("db"), since - 0.05)
    first_write = first_after_opening(phases, acks, since) or gap.ended
    return StepResult(
        name=name,
        outage_s=round(gap.seconds, 3),
        phases=since_fault(phases, since, first_write),
        acked=sum(1 for ack in acks if ack.received >= since),
        lost=len(gone),
        double=len(double(acks, since)),
        late=len(late_acks(stage, deposed, since, healed_at)) if deposed else 0,
        rejoined_s=round(rejoined_s, 2),
        lost_beyond_mode=len([ack for ack in gone if not excused(ack, may_lose_since)]),
        began_at=since,
        healed_at=healed_at,
        victim=deposed.node if deposed else "",
    )


def late_acks(stage: Stage, deposed: Reign, since: float, healed_at: float) -> list[Ack]:
    """What a deposed primary confirmed after the lease that it last renewed had ended."""
    renewed_at = last_write(stage.cluster.lab, deposed.address, since - stage.ttl_s, healed_at)
    if renewed_at is None:
        raise RehearsalError(
            f"the API's history shows no renewal by {deposed.node} before it was hurt",
            hint="Without it nobody can tell when its lease ended: look at api-history.jsonl.",
        )
    return acked_after(stage.recorder.acks(), deposed.node, deposed.timeline, renewed_at + stage.ttl_s)


def excused(ack: Ack, may_lose_since: float | None) -> bool:
    """Whether the mode allows this loss; `may_lose_since` None: the step may lose nothing."""
    return may_lose_since is not None and ack.received >= may_lose_since
