"""The gate in a real kernel: PROTOCOL G1 to G7, each promise with a real connection."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import threading
import time

import pytest

from failover_agent.adapters.clock import SystemClock
from failover_agent.adapters.gate import NftGate
from failover_agent.adapters.gate_table import TABLE, table_text
from failover_agent.errors import GateFailed

from .gate_net import (
    A_WHILE_S,
    AT_ONCE_S,
    NODE,
    NODE_FOR_MEMBER,
    NODE_IPV6,
    PLAN,
    PORT,
    REPLICATION_PORT,
    SHUT,
    Net,
    echo,
    now,
    refused,
    until,
)
from .namespaces import entered

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


def test_a_shut_gate_refuses_everybody_at_once_also_loopback_and_members(net: Net) -> None:
    assert refused(net, NODE) < AT_ONCE_S
    assert refused(net, NODE_IPV6) < AT_ONCE_S
    assert refused(net, "127.0.0.1", source=net.node) < AT_ONCE_S
    assert refused(net, "::1", source=net.node) < AT_ONCE_S
    assert refused(net, NODE_FOR_MEMBER, source=net.member) < AT_ONCE_S


def test_an_open_gate_lets_clients_through_on_both_families(net: Net) -> None:
    net.gate.open_until(now() + 60)

    assert echo(net.call(NODE)) == b"ping"
    assert echo(net.call(NODE_IPV6)) == b"ping"


def test_the_gate_shuts_by_itself_within_milliseconds_of_its_deadline(net: Net) -> None:
    """Method: one connection sends all the time; what was sent after the deadline has no echo, and what has
    none came to the gate, which resets it, after the deadline. When an echo is read tells nothing: on a busy
    machine it may lie there for a while, or be written too late to leave.
    """
    deadline = now() + A_WHILE_S
    net.gate.open_until(deadline)
    connection, sent, answered = net.call(), 0.0, 0.0

    with contextlib.suppress(OSError):
        while sent < deadline + A_WHILE_S:
            sent = now()
            echo(connection)
            answered = sent
    ended = now()

    assert 0.0 < answered < deadline + 0.02
    assert ended > deadline - 0.02
    assert refused(net, NODE) < AT_ONCE_S


def test_after_the_deadline_no_answer_leaves_on_an_established_connection(net: Net) -> None:
    """The commit that was asked for before the deadline must not be acknowledged after it."""
    with entered(net.node):
        listener = socket.create_server((NODE, PORT), reuse_port=True)  # more specific: it gets the call
    net.gate.open_until(now() + 60)
    client = net.call()
    server, _ = listener.accept()
    assert client.send(b"commit") == 6
    assert server.recv(10) == b"commit"

    net.gate.shut()
    server.send(b"committed")

    client.settimeout(0.5)
    with pytest.raises(TimeoutError):
        client.recv(10)


def test_a_reset_may_leave_a_shut_gate_so_that_clients_learn_at_once(net: Net) -> None:
    def once() -> float:
        net.gate.open_until(now() + 60)
        client = net.call()
        assert echo(client) == b"ping"

        net.gate.shut()

        begun = now()
        client.sendall(b"anybody there?")
        with pytest.raises(ConnectionResetError):
            client.recv(10)
        return now() - begun

    assert min(once() for _ in range(3)) < AT_ONCE_S


def test_refreshes_never_glitch(net: Net) -> None:
    """Method: new connections and one old one all the time, a hundred refreshes beside them."""
    net.gate.open_until(now() + 60)
    old, done, failures = net.call(), threading.Event(), list[BaseException]()

    def knock() -> None:
        try:
            while not done.is_set():
                assert echo(old) == b"ping"
                with net.call() as fresh:
                    assert echo(fresh) == b"ping"
        except BaseException as error:
            failures.append(error)

    knocking = threading.Thread(target=knock)
    knocking.start()
    for _ in range(100):
        net.gate.open_until(now() + 30)
        time.sleep(0.002)
    done.set()
    knocking.join()

    assert failures == []


def test_a_refresh_shortens_as_well_as_prolongs(net: Net) -> None:
    net.gate.open_until(now() + 60)
    net.gate.open_until(now() + 2.0)

    until(lambda: _is_refused(net), within_s=15.0)


def _is_refused(net: Net) -> bool:
    try:
        net.call().close()
    except SHUT:
        return True
    return False


class StoppedBetween(SystemClock):
    """Stands for a process that is stopped after it computed the time left, and goes on later."""

    def __init__(self) -> None:
        self.skip_s = 0.0
        self.reads = 0

    def now(self) -> float:
        self.reads += 1
        return super().now() + (self.skip_s if self.reads > 1 else 0.0)


def test_a_process_stopped_in_the_middle_of_a_refresh_leaves_the_gate_shut(net: Net) -> None:
    """PROTOCOL G4: 2 s left, stopped for 6 s, the element added with 2 full seconds."""
    clock = StoppedBetween()
    gate = NftGate(PLAN, clock)
    clock.reads, clock.skip_s = 0, 6.0

    with pytest.raises(GateFailed):
        gate.open_until(now() + 2)

    refused(net, NODE)


def test_the_absolute_bound_shuts_even_where_the_element_lives_on(net: Net) -> None:
    net.gate.open_until(now() + 10)
    element = f"{TABLE} open {{ {PORT} timeout 60s }}"
    with entered(net.node):
        text = f"delete element {TABLE} open {{ {PORT} }}\nadd element {element}\n"
        subprocess.run(("nft", "-f", "-"), input=text, text=True, check=True)
    assert echo(net.call()) == b"ping"

    until(lambda: _is_refused(net), within_s=30.0)


def test_an_opening_in_the_past_is_refused_and_shuts(net: Net) -> None:
    net.gate.open_until(now() + 60)

    with pytest.raises(GateFailed):
        net.gate.open_until(now() - 0.001)

    refused(net, NODE)


@pytest.mark.parametrize("address", [NODE_FOR_MEMBER, "fd00:2::1"])
def test_a_member_replicates_through_a_shut_gate_and_nobody_else(net: Net, address: str) -> None:
    assert echo(net.call(address, REPLICATION_PORT, source=net.member)) == b"ping"

    assert refused(net, NODE, REPLICATION_PORT) < AT_ONCE_S
    assert refused(net, "127.0.0.1", REPLICATION_PORT, source=net.node) < AT_ONCE_S
    assert refused(net, address, PORT, source=net.member) < AT_ONCE_S


def test_only_postgres_and_root_may_call_a_replication_port_from_a_node(net: Net) -> None:
    """Method: the member has the gate's table too; the same call as root and as somebody else."""
    with entered(net.member):
        subprocess.run(("nft", "-f", "-"), input=table_text(PLAN), text=True, check=True)
        call = f"import socket; socket.create_connection(('{NODE_FOR_MEMBER}', {REPLICATION_PORT}), 2)"
        as_root = subprocess.run(("/usr/bin/python3", "-c", call), check=False, capture_output=True)
        as_other = subprocess.run(
            ("/usr/bin/python3", "-c", call), check=False, capture_output=True, user=65534, group=65534
        )

    assert as_root.returncode == 0, as_root.stderr
    assert b"ConnectionRefusedError" in as_other.stderr


