"""How work is put beside the decision round: on threads here, as a test wants it there."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

Work = Callable[[], None]


class Workers(Protocol):
    def start(self, name: str, work: Work) -> None:
        """Let `work` run beside the caller."""

    def all(self, works: Sequence[Work]) -> None:
        """Run all, beside each other where possible; returns when all have ended."""


class Threads:
    """Real threads. Daemonic: the process may end while one hangs in a call that does not return."""

    def start(self, name: str, work: Work) -> None:
        threading.Thread(target=work, name=name, daemon=True).start()

    def all(self, works: Sequence[Work]) -> None:
        if len(works) < 2:
            for work in works:
                work()
            return
        with ThreadPoolExecutor(max_workers=len(works), thread_name_prefix="parallel") as pool:
            for done in [pool.submit(work) for work in works]:
                done.result()
