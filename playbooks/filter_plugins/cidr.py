"""Address arithmetic for playbooks, from the standard library alone."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence


def cidr_is_valid(value: object) -> bool:
    """Whether `value` is an IPv4 address or a network without host bits."""
    try:
        ipaddress.IPv4Network(str(value))
    except ValueError:
        return False
    return True


def cidr_overlaps(value: str, other: str) -> bool:
    """Whether two networks (or addresses) share an address."""
    return ipaddress.IPv4Network(value).overlaps(ipaddress.IPv4Network(other))


def cidr_within(value: str, outer: str) -> bool:
    """Whether all of `value` lies in `outer`."""
    return ipaddress.IPv4Network(value).subnet_of(ipaddress.IPv4Network(outer))


def cidr_clashes(networks: Sequence[str]) -> list[str]:
    """The pairs in a list of networks that overlap, as sentences; empty when all are apart."""
    return [
        f"{first} and {second}"
        for position, first in enumerate(networks)
        for second in networks[position + 1 :]
        if cidr_overlaps(first, second)
    ]


class FilterModule:
    """What Ansible looks for in this file."""

    def filters(self) -> dict[str, Callable[..., object]]:
        """Names as templates use them."""
        return {
            "cidr_is_valid": cidr_is_valid,
            "cidr_overlaps": cidr_overlaps,
            "cidr_within": cidr_within,
            "cidr_clashes": cidr_clashes,
        }
