"""One long job at a time beside the decision round: clone, rewind, initdb, a start."""

from __future__ import annotations

import threading
from collections.abc import Callable

from failover_agent.errors import AgentError
from failover_agent.ports import Clock, Progress
from failover_agent.shell.journal import Journal
from failover_agent.shell.threads import Workers

REST_S = 1.0  # after a failed job, before the next may start
STAND_BACK_S = 30.0  # after giving a lease up because PostgreSQL fails here: others go first

Job = Callable[[Progress], None]


class Jobs:
    def __init__(self, workers: Workers, clock: Clock, journal: Journal, ended: Callable[[], None]) -> None:
        self._workers = workers
        self._clock = clock
        self._journal = journal
        self._when_ended = ended
        self._lock = threading.Lock()
        self._name = ""
        self._progress = ""
        self._ended = 0  # how many
        self._last = ""  # the one that ended last
        self._rest_until = 0.0
        self._stand_back_until = 0.0
        self.failed_starts = 0  # of PostgreSQL as primary, or promotions; in a row
        self.turn_from = ""  # the holder whose leave for destructive steps we keep (N5)

    def doing(self) -> str:
        """Empty, or the job's name, with the progress that it tells under that name: `clone 42 %`."""
        return self._progress if self._progress.startswith(self._name) else self._name

    def mark(self) -> int:
        """To be given to `done_since`: a moment of the jobs."""
        return self._ended

    def done_since(self, mark: int) -> str:
        """As `doing`, or the job that has ended since `mark`: what was seen in between may be from before it.

        → initdb was done while PostgreSQL was looked at: no job ran, no data was seen, initdb began again.
        """
        with self._lock:
            return self.doing() or (self._last if self._ended != mark else "")

    def resting(self) -> bool:
        return self._clock.now() < self._rest_until

    def rest(self) -> None:
        self._rest_until = self._clock.now() + REST_S

    def give_up(self) -> None:
        """PostgreSQL keeps failing here: rest, and be no candidate for a while."""
        self.failed_starts = 0
        self._stand_back_until = self._clock.now() + STAND_BACK_S
        self.rest()

    def stands_back(self) -> bool:
        return self._clock.now() < self._stand_back_until

    def start(self, name: str, job: Job) -> bool:
        """Run `job` unless one runs already. Its failure is said and followed by a rest."""
        with self._lock:
            if self._name:
                return False
            self._name, self._progress = name, ""
        self._journal.event("job", name=name, step="begins")
        self._workers.start(f"job-{name}", lambda: self._run(name, job))
        return True

    def _run(self, name: str, job: Job) -> None:
        try:
            job(self._say)
            self._journal.event("job", name=name, step="done")
            self._journal.fine(name)
        except AgentError as error:
            self._journal.trouble(name, error)
            self.rest()
        except BaseException:  # a mistake of ours: shown by the thread's hook, and never in a tight circle
            self.rest()
            raise
        finally:
            with self._lock:
                self._name, self._progress, self.turn_from = "", "", ""
                self._ended, self._last = self._ended + 1, name
            self._when_ended()

    def _say(self, progress: str) -> None:
        self._progress = progress
