"""A cloud that stops machines of a `World`: at once, late, never, or not for us."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from failover_agent.core.model import Unknown
from failover_agent.errors import FenceRefused, RightMissing

if TYPE_CHECKING:
    from tests.support.world import World


@dataclass(slots=True)
class Cloud:
    """What EC2 knows and does; one for all nodes."""

    asked: list[tuple[str, str]] = field(default_factory=list)  # by whom, for which machine
    late: set[str] = field(default_factory=set)  # machines whose stop takes effect when `land` says
    refuses: set[str] = field(default_factory=set)  # machines under stop protection
    silent: bool = False
    hides: bool = False  # nobody has the right to look
    stopped: set[str] = field(default_factory=set)
    undoes: Mapping[str, str] = field(default_factory=dict)  # what `before` tells of every machine
    undone: list[Mapping[str, str]] = field(default_factory=list)


@dataclass(slots=True)
class NodeFence:
    """Implements `ports.Fence` for one node."""

    world: World
    name: str

    def _reaches(self) -> bool:
        return not self.world.cloud.silent and self.name not in self.world.no_api

    def is_fenced(self, instance_id: str) -> bool | Unknown:
        if self.world.cloud.hides:
            missing = RightMissing("ec2:DescribeInstances is not allowed", hint="It is a test.")
            return Unknown("not allowed", cause=missing)
        return instance_id in self.world.cloud.stopped if self._reaches() else Unknown("no answer")

    def before(self, instance_id: str) -> Mapping[str, str] | Unknown:  # noqa: ARG002  # the port's
        return self.world.cloud.undoes if self._reaches() else Unknown("no answer")

    def fence(self, instance_id: str) -> Unknown | None:
        cloud = self.world.cloud
        if not self._reaches():
            return Unknown("no answer")
        cloud.asked.append((self.name, instance_id))
        if instance_id in cloud.refuses:
            raise FenceRefused("it is protected", hint="It is a test.")
        if instance_id not in cloud.late:
            self.world.cloud_stops(instance_id)
        return None

    def undo(self, instance_id: str, before: Mapping[str, str]) -> Unknown | None:
        cloud = self.world.cloud
        if not self._reaches():
            return Unknown("no answer")
        cloud.undone.append(dict(before))
        if instance_id in cloud.stopped:
            cloud.stopped.remove(instance_id)
            self.world.power_on(instance_id.removeprefix("i-"))
        return None