@pytest.mark.parametrize(
    "by",
    [
        "flush ruleset",
        f"delete table {TABLE}",
        f"flush chain {TABLE} input",
        f"add rule {TABLE} passing accept",
    ],
)
def test_a_stranger_who_touches_the_table_is_noticed_and_the_gate_is_put_back_shut(net: Net, by: str) -> None:
    heard = threading.Event()
    net.gate.watch(heard.set)
    assert net.gate.intact()
    net.gate.open_until(now() + 60)
    net.gate.restore()
    assert not heard.wait(0.2), "our own changes are no disturbance"

    subprocess.run(("nft", "-f", "-"), input=by, text=True, check=True)

    assert heard.wait(A_WHILE_S)
    if "passing" not in by:
        assert not net.gate.intact()
    net.gate.restore()
    assert net.gate.intact()
    refused(net, NODE)


def test_shut_holds_even_when_the_table_is_gone(net: Net) -> None:
    subprocess.run(("nft", "flush", "ruleset"), check=True)
    assert echo(net.call()) == b"ping", "without the table everything is open"

    net.gate.shut()

    refused(net, NODE)


def test_opening_without_the_table_fails_and_says_so(net: Net) -> None:
    subprocess.run(("nft", "flush", "ruleset"), check=True)

    with pytest.raises(GateFailed):
        net.gate.open_until(now() + 1)


def test_a_new_process_finds_an_open_gate_intact_and_leaves_it_open(net: Net) -> None:
    net.gate.open_until(now() + 60)

    successor = NftGate(PLAN, SystemClock())

    assert successor.intact()
    assert echo(net.call()) == b"ping"


def test_an_orphans_old_answer_never_leaves_a_gate_that_opens_again(net: Net) -> None:
    """PROTOCOL G7. Method: an answer is written behind a shut gate and its process dies; then it opens."""
    with entered(net.node):
        listener = socket.create_server((NODE, PORT), reuse_port=True)
    net.gate.open_until(now() + 60)
    client = net.call()
    server, _ = listener.accept()
    net.gate.shut()
    server.send(b"committed")
    server.close()

    assert net.gate.end_sessions() == 1
    net.gate.open_until(now() + 60)

    with pytest.raises(ConnectionResetError):
        client.recv(100)


def test_every_session_is_ended_on_both_families_and_the_listener_stays(net: Net) -> None:
    net.gate.open_until(now() + 60)
    clients = [net.call(NODE), net.call(NODE_IPV6), net.call(NODE)]
    assert [echo(c) for c in clients] == [b"ping"] * 3

    assert net.gate.can_end_sessions()
    net.gate.shut()
    assert net.gate.end_sessions() == 3
    assert net.gate.end_sessions() == 0

    for client in clients:
        with pytest.raises(ConnectionResetError):
            client.recv(100)
    net.gate.open_until(now() + 60)
    assert echo(net.call()) == b"ping"


def test_sockets_of_other_ports_are_left_alone(net: Net) -> None:
    with entered(net.node):
        listener = socket.create_server((NODE, PORT + 10))
    other = net.call(NODE, PORT + 10)
    answering, _ = listener.accept()

    net.gate.end_sessions()

    assert answering.send(b"still here") == 10
    assert other.recv(100) == b"still here"
