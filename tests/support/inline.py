"""Work in place of threads, for a world that has one."""

from __future__ import annotations

from collections.abc import Sequence

from failover_agent.shell.threads import Work


class Inline:
    """Everything on the caller's thread, in order."""

    def start(self, name: str, work: Work) -> None:  # noqa: ARG002  # the name is for threads
        work()

    def all(self, works: Sequence[Work]) -> None:
        for work in works:
            work()
