"""What a rehearsal foresees going wrong."""

from __future__ import annotations


class RehearsalError(Exception):
    """Something foreseen, with what to try."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.args[0]}\nHINT: {self.hint}"


class ClusterRunning(RehearsalError):
    """A cluster is up already."""


class NoCluster(RehearsalError):
    """No cluster is up."""


class BuildFailed(RehearsalError):
    """The playbooks or the lab refused."""


class NeverHappened(RehearsalError):
    """What was waited for did not come true in time."""
