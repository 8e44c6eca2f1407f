"""A call that always comes back in time, whatever hangs inside it.

Socket timeouts alone do not bound a call: name resolution has none, a connection is tried once per
address, a slow answer counts per read. So the call runs on a worker thread and is given up, not
stopped; what it was about to do may still happen (`Unknown` says exactly that).
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class GaveUp(Exception):
    """The time was over; the call may still take effect."""


class _Job(Generic[T]):
    def __init__(self, call: Callable[[], T]) -> None:
        self._call = call
        self._done = threading.Event()
        self._result: T | None = None
        self._error: BaseException | None = None
        self._abandoned = False

    def run(self) -> None:
        if self._abandoned:  # nobody waits any more: what has not begun shall not begin
            return
        try:
            self._result = self._call()
        except BaseException as error:  # whatever it is, it belongs to the thread that asked
            self._error = error
        self._done.set()

    def result(self, timeout_s: float) -> T:
        if not self._done.wait(timeout_s):
            self._abandoned = True
            raise GaveUp(f"no answer within {timeout_s:g} s")
        if self._error is not None:
            raise self._error
        return self._result  # type: ignore[return-value]  # set whenever there is no error


class Bounded:
    """Workers for calls of one kind. A worker that hangs is replaced as long as `most` allows."""

    def __init__(self, name: str, *, most: int = 16) -> None:
        self._name = name
        self._most = most
        self._lock = threading.Lock()
        self._idle = 0
        self._workers = 0
        self._jobs: queue.SimpleQueue[_Job[object]] = queue.SimpleQueue()

    def call(self, what: Callable[[], T], timeout_s: float) -> T:
        """The result or the exception of `what`; GaveUp when neither came within `timeout_s`."""
        job: _Job[T] = _Job(what)
        self._jobs.put(job)  # type: ignore[arg-type]  # the queue does not care what a job returns
        with self._lock:
            if self._jobs.qsize() > self._idle and self._workers < self._most:
                self._workers += 1
                threading.Thread(target=self._work, name=f"{self._name}-{self._workers}", daemon=True).start()
        return job.result(timeout_s)

    def _work(self) -> None:
        while True:
            with self._lock:
                self._idle += 1
            job = self._jobs.get()
            with self._lock:
                self._idle -= 1
            job.run()
