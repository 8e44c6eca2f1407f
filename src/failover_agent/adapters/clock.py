"""The one clock of a node that never steps and goes on through suspend."""

from __future__ import annotations

import threading
import time


class SystemClock:
    """Implements `ports.Clock`."""

    def now(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def wall(self) -> float:
        return time.time()

    def wait(self, wake: object, timeout_s: float) -> bool:
        if not isinstance(wake, threading.Event):
            raise TypeError(f"can only wait for a threading.Event, not for {type(wake).__name__}")
        return wake.wait(max(0.0, timeout_s))
