"""An instance's life: the state the API gives it, and who works on its machine."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from ec2_lab.door.worker import Worker
from ec2_lab.model import Interface, Volume


class Stage(Enum):
    """Instance states with their codes (EC2 API: InstanceState)."""

    PENDING = ("pending", 0)
    RUNNING = ("running", 16)
    SHUTTING_DOWN = ("shutting-down", 32)
    TERMINATED = ("terminated", 48)
    STOPPING = ("stopping", 64)
    STOPPED = ("stopped", 80)


MOVING = (Stage.PENDING, Stage.STOPPING, Stage.SHUTTING_DOWN)


@dataclass(slots=True)
class Life:
    """One instance: what the API says of it and who works on its machine."""

    instance: Any  # moto's
    interface: Interface
    worker: Worker
    stage: Stage = Stage.PENDING
    volumes: dict[str, Volume] = field(default_factory=dict)
    dark: bool = False  # we took its power behind the API's back; the API goes on saying `running`

    @property
    def instance_id(self) -> str:
        return str(self.instance.id)

    def move(self, stage: Stage) -> None:
        """Under the lock."""
        self.stage = stage
        self.instance._state.name, self.instance._state.code = stage.value
