"""Wires and machines that do nothing but remember, so that the door can be tried without root."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable

from ec2_lab.errors import CommandFailed
from ec2_lab.model import HostSpec, Interface, Network, Power, Volume
from ec2_lab.ports import Place


class RecordingWires:
    """Remembers every verb in order and the network it was last given."""

    def __init__(self) -> None:
        self.log: list[tuple[str, ...]] = []
        self.network = Network()
        self.fail_apply: Exception | None = None

    def plug(self, interface: Interface, *, prefix_length: int, gateway: str) -> str:
        self.log.append(("plug", interface.eni_id, f"{interface.private_ips[0]}/{prefix_length}", gateway))
        return f"netns-{interface.instance_id}"

    def silence(self, eni_id: str) -> None:
        self.log.append(("silence", eni_id))

    def wake(self, eni_id: str) -> None:
        self.log.append(("wake", eni_id))

    def unplug(self, eni_id: str) -> None:
        self.log.append(("unplug", eni_id))

    def apply(self, network: Network) -> None:
        if self.fail_apply:
            raise self.fail_apply
        self.network = network

    def cut(self, eni_id: str, peer_eni_id: str | None = None, *, one_way: bool = False) -> None:
        self.log.append(("cut", eni_id, peer_eni_id or "everyone", "one way" if one_way else "both ways"))

    def heal(self, eni_id: str) -> None:
        self.log.append(("heal", eni_id))

    def reach_api(self, reachable: bool) -> None:
        self.log.append(("reach_api", str(reachable)))

    def listen(self, place: Place, address: str, port: int) -> socket.socket:
        raise NotImplementedError("the test listens by itself")


class RecordingMachines:
    """Remembers every verb in order; `hold` keeps boots waiting, `fail_boot` breaks them."""

    def __init__(self) -> None:
        self.log: list[tuple[str, ...]] = []
        self.specs: dict[str, HostSpec] = {}
        self.powers: dict[str, Power] = {}
        self.hold = threading.Event()
        self.hold.set()
        self.fail_boot: Exception | None = None

    def boot(self, spec: HostSpec, netns: str) -> None:
        self.hold.wait(30)
        self.log.append(("boot", spec.instance_id, netns))
        self.specs[spec.instance_id] = spec
        if self.fail_boot:
            raise self.fail_boot
        self.powers[spec.instance_id] = Power.RUNNING

    def shut_down(self, instance_id: str, timeout_s: float) -> None:
        self.log.append(("shut_down", instance_id, str(timeout_s)))
        self.powers[instance_id] = Power.OFF

    def crash(self, instance_id: str) -> None:
        self.log.append(("crash", instance_id))
        self.powers[instance_id] = Power.OFF

    def pause(self, instance_id: str) -> None:
        if self.power(instance_id) is Power.OFF:
            raise CommandFailed(f"{instance_id} is off", hint="start it first")
        self.powers[instance_id] = Power.PAUSED

    def resume(self, instance_id: str) -> None:
        self.powers[instance_id] = Power.RUNNING

    def hang_disk(self, instance_id: str) -> None:
        self.log.append(("hang_disk", instance_id))

    def free_disk(self, instance_id: str) -> None:
        self.log.append(("free_disk", instance_id))

    def fill_disk(self, instance_id: str) -> None:
        self.log.append(("fill_disk", instance_id))

    def empty_disk(self, instance_id: str) -> None:
        self.log.append(("empty_disk", instance_id))

    def destroy(self, instance_id: str) -> None:
        self.log.append(("destroy", instance_id))
        self.powers[instance_id] = Power.OFF

    def attach_volume(self, instance_id: str, volume: Volume) -> None:
        self.log.append(("attach_volume", instance_id, volume.volume_id))

    def detach_volume(self, instance_id: str, volume_id: str) -> None:
        self.log.append(("detach_volume", instance_id, volume_id))

    def delete_volume(self, volume_id: str) -> None:
        self.log.append(("delete_volume", volume_id))

    def power(self, instance_id: str) -> Power:
        return self.powers.get(instance_id, Power.OFF)

    def leader_pid(self, instance_id: str) -> int | None:
        return 1 if self.power(instance_id) is not Power.OFF else None


def until(fact: Callable[[], bool], within_s: float = 60.0) -> None:
    """Wait until a fact holds; fails when it does not in time."""
    end = time.monotonic() + within_s
    pause = threading.Event()
    while not fact():
        assert time.monotonic() < end, "it did not become true in time"
        pause.wait(0.005)
