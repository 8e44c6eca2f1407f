"""What the lab's parts expect of each other. The values they pass are in `model`."""

from __future__ import annotations

import socket
from typing import Literal, Protocol

from ec2_lab.model import HostSpec, Interface, Network, Power, Volume

Place = Literal["router", "internet"]


class Machines(Protocol):
    """The machines behind the instances. Every verb may be repeated safely."""

    def boot(self, spec: HostSpec, netns: str) -> None:
        """Bring the machine up in `netns`; makes its root disk the first time. Returns when init runs."""

    def shut_down(self, instance_id: str, timeout_s: float) -> None:
        """Ask the machine's init to power off; kill it when it has not after `timeout_s`."""

    def crash(self, instance_id: str) -> None:
        """Cut the power: what was not synced to a disk is lost. The caller silences the network first."""

    def pause(self, instance_id: str) -> None: ...

    def resume(self, instance_id: str) -> None: ...

    def hang_disk(self, instance_id: str) -> None:
        """Whoever writes to a data volume waits until `free_disk`, or for the machine's death."""

    def free_disk(self, instance_id: str) -> None: ...

    def fill_disk(self, instance_id: str) -> None:
        """Leave no free block on the data volumes, until `empty_disk`."""

    def empty_disk(self, instance_id: str) -> None: ...

    def destroy(self, instance_id: str) -> None:
        """Crash it and delete its root disk. Data volumes stay until `delete_volume`."""

    def attach_volume(self, instance_id: str, volume: Volume) -> None: ...

    def detach_volume(self, instance_id: str, volume_id: str) -> None: ...

    def delete_volume(self, volume_id: str) -> None: ...

    def power(self, instance_id: str) -> Power: ...

    def leader_pid(self, instance_id: str) -> int | None:
        """Init of the machine as seen from outside, None while it is off."""


class Wires(Protocol):
    """The VPC in the kernel. Every verb may be repeated safely."""

    def plug(self, interface: Interface, *, prefix_length: int, gateway: str) -> str:
        """Make the namespace and cable of a machine about to boot; returns the namespace's name."""

    def silence(self, eni_id: str) -> None:
        """Stop every packet from and to this interface at once, without a word (a crash, a pause)."""

    def wake(self, eni_id: str) -> None:
        """Undo `silence`; `plug` does so, too."""

    def unplug(self, eni_id: str) -> None:
        """Remove cable and namespace; routes to the interface become blackholes first."""

    def apply(self, network: Network) -> None:
        """Make routes, security groups, checks and NAT of the internet gateway equal `network`.

        Called after every change of the API's state with the whole of it; touches only what
        differs from the last call, so that one replaced route costs milliseconds.
        """

    def cut(self, eni_id: str, peer_eni_id: str | None = None, *, one_way: bool = False) -> None:
        """Drop silently all traffic of an interface, or only that between two; one way: what it sends."""

    def heal(self, eni_id: str) -> None:
        """Undo every cut that names this interface."""

    def reach_api(self, reachable: bool) -> None:
        """Let the machines reach the API's addresses, or drop what they send there."""

    def listen(self, place: Place, address: str, port: int) -> socket.socket:
        """A listening TCP socket bound inside one of the lab's own namespaces."""


class Region(Protocol):
    """What the control interface can ask of a running lab. HOST is a Name tag or an instance id."""

    def hosts(self) -> list[dict[str, str]]:
        """`{id, name, az, private_ip, state}` of every instance not terminated; state is the real power."""

    def status(self) -> dict[str, object]: ...

    def history(self, count: int = 100) -> list[dict[str, object]]:
        """The newest API calls, oldest first."""
        ...

    def crash(self, host: str) -> None: ...

    def start(self, host: str) -> None: ...

    def pause(self, host: str) -> None: ...

    def resume(self, host: str) -> None: ...

    def cut(self, host: str, peer: str | None, one_way: bool) -> None: ...

    def heal(self, host: str) -> None: ...

    def disk_hang(self, host: str) -> None: ...

    def disk_free(self, host: str) -> None: ...

    def disk_fill(self, host: str) -> None: ...

    def disk_empty(self, host: str) -> None: ...

    def api(self, reachable: bool) -> None: ...

    def api_fault(self, kind: str, value: float) -> None:
        """One of faults.KINDS with its seconds or rate; 0 ends it."""
        ...
