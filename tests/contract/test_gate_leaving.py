"""How clients learn that a primary leaves: by a reset at once, not by waiting (PROTOCOL G3, G7, G8)."""

from __future__ import annotations

import os
import subprocess

import pytest

from failover_agent.adapters.systemd import looks

from .gate_net import (
    AT_ONCE_S,
    NODE,
    NODE_FOR_MEMBER,
    NODE_IPV6,
    PORT,
    REPLICATION_PORT,
    VIP,
    VIP_IPV6,
    Net,
    echo,
    now,
    refused,
)
from .namespaces import entered, ip

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

DEVICE = "lo"
SOON_S = 10.0


def route_vips_to(net: Net) -> None:
    """Clients' route tables point the virtual addresses at the node, bound there or not."""
    for vip, node in ((VIP, NODE), (VIP_IPV6, NODE_IPV6)):
        with entered(net.client):
            ip("route", "add", vip, "via", node)


def bind(vip: str) -> None:
    """Until it is local: an IPv6 address becomes that by a worker of the kernel, some time after `add`."""
    ip("address", "add", vip, "dev", DEVICE)
    route = ("ip", "route", "get", vip)
    is_local = (
        subprocess.run(route, capture_output=True, text=True, check=False).stdout.startswith("local")
        for _left in looks(SOON_S)
    )
    assert any(is_local), f"{vip} was added and is not local"


@pytest.mark.parametrize("node", [NODE, NODE_IPV6])
def test_a_client_that_waits_for_an_answer_is_reset_when_it_is_dismissed(net: Net, node: str) -> None:
    net.gate.open_until(now() + 60)
    client = net.call(node)
    assert echo(client) == b"ping"
    net.gate.shut()

    assert net.gate.dismiss() == 1
    assert net.gate.dismiss() == 0

    with pytest.raises(ConnectionResetError):
        client.recv(100)


def test_members_go_on_replicating_when_clients_are_dismissed(net: Net) -> None:
    """Goal: what the primary still has to send reaches its standbys before it stops."""
    net.gate.open_until(now() + 60)
    client, member = net.call(NODE), net.call(NODE_FOR_MEMBER, REPLICATION_PORT, source=net.member)
    assert [echo(client), echo(member)] == [b"ping"] * 2
    net.gate.shut()

    assert net.gate.dismiss() == 1

    assert echo(member) == b"ping"
    with pytest.raises(ConnectionResetError):
        client.recv(100)


@pytest.mark.parametrize("vip", [VIP, VIP_IPV6])
def test_who_still_comes_for_an_address_that_left_is_refused_and_does_not_wait(net: Net, vip: str) -> None:
    route_vips_to(net)

    assert refused(net, vip) < AT_ONCE_S


@pytest.mark.parametrize("vip", [VIP, VIP_IPV6])
def test_an_address_that_is_here_is_answered_as_the_gate_says(net: Net, vip: str) -> None:
    route_vips_to(net)
    bind(vip)
    assert refused(net, vip) < AT_ONCE_S

    net.gate.open_until(now() + 60)

    assert echo(net.call(vip)) == b"ping"


def test_other_ports_of_an_address_that_left_are_nobodys_business_here(net: Net) -> None:
    route_vips_to(net)

    with pytest.raises((TimeoutError, OSError)) as silence:
        net.call(VIP, PORT + 10)
    assert not isinstance(silence.value, ConnectionRefusedError)


def test_an_established_session_is_reset_as_soon_as_it_says_something_to_an_address_that_left(
    net: Net,
) -> None:
    route_vips_to(net)
    bind(VIP)
    net.gate.open_until(now() + 60)
    client = net.call(VIP)
    assert echo(client) == b"ping"

    subprocess.run(("ip", "address", "del", f"{VIP}/32", "dev", DEVICE), check=True)

    client.sendall(b"anybody?")
    with pytest.raises(ConnectionResetError):
        client.recv(100)
