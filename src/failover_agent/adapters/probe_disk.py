"""Writes and syncs one block on each volume of PostgreSQL, and keeps the ballast; all in children.

Invariant: this process itself never writes to these volumes, nor waits for somebody who does. It asks
for their room only right after a write came back.
"""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

from failover_agent.adapters.probe_child import Child
from failover_agent.core import liveness
from failover_agent.core.health import Limits
from failover_agent.core.liveness import FSYNC_EVERY_S, Volume

PROBE = ".failover-agent-probe"
BALLAST = "ballast"


@dataclass(slots=True)
class _Write:
    """The write to one volume that is out, if any. Never more than one: it may hang for ever."""

    where: str
    folder: Path
    has_wal: bool
    child: Child | None = None
    next: float = 0.0
    fsyncs: int = 0

    def round(self, now: float) -> bool:
        """Whether one came back just now; also an answer like `no space` is one."""
        if self.child is not None:
            if self.child.status() is None:
                return False
            self.child.words()
            self.child = None
            self.fsyncs += 1
            self.next = now + FSYNC_EVERY_S
            return True
        if now >= self.next:
            self.next = now + FSYNC_EVERY_S
            target = f"of={self.folder / PROBE}"
            argv = ("dd", "if=/dev/zero", target, "bs=512", "count=1", "conv=notrunc,fsync", "status=none")
            with contextlib.suppress(OSError):  # no process to be had says nothing about the volume
                self.child = Child(argv, now)
        return False

    def shown(self) -> Volume:
        return Volume(self.where, self.has_wal, self.fsyncs, waits=self.child is not None)


class DiskProbe:
    def __init__(self, data_dir: Path, limits: Limits) -> None:
        self._data_dir = data_dir
        self._limits = limits
        self._ballast = data_dir.parent / BALLAST
        self._keeper: Child | None = None  # makes the ballast, or removes it
        self._writes = [_Write("data", data_dir.parent, has_wal=True)]
        self._wal_looked_for = False
        self.free_bytes = -1
        self.full = False
        self.ballast = False

    def volumes(self) -> tuple[Volume, ...]:
        return tuple(write.shown() for write in self._writes)

    def round(self, now: float) -> None:
        answered = [write.round(now) for write in self._writes]
        if self._keeper is not None and self._keeper.status() is not None:
            self._keeper.words()
            self._keeper = None
        if answered[0]:
            with contextlib.suppress(OSError):
                self._look_for_wal()
                self._measure()
                self._keep_ballast(now)

    def _look_for_wal(self) -> None:
        """WAL on a volume of its own is found once there is a data directory; it does not move then."""
        if self._wal_looked_for or not (self._data_dir / "pg_wal").is_dir():
            return
        self._wal_looked_for = True
        wal = (self._data_dir / "pg_wal").resolve()
        if wal.stat().st_dev != self._data_dir.parent.stat().st_dev:
            # Not inside pg_wal where it can be helped: that folder is PostgreSQL's.
            folder = wal.parent if wal.parent.stat().st_dev == wal.stat().st_dev else wal
            self._writes[0].has_wal = False
            self._writes.append(_Write("WAL", folder, has_wal=True))

    def _measure(self) -> None:
        space = os.statvfs(self._data_dir.parent)
        self.free_bytes = space.f_bavail * space.f_frsize
        self.ballast = self._ballast_stands()
        self.full = liveness.is_full(self.full, self.free_bytes, self.ballast, self._limits)

    def _ballast_stands(self) -> bool:
        try:
            return self._ballast.stat().st_blocks * 512 >= self._limits.ballast_bytes > 0
        except FileNotFoundError:
            return False

    def _keep_ballast(self, now: float) -> None:
        if self._keeper is not None:
            return
        if liveness.free_ballast(self.free_bytes, self._ballast.exists()):
            # Synced: a file system gives room back only with its next commit.
            self._keeper = self._shell(now, 'rm -f -- "$1" && sync -f -- "$2"')
        elif liveness.make_ballast(self.free_bytes, self.ballast, self._limits):
            self._keeper = self._shell(now, 'fallocate -l "$3" -- "$1" || rm -f -- "$1"')

    def _shell(self, now: float, script: str) -> Child:
        size = str(self._limits.ballast_bytes)
        return Child(
            ("/bin/sh", "-c", script, "ballast", str(self._ballast), str(self._ballast.parent), size), now
        )
