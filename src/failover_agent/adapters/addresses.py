"""The virtual addresses, each as a /32 on a dummy interface of ours, or on lo where there is no dummy.

An interface of its own, because network helpers of cloud images tidy the real ones (cloud-init,
netplan, nm-cloud-setup); it is looked at in every round all the same. Some kernels are built
without the dummy driver; the loopback interface serves as well, only less visibly.
"""

from __future__ import annotations

import ipaddress
import json

from failover_agent.adapters import programs
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
        # nodad: a virtual IPv6 address must not wait for duplicate address detection.
        flags = ("nodad",) if ipaddress.ip_address(vip).version == 6 else ()
        self._ip("address", "replace", _single(vip), "dev", device, *flags)
        if vip not in self.bound():
            raise VipNotBound(f"{vip} was put on {device} and is not there", hint=_HINT)

    def _device(self) -> str:
        """Our interface, made and up; lo where this kernel has no such kind."""
        done = self._run("link", "add", self._interface, "type", "dummy")
        if not done.ok and any(words in done.err for words in _NO_DUMMY):
            return LOOPBACK
        if not done.ok and "File exists" not in done.err:
            raise VipNotBound(f"{self._interface} cannot be made: {done.last_words()}", hint=_HINT)
        self._ip("link", "set", self._interface, "up")
        return self._interface

    def unbind(self, vip: str) -> None:
        for device in self._where().get(vip, ()):
            done = self._run("address", "del", _single(vip), "dev", device)
            if not done.ok and "Cannot assign requested address" not in done.err:
                raise VipNotBound(f"{vip} cannot be taken off {device}: {done.last_words()}", hint=_HINT)
        if vip in self.bound():
            raise VipNotBound(f"{vip} was taken off and is still there", hint=_HINT)

    def bound(self) -> frozenset[str]:
        return frozenset(self._where())

    def _where(self) -> dict[str, list[str]]:
        """Address → interfaces that have it, of those that are ours to look at."""
        done = self._run("-json", "address", "show")
        if not done.ok:
            raise VipNotBound(f"ip cannot list addresses: {done.last_words()}", hint=_HINT)
        found: dict[str, list[str]] = {}
        for link in json.loads(done.out or "[]"):
            if link.get("ifname") not in (self._interface, LOOPBACK):
                continue
            for address in link.get("addr_info", ()):
                if address.get("scope") == "global":
                    found.setdefault(address["local"], []).append(link["ifname"])
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


def _single(vip: str) -> str:
    """The address alone as a network: /32 or /128."""
    return str(ipaddress.ip_network(vip))
