"""What must not move a primary: load, blips, an API that is away, slow or stingy, a dead NAT instance.

Each disturbance lasts its time; then clients must be served by the same node in the same epoch, and no
gap between writes may be the agent's doing for longer than GAP_ALLOWED_S.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

from rehearsal.aws import nat_of
from rehearsal.cluster import Cluster
from rehearsal.controls import Controls, judge
from rehearsal.history import double, lost
from rehearsal.hurts import api_fault
from rehearsal.lab import Lab
from rehearsal.load import load, prepare
from rehearsal.phases import read_phases
from rehearsal.steps import Stage
from rehearsal.waiting import wait_for, wait_until

GAP_ALLOWED_S = 1.0
SETTLE_S = 5.0  # a takeover that the disturbance caused may come after it
BLIP_S = 1.0
BETWEEN_BLIPS_S = 4.0
BETWEEN_RESTARTS_S = 10.0
# What only a node writes that takes over, or that had shut its gate.
INTERVENTIONS = ("claimed", "promoted", "opened")


@dataclass(frozen=True, slots=True)
class Scene:
    """What a disturbance may touch, and for how long it lasts."""

    stage: Stage
    primary: str
    seconds: float


Disturb = Callable[[Scene], AbstractContextManager[None]]


@dataclass(frozen=True, slots=True)
class Disturbance:
    about: str
    seconds: float
    disturb: Disturb  # the block it yields to lasts `seconds`
    prepare: Callable[[Cluster], None] | None = None


@dataclass(frozen=True, slots=True)
class CalmResult:
    name: str
    seconds: float
    failovers: int
    interventions: int  # takeovers begun, gates opened anew
    longest_gap_s: float
    agents_gap_s: float
    controls_gap_s: float
    acked: int
    lost: int
    double: int

    @property
    def good(self) -> bool:
        return self.failovers == self.lost == self.double == 0 and self.agents_gap_s <= GAP_ALLOWED_S


def disturb(stage: Stage, name: str, seconds: float | None = None) -> CalmResult:
    """Disturb the whole cluster in the way called `name`, for its own time or `seconds`."""
    what, cluster = CALM[name], stage.cluster
    lasts = what.seconds if seconds is None else seconds
    before = cluster.wait_until_whole(stage.nodes)
    primary = str(before["holder"])
    if what.prepare:
        what.prepare(cluster)
    stage.say(f"{name.replace('_', ' ')} for {lasts:.0f} s: {what.about}; {primary} is primary")
    with Controls(cluster, primary) as controls:
        began = time.time()
        with what.disturb(Scene(stage, primary, lasts)):
            wait_until(began + lasts)
        wait_until(time.time() + SETTLE_S)
        ended = time.time()
        wait_for("a write after it", lambda: stage.recorder.acked_since(ended), timeout_s=120)
        done = _result(name, stage, controls, before, began, ended)
    cluster.wait_until_whole(stage.nodes)
    return done


def _result(
    name: str, stage: Stage, controls: Controls, before: Mapping[str, Any], began: float, ended: float
) -> CalmResult:
    after = wait_for("a node's status", stage.cluster.status, timeout_s=60)
    present = stage.recorder.present()
    acks = [ack for ack in stage.recorder.acks() if ack.received <= ended]
    phases = read_phases(stage.cluster.lab, stage.cluster.lab.running("db"), began)
    interventions = len([p for p in phases if p.name in INTERVENTIONS])
    verdict = judge(stage.recorder.acks(), controls.acks(), began, ended, interventions == 0)
    gone = [ack for ack in lost(acks, present) if ack.id not in stage.judged]
    stage.judged.update(ack.id for ack in gone)
    return CalmResult(
        name=name,
        seconds=round(ended - began, 1),
        failovers=int(after["epoch"]) - int(before["epoch"]),
        interventions=interventions,
        longest_gap_s=round(verdict.longest_s, 3),
        agents_gap_s=round(verdict.agents_s, 3),
        controls_gap_s=round(verdict.controls_s, 3),
        acked=len([ack for ack in acks if ack.received >= began]),
        lost=len(gone),
        double=len(double(acks, began)),
    )


@contextmanager
def _blips(scene: Scene) -> Iterator[None]:
    """The primary's host is cut off for a second, again and again."""
    lab = scene.stage.cluster.lab
    for _ in range(max(1, round(scene.seconds / (BLIP_S + BETWEEN_BLIPS_S)))):
        began = time.time()
        lab.fault("cut", scene.primary)
        try:
            wait_until(began + BLIP_S, every_s=0.01)
        finally:
            lab.fault("heal", scene.primary)
        wait_until(began + BLIP_S + BETWEEN_BLIPS_S)
    yield


@contextmanager
def _nat_dead(scene: Scene) -> Iterator[None]:
    """The primary's zone has no way to the EC2 API; the store is reached by a gateway endpoint."""
    lab = scene.stage.cluster.lab
    nat = nat_of(lab, scene.primary)
    scene.stage.say(f"{nat} loses its power")
    lab.fault("crash", nat)
    try:
        yield
    finally:
        lab.fault("start", nat)
        wait_for(f"{nat} to be up", lambda: _is_up(lab, nat), timeout_s=120)


@contextmanager
def _agent_restarted(scene: Scene) -> Iterator[None]:
    """As an upgrade does it, again and again; each life is left the time to take up the lease."""
    lab = scene.stage.cluster.lab
    for _ in range(max(1, round(scene.seconds / BETWEEN_RESTARTS_S))):
        began = time.time()
        lab.execute(scene.primary, "systemctl", "restart", "failover-agent", timeout_s=60)
        wait_until(began + BETWEEN_RESTARTS_S)
    yield


def _is_up(lab: Lab, host: str) -> bool:
    said = lab.execute(host, "systemctl", "is-system-running", check=False)
    return said.strip() in ("running", "degraded")


def _api(*words: str, undo: str) -> Disturb:
    @contextmanager
    def broken(scene: Scene) -> Iterator[None]:
        with api_fault(scene.stage.cluster.lab, *words, undo=undo):
            yield

    return broken


@contextmanager
def _busy(scene: Scene) -> Iterator[None]:
    with load(scene.stage.cluster, scene.primary, scene.seconds):
        yield


CALM: dict[str, Disturbance] = {
    "busy": Disturbance("200 clients of pgbench, CPU hogs and a lock storm", 60, _busy, prepare),
    "blips": Disturbance("the primary's network is gone for a second, ten times", 50, _blips),
    "api_away": Disturbance("nobody in the VPC reaches the API", 120, _api("down", undo="up")),
    "api_slow": Disturbance("every answer of the API takes 2 s", 60, _api("slow", "2", undo="slow 0")),
    "api_throttled": Disturbance(
        "the API takes 1 call a second", 60, _api("throttle", "1", undo="throttle 0")
    ),
    "agent_restarted": Disturbance(
        "the primary's agent is restarted, as by an upgrade, six times", 60, _agent_restarted
    ),
    "nat_dead": Disturbance("the NAT instance of the primary's zone is dead", 60, _nat_dead),
}
