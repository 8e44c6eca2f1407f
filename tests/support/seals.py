"""For stand-ins of an agent that nobody asks for a seal."""

from __future__ import annotations

from failover_agent.core.seals import Seal, Sealed
from failover_agent.errors import PeerRefused


class SealsNothing:
    def vote(self, asked: Seal) -> str:
        return f"nobody here knows epoch {asked.epoch}"

    def seal(self, asked: Seal) -> Sealed:
        raise PeerRefused(self.vote(asked), hint="It is a test.")
