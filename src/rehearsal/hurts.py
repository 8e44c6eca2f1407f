"""Ways to hurt a primary without taking its host away for good, and what its clients saw of each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager

from rehearsal.cluster import Cluster
from rehearsal.lab import Lab
from rehearsal.phases import read_phases
from rehearsal.steps import ASYNC_WINDOW_S, Stage, StepResult, reign, result, wait_for_another
from rehearsal.waiting import wait_for, wait_until

DISK_FULL = "disk-full"
POSTGRES_UNIT = "primacy-postgresql.service"
AGENT_CGROUP = "/sys/fs/cgroup$(systemctl show -P ControlGroup failover-agent.service)/cgroup.freeze"

Hurt = Callable[[str], AbstractContextManager[None]]


def postmaster_killed(stage: Stage) -> StepResult:
    """SIGKILL for the postmaster: handed over to a standby that has everything, or restarted in place."""
    cluster, say = stage.cluster, stage.say
    victim = cluster.primary()
    say(f"killing the postmaster of {victim}")
    kill = f"pid=$(systemctl show -P MainPID {POSTGRES_UNIT}); date +%s.%N; kill -KILL $pid"
    fault_at = float(cluster.lab.execute(victim, "sh", "-c", kill))
    opened_at = wait_for(
        "a primary that opens its gate", lambda: _opened(stage, fault_at), timeout_s=90, every_s=1
    )
    wait_for("a write after that", lambda: stage.recorder.acked_since(opened_at), timeout_s=60)
    cluster.wait_until_whole(stage.nodes)
    return result("postmaster_killed", stage, fault_at, fault_at, time.time() - fault_at, may_lose_since=None)


def cut_off(stage: Stage) -> StepResult:
    """No packet of the primary's host arrives anywhere, nor any at it; mended once another node serves."""
    hurt = _fault(stage.cluster.lab, "cut", "heal")
    return _deposed("cut_off", stage, hurt, seconds=0)


def agent_stopped(stage: Stage) -> StepResult:
    """Freeze the primary's agent with PostgreSQL running on beside it, then thaw it."""
    return _deposed("agent_stopped", stage, lambda node: frozen_agent(stage.cluster, node), stage.still_s)


def agent_ended(stage: Stage) -> StepResult:
    """The primary's agent is ended by a person who says nothing to the cluster, and started again later."""
    return _deposed("agent_ended", stage, lambda node: _ended_agent(stage.cluster.lab, node), stage.still_s)


def host_paused(stage: Stage) -> StepResult:
    """The primary's whole host stands still, as a stunned virtual machine does, and wakes up."""
    return _deposed("host_paused", stage, _fault(stage.cluster.lab, "pause", "resume"), stage.still_s)


def storage_hung(stage: Stage) -> StepResult:
    """The primary's data volume does not answer; it does again once another node serves."""
    lab = stage.cluster.lab
    return _deposed("storage_hung", stage, _fault(lab, "disk-hang", "disk-free"), seconds=0, may_lose=False)


def disk_full(stage: Stage) -> StepResult:
    """The primary's data volume is full until another node serves and the state is seen; then it is not."""
    cluster = stage.cluster

    @contextmanager
    def full(node: str) -> Iterator[None]:
        with _fault(cluster.lab, "disk-fill", "disk-empty")(node):
            yield
            wait_for("the alarm", lambda: DISK_FULL in (cluster.alarms(node) or ()), timeout_s=60)

    done = _deposed("disk_full", stage, full, seconds=0, may_lose=False)
    wait_for("the alarm's end", lambda: _calm(cluster.alarms(done.victim)), timeout_s=120)
    return done


def _calm(alarms: list[str] | None) -> bool:
    return alarms is not None and DISK_FULL not in alarms


def _fault(lab: Lab, verb: str, undo: str) -> Hurt:
    @contextmanager
    def hurt(node: str) -> Iterator[None]:
        lab.fault(verb, node)
        try:
            yield
        finally:
            lab.fault(undo, node)

    return hurt


def _deposed(name: str, stage: Stage, hurt: Hurt, seconds: float, may_lose: bool = True) -> StepResult:
    """Hurt the primary until another node serves, at least for `seconds`; it comes back as a standby.

    `may_lose`: whether mode async allows a loss.
    """
    cluster, say, before = stage.cluster, stage.say, reign(stage)
    say(f"{name.replace('_', ' ')}: {before.node}" + (f", for {seconds:.0f} s" if seconds else ""))
    fault_at = time.time()
    with hurt(before.node):
        first_write = wait_for_another(stage, before.node, fault_at)
        say(f"writes go on after {first_write - fault_at:.2f} s")
        wait_until(fault_at + seconds)
    healed_at = time.time()
    rejoined_s = cluster.wait_until_streaming(before.node, healed_at)
    say(f"{before.node} streams again {rejoined_s:.1f} s after it was mended")
    # Until its lease ends the old primary rightly goes on, and async may lose what it took meanwhile.
    may_lose_since = fault_at - ASYNC_WINDOW_S if may_lose else None
    return result(name, stage, fault_at, healed_at, rejoined_s, may_lose_since, deposed=before)


@contextmanager
def _ended_agent(lab: Lab, node: str) -> Iterator[None]:
    lab.execute(node, "systemctl", "stop", "failover-agent", timeout_s=120)
    try:
        yield
    finally:
        lab.execute(node, "systemctl", "start", "failover-agent", timeout_s=120)


@contextmanager
def frozen_agent(cluster: Cluster, node: str) -> Iterator[None]:
    """The agent's cgroup frozen: unlike SIGSTOP, systemd's watchdog cannot wake it."""
    cluster.lab.execute(node, "sh", "-c", f"echo 1 > {AGENT_CGROUP}")
    try:
        yield
    finally:
        cluster.lab.execute(node, "sh", "-c", f"echo 0 > {AGENT_CGROUP}")


@contextmanager
def api_fault(lab: Lab, *words: str, undo: str) -> Iterator[None]:
    """A fault of the API while the block runs, e.g. `api_fault(lab, "slow", "2", undo="slow 0")`."""
    lab.fault("api", *words)
    try:
        yield
    finally:
        lab.fault("api", *undo.split())


def _opened(stage: Stage, since: float) -> float | None:
    """When a gate opened for a primary after `since`."""
    lab = stage.cluster.lab
    phases = read_phases(lab, lab.running("db"), since)
    return next((phase.at for phase in phases if phase.name == "opened"), None)
