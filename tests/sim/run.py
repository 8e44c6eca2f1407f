"""One seed: a world, faults over it, then none, then blips; and the judgement of what happened."""

from __future__ import annotations

import gc
import pkgutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType

import failover_agent.shell
from failover_agent.core.model import LeaseItem, ServerState
from failover_agent.core.quorum import of_item
from failover_agent.core.sync_choice import Standby, choose
from failover_agent.core.timings import BLIP_S
from tests.sim.checkers import Anomaly, judge
from tests.sim.faults import Faults
from tests.sim.history import AtEnd, NodeAtEnd, Phase
from tests.sim.host import Host
from tests.sim.network import Way
from tests.sim.people import People
from tests.sim.sched import threading_of
from tests.sim.world import World

SETTLED_S = 2.0  # whole for this long is whole
UPGRADES = 0.35  # of all seeds that get that far


@dataclass(frozen=True, slots=True)
class Result:
    seed: int
    anomalies: tuple[Anomaly, ...]
    fingerprint: str
    simulated_s: float
    events: tuple[str, ...]  # the last of the trace, for people


def threaded_modules() -> list[ModuleType]:
    """Every module of the agent that a simulation runs and that may use threads."""
    names = [m.name for m in pkgutil.iter_modules(failover_agent.shell.__path__, "failover_agent.shell.")]
    for name in (*names, "failover_agent.adapters.gate"):
        import_module(name)
    return [sys.modules[name] for name in (*names, "failover_agent.adapters.gate")]


def run_seed(seed: int, *, keep_events: int = 60) -> Result:
    """Raises UnusableHistory."""
    gc.disable()  # a world is one heap of cycles, let go as a whole
    world = World(seed)
    with threading_of(world.scheduler, threaded_modules()):
        _phases(world)
        world.close()
    anomalies = judge(world.history)
    lines = [f"{t:9.3f} {n or '-':4} {e} {v}" for t, n, e, v in world.events[-keep_events:]]
    return Result(seed, tuple(anomalies), world.fingerprint(), world.scheduler.now, tuple(lines))


def _phases(world: World) -> None:
    ttl_s = world.timings.ttl_s
    dice = world.dice_for("faults")
    faults = Faults(world, dice)
    # A node costs time for every other one it asks: many nodes, fewer seconds.
    safety_s = min(45.0, 8 + 2.5 * ttl_s) * min(1.0, 3 / len(world.hosts))
    faults.unleash(safety_s)
    _phase(world, "safety", lambda: world.run(safety_s))
    faults.heal()
    bound_s = 40 + 6 * world.slowest.ttl_s
    _phase(world, "liveness", lambda: _until_whole(world, bound_s))
    if world.history.ends[-1].whole:
        _phase(world, "calm", lambda: _calm(world, min(8.0, 1.3 * world.timings_to.ttl_s)))


def _phase(world: World, name: str, run: Callable[[], object]) -> None:
    begin = world.scheduler.now
    run()
    world.history.phases.append(Phase(name, begin, world.scheduler.now))
    world.history.ends.append(_at_end(world, name, world.scheduler.now - begin))


def _until_whole(world: World, bound_s: float) -> None:
    end = world.scheduler.now + bound_s
    since: float | None = None
    while world.scheduler.now < end:
        world.run(0.25)
        _move_foreign_data_away(world)
        _start_what_was_fenced(world)
        if not is_whole(world):
            since = None
        elif since is None:
            since = world.scheduler.now
        elif world.scheduler.now - since >= SETTLED_S:
            return


def _move_foreign_data_away(world: World) -> None:
    """What the operations guide asks of a person: the agent never touches data of another system."""
    item = world.item()
    for host in world.hosts.values():
        pg = host.postgres
        if item is not None and _is_foreign(host, item) and pg.state is ServerState.STOPPED:
            pg.wal, pg.system, pg.state = None, "", ServerState.ABSENT


def _is_foreign(host: Host, item: LeaseItem) -> bool:
    """Of another system than the lease's; where it names none yet, of one that another node is to replace."""
    if item.system_identifier:
        return item.system_identifier != host.postgres.system
    return item.holder is not None and item.holder.name != host.name


def _start_what_was_fenced(world: World) -> None:
    """What the problem `NodeFenced` asks of a person, once there is another primary.

    It need not serve yet: in mode strict it may be this very node that its clients wait for.
    """
    promoted = [h for h in world.in_service() if h.postgres.state is ServerState.PRIMARY]
    if world.fencing.undo == "person" and any(h.life is not None and h.life.holds_lease() for h in promoted):
        for host in world.hosts.values():
            if host.stopped:
                host.power_on()
                world.starter(host)()


