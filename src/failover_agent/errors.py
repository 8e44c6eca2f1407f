"""What the agent foresees going wrong, one class per thing a caller can do differently."""

from __future__ import annotations


class AgentError(Exception):
    """Something we foresaw. Carries what happened and what to try."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.args[0]}\nHINT: {self.hint}"


class ConfigRefused(AgentError):
    """The configuration breaks a rule; nothing was started."""


class LeaseMovedOn(AgentError):
    """Our epoch is no longer the current one; whatever we meant to do is void."""


class GateFailed(AgentError):
    """The gate could not be set as wished; counts as a failed renewal (G5)."""


class RouteDidNotMove(AgentError):
    """The API did not take the change, or took it and the table still points elsewhere."""


class VipNotBound(AgentError):
    """The virtual address could not be put on this node."""


class PostgresFailed(AgentError):
    """PostgreSQL or one of its programs refused or did not finish in time."""


class RewindNotBegun(PostgresFailed):
    """A rewind was refused before it changed anything: the data is whole, it may be tried again."""


class DataDirectoryRefused(AgentError):
    """The data directory belongs to another cluster, or is not whole."""


class PeerRefused(AgentError):
    """Another node's agent, or ours, refused what was asked."""
