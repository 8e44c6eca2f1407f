"""The virtual addresses, each as a /32 on a dummy interface of ours, or on lo where there is no dummy.

An interface of its own, because network helpers of cloud images tidy the real ones (cloud-init,
netplan, nm-cloud-setup); it is looked at in every round all the same. Some kernels are built
without the dummy driver; the loopback interface serves as well, only less visibly.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable
from pathlib import Path

from failover_agent.adapters import programs, rtnetlink
from failover_agent.errors import VipNotBound

INTERFACE = "primacy-vip"
LOOPBACK = "lo"
IP_TIMEOUT_S = 3.0

_HINT = "The agent must run as root; look at `ip address`."
_NO_DUMMY = ("Unknown device type", "Operation not supported", "not supported")


class DummyAddresses:
    """Implements `ports.Addresses`."""

    def __init__(self, interface: str = INTERFACE) -> None:
        self._interface = interface

    def bind(self, vip: str) -> None:
        if vip in self.bound():
            return
        device = self._device()
        self._change(rtnetlink.add, vip, device, "put on")
        if vip not in self.bound():
            raise VipNotBound(f"{vip} was put on {device} and is not there", hint=_HINT)

    def _device(self) -> str:
        """Our interface, made and up; lo where this kernel has no such kind."""
        if self._interface in _links() and _is_up(self._interface):
            return self._interface
        done = self._run("link", "add", self._interface, "type", "dummy")
        if not done.ok and any(words in done.err for words in _NO_DUMMY):
            return LOOPBACK
        if not done.ok and "File exists" not in done.err:
            raise VipNotBound(f"{self._interface} cannot be made: {done.last_words()}", hint=_HINT)
        self._ip("link", "set", self._interface, "up")
        return self._interface

    def unbind(self, vip: str) -> None:
        for device in self._where().get(vip, ()):
            self._change(rtnetlink.remove, vip, device, "taken off")
        if vip in self.bound():
            raise VipNotBound(f"{vip} was taken off and is still there", hint=_HINT)

    def _change(self, how: Callable[[str, int], None], vip: str, device: str, what: str) -> None:
        try:
            how(vip, socket.if_nametoindex(device))
        except OSError as error:
            raise VipNotBound(f"{vip} cannot be {what} {device}: {error}", hint=_HINT) from error

    def bound(self) -> frozenset[str]:
        return frozenset(self._where())

    def _where(self) -> dict[str, list[str]]:
        """Address → interfaces that have it, of those that are ours to look at."""
        try:
            names = {index: name for name, index in _links().items()}
            known = rtnetlink.addresses()
        except OSError as error:
            raise VipNotBound(f"the kernel does not list addresses: {error}", hint=_HINT) from error
        found: dict[str, list[str]] = {}
        for one in known:
            name = names.get(one.index, "")
            if one.is_global and name in (self._interface, LOOPBACK):
                found.setdefault(one.address, []).append(name)
        return found

    def _ip(self, *args: str) -> None:
        done = self._run(*args)
        if not done.ok:
            raise VipNotBound(f"ip {' '.join(args)}: {done.last_words()}", hint=_HINT)

    def _run(self, *args: str) -> programs.Finished:
        try:
            return programs.run(("ip", *args), timeout_s=IP_TIMEOUT_S)
        except (programs.TookTooLong, OSError) as error:
            raise VipNotBound(f"ip {' '.join(args)}: {error}", hint=_HINT) from error


def _links() -> dict[str, int]:
    return {name: index for index, name in socket.if_nameindex()}


def _is_up(interface: str) -> bool:
    """By its flags (IFF_UP is the lowest bit); what cannot be read counts as down and is set up again."""
    with contextlib.suppress(OSError, ValueError):
        return bool(int(Path(f"/sys/class/net/{interface}/flags").read_text(), 16) & 1)
    return False