def _calm(world: World, seconds: float) -> None:
    """Blips; then, where members promise to wait for it, an upgrade of the holder's agent."""
    _blips(world, seconds)
    dice, t, item = world.dice_for("upgrade"), world.timings_to, world.item()
    waited_for = world.failsafe or (item is not None and item.mode == "async")
    if waited_for and dice.random() < UPGRADES:
        People(world, dice).upgrade_the_holder()
        world.run(t.ttl_s + t.suspect_after_s)


def _blips(world: World, seconds: float) -> None:
    """Silences and slow answers, each shorter than what is promised to be borne."""
    dice, network, t = world.dice_for("blips"), world.network, world.timings_to
    end = world.scheduler.now + seconds
    while world.scheduler.now < end:
        host = dice.choice(world.in_service())
        kind = dice.choice(("silence", "slow", "answers", "pause"))
        ways = network.store_ways.setdefault(host.name, [])
        if kind == "silence":
            links = [x for other in world.hosts for x in ((host.name, other), (other, host.name))]
            for link in links:
                network.cut[link] = network.cut.get(link, 0) + 1
            ways.append(Way(away=True))
            world.run(BLIP_S * dice.uniform(0.3, 1.0))
            ways.clear()
            for link in links:
                network.cut[link] -= 1
        elif kind == "slow":
            ways.append(Way(slow_s=t.request_timeout_s * 0.4))
            world.run(dice.uniform(0.5, 2) * t.beat_s)
            ways.clear()
        elif kind == "answers":
            ways.append(Way(lost_answers=1.0))
            world.run(BLIP_S)
            ways.clear()
        else:
            host.pause()
            world.run(BLIP_S * dice.uniform(0.3, 1.0))
            host.resume()
        world.run(dice.uniform(1, 2) * t.beat_s)


def primary_of(world: World) -> Host | None:
    found = [h for name, h in world.hosts.items() if world.may_write(name)]
    return found[0] if len(found) == 1 else None


def is_whole(world: World) -> bool:
    primary = primary_of(world)
    item = world.item()
    if item is None or item.paused:
        return False
    if primary is None or world.is_handing_over() or set(world.tables.values()) != {f"eni-{primary.name}"}:
        return False
    others = [h for h in world.in_service() if h is not primary]
    return all(_streams(world, h, primary) for h in others) and _sync_set_is_full(world, primary)


def _sync_set_is_full(world: World, primary: Host) -> bool:
    """Whether as many vouch for commits as the mode wants where everybody is well."""
    item = world.item()
    if item is None or item.mode == "async":
        return item is not None and not item.sync.members
    everybody = [Standby(h.name, h.az, fit=True) for h in world.in_service() if h is not primary]
    wanted = choose(item.mode, primary.az, everybody, primary.postgres.shown, 1.0).wanted
    return of_item(item.sync) == primary.postgres.shown == wanted


def _streams(world: World, host: Host, primary: Host) -> bool:
    return host.postgres.state is ServerState.STANDBY and world.receivers[host.name].streams_from(primary)


def _at_end(world: World, phase: str, waited_s: float) -> AtEnd:
    primary = primary_of(world)
    nodes = tuple(_node_at_end(world, h, primary) for h in world.in_service())
    item = world.item()
    return AtEnd(
        phase,
        world.scheduler.now,
        is_whole(world),
        round(waited_s, 3),
        nodes,
        tuple((table, target.removeprefix("eni-")) for table, target in world.tables.items()),
        item.epoch if item else 0,
    )


def _node_at_end(world: World, host: Host, primary: Host | None) -> NodeAtEnd:
    pg, life = host.postgres, host.life
    same = True
    streams = primary is not None and host is not primary and _streams(world, host, primary)
    missing: tuple[int, ...] = ()
    if pg.wal is not None and primary is not None and primary.postgres.wal is not None:
        same = pg.wal.shares_until(primary.postgres.wal) >= pg.wal.written
    if primary is host and pg.wal is not None:
        missing = tuple(
            n for n, a in world.acked.items() if n not in world.lost and not pg.wal.has(a.line, a.lsn)
        )
    rule = life.agent.loop.rule if life and life.alive and life.agent else "no agent"
    return NodeAtEnd(
        host.name, pg.state.value, world.may_write(host.name), streams, pg.upstream, same, missing, rule
    )
