"""For stand-ins of an agent that nobody asks for a seal, a promise, or to carry something."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from failover_agent.core.model import LeaseItem, NodeReport, Unknown, Version, WriteOutcome
from failover_agent.core.promises import Promise
from failover_agent.core.relay import RouteChange
from failover_agent.core.seals import Seal, Sealed
from failover_agent.errors import PeerRefused


class CarriesNothing:
    def promise(self, asked: Promise) -> str:
        return f"nobody here knows epoch {asked.epoch}"

    def relay_write(self, asker: str, item: LeaseItem, only_if: Version) -> WriteOutcome:
        raise PeerRefused(f"{asker}: {item.epoch} {only_if.epoch}", hint="It is a test.")

    def relay_targets(self, vip: str) -> Mapping[str, str] | Unknown:
        return Unknown(f"nobody here knows {vip}")

    def relay_point(self, asker: str, change: RouteChange) -> Unknown | None:
        raise PeerRefused(f"{asker}: {change.epoch}", hint="It is a test.")


class SealsNothing(CarriesNothing):
    def report(self) -> NodeReport:
        raise NotImplementedError

    def report_to(self, name: str, epoch: int) -> NodeReport:  # noqa: ARG002  # as the door has it
        return replace(self.report(), noted=epoch)

    def vote(self, asked: Seal) -> str:
        return f"nobody here knows epoch {asked.epoch}"

    def seal(self, asked: Seal) -> Sealed:
        raise PeerRefused(self.vote(asked), hint="It is a test.")
