"""A node with a real gate and an echo behind it, a client, and a member; see namespaces.py for the wires."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from failover_agent.adapters.clock import SystemClock
from failover_agent.adapters.gate import NftGate
from failover_agent.adapters.gate_table import GatePlan

from .namespaces import entered, node_with_neighbours

NODE, NODE_FOR_MEMBER, MEMBER = "10.9.0.1", "10.9.1.1", "10.9.1.2"
NODE_IPV6, MEMBER_IPV6 = "fd00:1::1", "fd00:2::2"
PORT, REPLICATION_PORT = 5432, 5433
VIP, VIP_IPV6 = "172.16.52.1", "fd99::1"
PLAN = GatePlan(PORT, REPLICATION_PORT, (MEMBER, MEMBER_IPV6), (0,), (VIP, VIP_IPV6))
A_WHILE_S = 5.0
AT_ONCE_S = 0.9  # who is met with silence calls again after a second
SHUT = (ConnectionRefusedError, ConnectionResetError)  # reset: it shut between the SYN and its ACK


@dataclass
class Net:
    node: str
    client: str
    member: str
    gate: NftGate

    def call(self, address: str = NODE, port: int = PORT, *, source: str = "") -> socket.socket:
        """A connection from namespace `source` (the client's unless said otherwise)."""
        with entered(source or self.client):
            return socket.create_connection((address, port), timeout=A_WHILE_S)


def echo(connection: socket.socket, word: bytes = b"ping") -> bytes:
    connection.sendall(word)
    return connection.recv(100)


def serve(listener: socket.socket) -> None:
    def answer(connection: socket.socket) -> None:
        try:
            while data := connection.recv(100):
                connection.sendall(data)
        except OSError:
            return

    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        threading.Thread(target=answer, args=(connection,), daemon=True).start()


def now() -> float:
    return SystemClock().now()


def until(fact: Callable[[], bool], within_s: float = A_WHILE_S) -> None:
    end = now() + within_s
    while not fact():
        assert now() < end, "did not come true in time"
        threading.Event().wait(0.005)


def refused(net: Net, address: str, port: int = PORT, source: str = "") -> float:
    """Seconds until the refusal, the least of three; fails when a call is answered or met with silence."""

    def once() -> float:
        begun = now()
        with pytest.raises(ConnectionRefusedError):
            net.call(address, port, source=source)
        return now() - begun

    return min(once() for _ in range(3))


@contextlib.contextmanager
def gated_net() -> Iterator[Net]:
    with node_with_neighbours("gt") as (node, client, member), entered(node):
        gate = NftGate(PLAN, SystemClock())
        gate.restore()
        listener = socket.create_server(
            ("", PORT), family=socket.AF_INET6, dualstack_ipv6=True, reuse_port=True
        )
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        yield Net(node, client, member, gate)
        listener.close()
