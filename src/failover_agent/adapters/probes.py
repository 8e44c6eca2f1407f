"""All probes of one node on one thread that never blocks; the decision round only reads what they show."""

from __future__ import annotations

import threading

from failover_agent.adapters.postgres.plan import PostgresPlan
from failover_agent.adapters.probe_commits import CommitReader
from failover_agent.adapters.probe_disk import DiskProbe
from failover_agent.adapters.probe_session import SessionProbe
from failover_agent.core import liveness
from failover_agent.core.health import Limits
from failover_agent.core.liveness import Readings
from failover_agent.ports import Clock

TICK_S = 0.25


class NodeProbes:
    """Implements `ports.Probes`."""

    def __init__(self, plan: PostgresPlan, limits: Limits, clock: Clock) -> None:
        self._clock = clock
        self._session = SessionProbe(plan)
        self._commits = CommitReader(plan)
        self._disk = DiskProbe(plan.data_dir, limits)
        self._primary = False
        self._stop = threading.Event()
        self._shown = Readings()
        self._watched_s = 0.0

    def start(self) -> None:
        self._commits.start()
        threading.Thread(target=self._run, name="probes", daemon=True).start()

    def stop(self) -> None:
        self._stop.set()
        self._commits.want(False)

    def watch_primary(self, primary: bool) -> None:
        self._primary = primary

    def readings(self) -> Readings:
        return self._shown

    def _run(self) -> None:
        while not self._stop.is_set():
            self.round()
            self._clock.wait(self._stop, TICK_S)

    def round(self) -> None:
        now = self._clock.now()
        if self._shown.at is not None:
            self._watched_s = liveness.watched(self._watched_s, self._shown.at, now)
        self._disk.round(now)
        self._commits.want(self._primary)
        if self._primary:
            self._session.round(now)
        else:
            self._session.rest()
        session, disk = self._session, self._disk
        self._shown = Readings(
            at=now,
            watched_s=self._watched_s,
            sessions=session.answered,
            asking=session.asking,
            unanswered=session.unanswered,
            commits=self._commits.commits,
            volumes=disk.volumes(),
            free_bytes=disk.free_bytes,
            ballast=disk.ballast,
            full=disk.full,
        )
