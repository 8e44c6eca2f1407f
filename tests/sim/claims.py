"""What the checkers have to know of a claim at the moment at which it is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING

from failover_agent.core.model import Absent, LeaseItem, ServerState, Version
from tests.sim.history import ClaimSent
from tests.sim.host import Host

if TYPE_CHECKING:
    from tests.sim.world import World


def note(world: World, host: Host, item: LeaseItem, only_if: Absent | Version) -> None:
    stands, wal = world.item(), host.postgres.wal
    if stands is None or wal is None or only_if != Version(stands.epoch, stands.token):
        return  # the store refuses it: the claimant judged by what stood there before
    better = tuple(o.name for o in world.hosts.values() if _is_surely_better(world, o, host))
    world.history.claims.append(
        ClaimSent(
            world.scheduler.now,
            host.name,
            item.epoch,
            stands.lsn - wal.flushed,
            better,
            stands.holder is None and stands.offered_to == host.name,
            stands.mode != "async",
        )
    )


def _is_surely_better(world: World, other: Host, host: Host) -> bool:
    """More WAL, and nothing for so long that the claimant can have missed it."""
    t, a, b = world.slowest, other.postgres, host.postgres
    since = world.scheduler.now - (2 * t.ask_s + 3 * t.request_timeout_s + 1.5)
    life = other.life
    if other is host or a.state is not ServerState.STANDBY:
        return False
    if life is None or not life.alive or life.agent is None or not other.talks() or a.system != b.system:
        return False
    steady = [world.touched_at, world.network.healthy_since(other.name, host.name)]
    steady += [h.touched_at for h in (other, host)] + [h.moved_at for h in (other, host)]
    told = life.agent.report()  # it takes a moment, in which data may be lost
    if told.nofailover or not told.reads_store or a.wal is None or b.wal is None:
        return False
    return a.wal.timeline == b.wal.timeline and a.wal.flushed > b.wal.flushed and max(steady) < since
