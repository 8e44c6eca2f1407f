"""The virtual addresses, each as a /32 on a dummy interface of ours.

An interface of its own, because network helpers of cloud images tidy the real ones (cloud-init,
netplan, nm-cloud-setup); it is looked at in every round all the same.
"""

from __future__ import annotations

import ipaddress
import json

from failover_agent.adapters import programs
from failover_agent.errors import VipNotBound

INTERFACE = "primacy-vip"
IP_TIMEOUT_S = 3.0


class DummyAddresses:
    """Implements `ports.Addresses`."""

    def __init__(self, interface: str = INTERFACE) -> None:
        self._interface = interface

    def bind(self, vip: str) -> None:
        if vip in self.bound():
            return
        self._ip("link", "add", self._interface, "type", "dummy", unless="File exists")
        self._ip("link", "set", self._interface, "up")
        # nodad: a virtual IPv6 address must not wait for duplicate address detection.
        flags = ("nodad",) if ipaddress.ip_address(vip).version == 6 else ()
        self._ip("address", "replace", str(ipaddress.ip_network(vip)), "dev", self._interface, *flags)
        if vip not in self.bound():
            raise VipNotBound(f"{vip} was put on {self._interface} and is not there", hint=_HINT)

    def unbind(self, vip: str) -> None:
        if vip not in self.bound():
            return
        self._ip(
            "address",
            "del",
            str(ipaddress.ip_network(vip)),
            "dev",
            self._interface,
            unless="Cannot assign requested address",
        )
        if vip in self.bound():
            raise VipNotBound(f"{vip} was taken off {self._interface} and is still there", hint=_HINT)

    def bound(self) -> frozenset[str]:
        done = self._run("-json", "address", "show", "dev", self._interface)
        if not done.ok:
            if "does not exist" in done.err:
                return frozenset()
            raise VipNotBound(f"ip cannot list {self._interface}: {done.last_words()}", hint=_HINT)
        links = json.loads(done.out or "[]")
        return frozenset(
            address["local"]
            for link in links
            for address in link.get("addr_info", ())
            if address.get("scope") == "global"
        )

    def _ip(self, *args: str, unless: str = "") -> None:
        done = self._run(*args)
        if not done.ok and not (unless and unless in done.err):
            raise VipNotBound(f"ip {' '.join(args)}: {done.last_words()}", hint=_HINT)

    def _run(self, *args: str) -> programs.Finished:
        try:
            return programs.run(("ip", *args), timeout_s=IP_TIMEOUT_S)
        except (programs.TookTooLong, OSError) as error:
            raise VipNotBound(f"ip {' '.join(args)}: {error}", hint=_HINT) from error


_HINT = "The agent must run as root with the kernel's dummy driver; look at `ip address`."
