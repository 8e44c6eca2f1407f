"""Virtual addresses on a node, in a network namespace of their own."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

import pytest

from failover_agent.adapters.addresses import DummyAddresses
from failover_agent.ports import Addresses
from tests.support.machine import Dummy

from .namespaces import entered, ip, node_with_neighbours

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

VIPS = ["172.16.52.1", "fd99::1"]


@pytest.fixture(scope="module")
def node() -> Iterator[str]:
    with node_with_neighbours("va") as (name, _client, _member):
        yield name


@pytest.mark.parametrize("kind", [DummyAddresses, Dummy], ids=["kernel", "memory"])
@pytest.mark.parametrize("vip", VIPS)
def test_an_address_is_bound_once_and_unbound_once_and_both_may_be_said_again(
    node: str, vip: str, kind: Callable[[], Addresses]
) -> None:
    with entered(node):
        addresses = kind()
        assert vip not in addresses.bound()
        for _ in range(2):
            addresses.bind(vip)
            assert vip in addresses.bound()
        for _ in range(2):
            addresses.unbind(vip)
            assert vip not in addresses.bound()


def test_an_address_somebody_took_away_is_missed_and_bound_again(node: str) -> None:
    with entered(node):
        addresses = DummyAddresses()
        addresses.bind(VIPS[0])
        where = next(d for d in ("primacy-vip", "lo") if _has(d))
        ip("address", "del", f"{VIPS[0]}/32", "dev", where)
        assert addresses.bound() == frozenset()
        addresses.bind(VIPS[0])
        assert addresses.bound() == {VIPS[0]}


def _has(device: str) -> bool:
    import subprocess

    done = subprocess.run(
        ("ip", "-brief", "address", "show", "dev", device), capture_output=True, text=True, check=False
    )
    return VIPS[0] in done.stdout
