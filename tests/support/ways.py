# ruff: noqa: ARG002  # the arguments are the ports'; most of these parts need none of them
"""One node's ways to the world in memory: to the store, to route tables, to its peers. Each can be cut."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

from failover_agent.core.model import (
    Absent,
    Heard,
    LeaseItem,
    Mode,
    NodeReport,
    Unknown,
    Version,
    WriteOutcome,
)
from failover_agent.core.promises import Promise
from failover_agent.core.relay import RouteChange
from failover_agent.core.seals import Seal, Sealed, counts_as_heard
from failover_agent.errors import AgentError

if TYPE_CHECKING:
    from failover_agent.shell.agent import Agent
    from tests.support.world import World

T = TypeVar("T")


@dataclass(slots=True)
class NodeStore:
    """The shared store over this node's own way to it."""

    world: World
    name: str
    writes: list[LeaseItem] = field(default_factory=list)

    def read(self) -> LeaseItem | Unknown | None:
        return Unknown("cut") if self.name in self.world.no_api else self.world.store.read()

    def write(self, item: LeaseItem, *, only_if: Absent | Version) -> WriteOutcome:
        if self.name in self.world.no_api:
            return Unknown("cut")
        self.writes.append(item)
        outcome = self.world.store.write(item, only_if=only_if)
        return Unknown("answer lost") if self.name in self.world.lost_answers else outcome

    def note(self, key: str, value: Mapping[str, str]) -> Unknown | None:
        if self.name in self.world.no_api or self.name in self.world.no_notes:
            return Unknown("cut")
        return self.world.store.note(key, value)

    def notes(self, prefix: str) -> Mapping[str, Mapping[str, str]] | Unknown:
        return Unknown("cut") if self.name in self.world.no_api else self.world.store.notes(prefix)


@dataclass(slots=True)
class NodeRoutes:
    world: World
    name: str

    calls: list[tuple[str, float]] = field(default_factory=list)  # "look" or "point", and when

    def targets(self, vip: str) -> Mapping[str, str] | Unknown:
        self.calls.append(("look", self.world.clock.now()))
        return Unknown("cut") if self._is_cut() else dict(self.world.tables)

    def drops_strangers(self, interface_id: str) -> bool | Unknown:
        return Unknown("cut") if self.name in self.world.no_api else interface_id in self.world.checked

    def point(self, table_id: str, vip: str, interface_id: str) -> Unknown | None:
        self.calls.append(("point", self.world.clock.now()))
        if self._is_cut():
            return Unknown("cut")
        if self.name in self.world.late_routes:
            self.world.on_their_way.append((table_id, interface_id))
            return Unknown("no answer")
        self.world.tables[table_id] = interface_id
        return None

    def _is_cut(self) -> bool:
        return self.name in self.world.no_api | self.world.no_ec2


@dataclass(slots=True)
class NodePeers:
    world: World
    name: str
    epoch: Callable[[], int] = lambda: 0
    heard_by: Callable[[NodeReport, float], None] = lambda _report, _sent_at: None

    def carry(self, epoch: Callable[[], int], heard_by: Callable[[NodeReport, float], None]) -> None:
        self.epoch, self.heard_by = epoch, heard_by

    def reports(self) -> Mapping[str, Heard | Unknown]:
        return {name: self.ask(name) for name in self.world.nodes if name != self.name}

    def ask(self, name: str) -> Heard | Unknown:
        if not self._hears(name):
            return Unknown("no answer")
        holds, sent_at, agent = self.epoch(), self.world.clock.now(), self.world.nodes[name].agent
        report = agent.report_to(self.name, holds) if holds else agent.report()
        if counts_as_heard(report, holds):
            self.heard_by(report, sent_at)
        return Heard(report, self.world.clock.now())

    def ask_rejoin(self, name: str) -> bool | Unknown:
        return (
            self.world.nodes[name].agent.grant_rejoin(self.name) if self._hears(name) else Unknown("silence")
        )

    def ask_vote(self, name: str, seal: Seal) -> str | Unknown:
        if not self.world.can_talk(self.name, name):
            return Unknown("no answer")
        return self.world.nodes[name].agent.vote(seal)

    def ask_seal(self, name: str, seal: Seal) -> Sealed | Unknown:
        if not self.world.can_talk(self.name, name):
            return Unknown("no answer")
        try:
            return self.world.nodes[name].agent.seal(seal)
        except AgentError as error:
            return Unknown(str(error.args[0]))

    def ask_promise(self, name: str, promise: Promise) -> str | Unknown:
        return self.world.nodes[name].agent.promise(promise) if self._hears(name) else Unknown("silence")

    def relay_write(self, name: str, item: LeaseItem, only_if: Version) -> WriteOutcome:
        return self._carried(name, lambda agent: agent.relay_write(self.name, item, only_if))

    def relay_targets(self, name: str, vip: str) -> Mapping[str, str] | Unknown:
        return self._carried(name, lambda agent: agent.relay_targets(vip))

    def relay_point(self, name: str, change: RouteChange) -> Unknown | None:
        return self._carried(name, lambda agent: agent.relay_point(self.name, change))

    def _carried(self, name: str, work: Callable[[Agent], T]) -> T | Unknown:
        if not self._hears(name):
            return Unknown("silence")
        try:
            return work(self.world.nodes[name].agent)
        except AgentError as error:
            return Unknown(str(error.args[0]))

    def order_switchover(self, name: str, to: str) -> Mapping[str, object] | Unknown:
        return (
            self.world.nodes[name].agent.request_switchover(to) if self._hears(name) else Unknown("silence")
        )

    def order_failover(self, name: str, accept_loss: bool) -> Mapping[str, object] | Unknown:
        if not self.world.can_talk(self.name, name):
            return Unknown("no answer")
        return self.world.nodes[name].agent.request_failover(name, accept_loss)

    def order_mode(self, name: str, mode: Mode) -> Mapping[str, object] | Unknown:
        return self.world.nodes[name].agent.request_mode(mode) if self._hears(name) else Unknown("silence")

    def order_pause(self, name: str, pause: bool) -> Mapping[str, object] | Unknown:
        return self.world.nodes[name].agent.request_pause(pause) if self._hears(name) else Unknown("silence")

    def wake(self, name: str) -> None:
        if self._hears(name):
            self.world.nodes[name].agent.wake()

    def _hears(self, name: str) -> bool:
        return name in self.world.nodes and self.world.can_talk(self.name, name)

    def publish(self, report: NodeReport) -> None: ...
