"""What every moment of a run must keep, in true time: what commits were promised, and by whom (PROTOCOL S1).

*Any |S| - k + 1 members of S together hold every acknowledged commit* is the same as: k members hold it. That
is looked at with every acknowledgement, with every item that lands, and before data is replaced (S5), so a
broken promise shows before anybody loses by it.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from failover_agent.core.model import LeaseItem
from failover_agent.shell.sealer import INCARNATION, NOTE
from tests.sim.history import Ack, ClaimLanded
from tests.sim.host import Host

if TYPE_CHECKING:
    from tests.sim.world import World


class Promises:
    def __init__(self, world: World) -> None:
        self._world = world
        self._last: Ack | None = None  # the furthest that a client was told
        self._answered: dict[str, tuple[int, int, str]] = {}  # of each sealed node: epoch, version, against
        self._bare_epoch = 0  # claimed in mode strict, and nobody has vouched for its commits yet

    def acknowledged(self, ack: Ack) -> None:
        item = self._world.item()
        if self._last is None or (ack.line, ack.lsn) > (self._last.line, self._last.lsn):
            self._last = ack
        if item is not None and item.last_holder == ack.node:
            self._look(item, ack, "an answer leaves")
            if item.mode == "strict" and item.epoch == self._bare_epoch:
                what = (
                    f"number {ack.number} is acknowledged, and nobody has vouched in epoch {item.epoch} yet"
                )
                self._world.mistake(self._world.hosts[ack.node], "S2", what)

    def landed(self, host: Host, before: LeaseItem | None, item: LeaseItem, first_sent: float) -> None:
        world = self._world
        if before is not None and item.epoch > before.epoch:
            sealed = self._sealed(before)
            old = before.last_holder
            fed = tuple(n for n in sealed if old in world.hosts and self._is_fed(n, world.hosts[old]))
            accepted = world.accepts_loss(host, before.epoch)
            world.history.landed.append(
                ClaimLanded(world.scheduler.now, host.name, first_sent, before, item, sealed, fed, accepted)
            )
        elif before is not None and item.sync.version < before.sync.version:
            world.mistake(host, "S1", f"version {item.sync.version} lands over {before.sync.version}")
        self._note_bare(before, item)
        if self._last is not None and (self._last.node == host.name or _has(host, self._last)):
            self._look(item, self._last, "the item lands")

    def _note_bare(self, before: LeaseItem | None, item: LeaseItem) -> None:
        if before is None or item.epoch > before.epoch:
            self._bare_epoch = item.epoch
        if item.sync.k or item.mode != "strict":  # a mode that is switched to lets nobody out
            self._bare_epoch = 0

    def answered(self, host: Host, against: str) -> None:
        """`host` has told how far its WAL goes: from now on it takes no more from `against` (F2)."""
        note = _note(host)
        if note:
            self._answered[host.name] = (note["epoch"], note["version"], against)
        self._world.ambush(host, "seal")

    def takes(self, host: Host, source: Host) -> None:
        """`host` receives WAL of `source`. Whoever counts its seal would be deceived (F2, F3, F4)."""
        epoch, version, against = self._answered.get(host.name, (0, 0, ""))
        item = self._world.item()
        if (
            against == source.name
            and item is not None
            and (item.epoch, item.sync.version) == (epoch, version)
        ):
            self._world.mistake(
                host, "F2", f"it sealed version {version} against {against} and takes WAL from it"
            )
            del self._answered[host.name]  # once is enough

    def _look(self, item: LeaseItem, ack: Ack, what: str) -> None:
        """Whether k members of S hold what was acknowledged; who cannot vouch any more can deceive nobody."""
        sync = item.sync
        if item.mode == "async" or sync.k == 0:
            return
        hosts = self._world.hosts
        have = [n for n in sync.members if n in hosts and (_has(hosts[n], ack) or _is_gone(hosts[n], item))]
        if len(have) < sync.k:
            who = f"{', '.join(have) or 'nobody'} of {sync.k} in {', '.join(sync.members)}"
            self._world.mistake(
                self._world.hosts[ack.node],
                "S1",
                f"{what}, version {sync.version}; number {ack.number} is held by {who}",
            )

    def _sealed(self, before: LeaseItem) -> tuple[str, ...]:
        """Members of S that are sealed for this very version, with the very data that entered it (S5)."""
        found = []
        for name in before.sync.members:
            host = self._world.hosts.get(name)
            note = _note(host) if host else None
            known = _incarnation(before, name)
            if note and (note["epoch"], note["version"]) == (before.epoch, before.sync.version):
                found += [name] if note["incarnation"] == (known or note["incarnation"]) else []
        return tuple(found)

    def _is_fed(self, name: str, old: Host) -> bool:
        receiver = self._world.receivers[name]
        return receiver.streams_from(old) and self._world.hosts[name].postgres.dropped != old.name

    def touched(self, host: Host, what: str) -> None:
        """The data of `host` is about to be replaced: nothing may count on it any more (S5)."""
        item = self._world.item()
        if item is None or item.mode == "async":
            return
        primary = self._world.hosts.get(item.last_holder)
        shown = primary.postgres.shown.members if primary is not None else ()
        if host.name in item.sync.members and item.sync.k:
            self._world.mistake(
                host, "S5", f"its {what} begins while version {item.sync.version} counts on it"
            )
        elif host.name in shown and primary is not None and primary.postgres.writes():
            self._world.mistake(host, "S5", f"its {what} begins while commits of {primary.name} wait for it")


def _has(host: Host, ack: Ack) -> bool:
    return host.postgres.wal is not None and host.postgres.wal.has(ack.line, ack.lsn)


def _note(host: Host) -> dict[str, Any] | None:
    """Its seal, as it would find it after a power loss."""
    found: dict[str, Any] | None = json.loads(host.state_notes.pages.get(NOTE, "null"))
    return found


def _incarnation(item: LeaseItem, name: str) -> str:
    """Of the copy of the data with which `name` entered S; empty: not said."""
    return dict(zip(item.sync.members, item.sync.incarnations, strict=False)).get(name, "")


def _is_gone(host: Host, item: LeaseItem) -> bool:
    """Whether the data that entered S is there no more: no seal of this node can be counted (S5)."""
    known = _incarnation(item, host.name)
    now = json.loads(host.state_notes.pages.get(INCARNATION, "null")) or {}
    return host.postgres.wal is None or bool(known and now.get("id", known) != known)
