"""The one place in which a rehearsal lets time pass."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

from rehearsal.errors import NeverHappened

T = TypeVar("T")


def wait_for(what: str, look: Callable[[], T | None], timeout_s: float, every_s: float = 0.2) -> T:
    """Look until there is something (not None, not False); raises NeverHappened after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while True:
        seen = look()
        if seen is not None and seen is not False:
            return seen
        if time.monotonic() > deadline:
            raise NeverHappened(
                f"waited {timeout_s:g} s for {what}",
                hint="./run ctl status and the journals of failover-agent on the nodes tell how far it came.",
            )
        time.sleep(every_s)  # the condition lives on other machines and cannot wake us


def wait_until(moment: float, every_s: float = 0.2) -> None:
    """Until `moment`, seconds since 1970."""
    left_s = max(0.0, moment - time.time())
    wait_for("the end of it", lambda: time.time() >= moment, left_s + 5, every_s=every_s)
