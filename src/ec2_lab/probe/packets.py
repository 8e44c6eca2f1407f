"""Sends one SYN per question, each with a source port of its own, and listens at every interface.

A packet counts where it arrives, before any firewall of the host sees it, so hosts need no service.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

from ec2_lab.model import API_ADDRESS, LabPaths
from ec2_lab.probe import reading
from ec2_lab.probe.reading import INTERNET, Facts, Host
from ec2_lab.vpc import namespace

LISTEN_S = 0.8  # shorter than the first retransmission, long for packets between namespaces
FIRST_PORT, PORTS_MAX = 20000, 10000
UNNAMED_PORT = 4  # in no rule of anybody
FOREIGN = "172.30.99.99"  # nobody's address
IP_TRANSPARENT, PACKET_OUTGOING, ETH_P_IP = 19, 4, 0x0800
TCP, SYN, ACK = 6, 0x02, 0x10

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Question:
    source: Host
    address: str  # under which it is sent
    destination: str
    port: int


@dataclass(frozen=True, slots=True)
class Disagreement:
    """The API says `stated`, the packets went `seen`; interfaces in order, empty for nowhere."""

    source: str
    address: str
    destination: str
    port: int
    stated: tuple[str, ...]
    seen: tuple[str, ...]

    def __str__(self) -> str:
        stated, seen = (" → ".join(p) or "nowhere" for p in (self.stated, self.seen))
        return (
            f"{self.source} as {self.address} to {self.destination} port {self.port}:"
            f" by the API {stated}, by packets {seen}"
        )


def disagreements(paths: LabPaths, ec2: Any) -> list[Disagreement]:
    """Everything the API says of the running hosts and packets do not do, or the other way round."""
    facts = reading.read(ec2)
    asked = list(questions(facts))
    arrived = observe(paths, facts, asked)
    found = []
    for question, seen in zip(asked, arrived, strict=True):
        stated = reading.path(facts, question.source, question.address, question.destination, question.port)
        if sorted(stated) != sorted(seen):
            q = question
            found.append(Disagreement(q.source.name, q.address, q.destination, q.port, stated, tuple(seen)))
    return found


def questions(facts: Facts) -> Iterator[Question]:
    """Every pair at every port that a rule names and at one that none does, also under a foreign address."""
    addresses = {a for host in facts.hosts for a in host.addresses}
    for source in facts.hosts:
        for destination in sorted((addresses | facts.overlays() | {API_ADDRESS}) - {*source.addresses}):
            for port in sorted({*facts.ports(), UNNAMED_PORT}):
                yield Question(source, source.addresses[0], destination, port)
            if source.eni_id not in facts.translators():
                yield Question(source, FOREIGN, destination, min(facts.ports(), default=UNNAMED_PORT))


def observe(paths: LabPaths, facts: Facts, asked: list[Question]) -> list[list[str]]:
    """For each question the places at which its packet arrived."""
    if len(asked) > PORTS_MAX:
        raise ValueError(f"{len(asked)} questions, there are {PORTS_MAX} source ports")
    with contextlib.ExitStack() as stack:
        rooms = {h.eni_id: stack.enter_context(_Room(paths.host_netns(h.instance_id))) for h in facts.hosts}
        outside = stack.enter_context(_Room(paths.internet_netns))
        ears = {stack.enter_context(room.do(lambda: _ear("eth0"))): eni for eni, room in rooms.items()}
        for link in ("igw", "svc"):
            ears[stack.enter_context(outside.do(lambda link=link: _ear(link)))] = INTERNET  # type: ignore[misc]
        for number, question in enumerate(asked):
            room = rooms[question.source.eni_id]
            stack.enter_context(room.do(lambda q=question, n=number: _send(q, FIRST_PORT + n)))  # type: ignore[misc]
        arrived: list[list[str]] = [[] for _ in asked]
        for place, number in _hear(ears, len(asked)):
            if place not in arrived[number]:
                arrived[number].append(place)
        return arrived


class _Room:
    """A thread inside a namespace."""

    def __init__(self, netns: str) -> None:
        self._thread = ThreadPoolExecutor(1, initializer=lambda: namespace.enter(netns))

    def do(self, work: Callable[[], T]) -> T:
        return self._thread.submit(work).result()

    def __enter__(self) -> _Room:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown()


def _ear(link: str) -> socket.socket:
    made = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_IP))
    made.bind((link, ETH_P_IP))
    made.setblocking(False)
    return made


def _send(question: Question, source_port: int) -> socket.socket:
    """Begin a connection and do not wait for it; the packet is sent by the time this returns."""
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.setblocking(False)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # leave nothing behind
    made.setsockopt(socket.SOL_IP, IP_TRANSPARENT, 1)  # also under an address that is not its own
    made.bind((question.address, source_port))
    made.connect_ex((question.destination, question.port))
    return made


def _hear(ears: dict[socket.socket, str], count: int) -> Iterator[tuple[str, int]]:
    """(place, number of the question) for every first packet that arrives while we listen.

    The last look comes after the time is over: what arrived while this process stood still lies there.
    """
    deadline = time.monotonic() + LISTEN_S
    while True:
        left_s = max(0.0, deadline - time.monotonic())
        for ear in select.select(list(ears), [], [], left_s)[0]:
            with contextlib.suppress(BlockingIOError):
                while True:
                    data, (_, _, kind, *_) = ear.recvfrom(128)
                    number = _number(data)
                    if kind != PACKET_OUTGOING and 0 <= number < count:
                        yield ears[ear], number
        if not left_s:
            return


def _number(packet: bytes) -> int:
    """Which question this IPv4 packet belongs to, -1 for none."""
    header = (packet[0] & 0x0F) * 4
    if packet[9] != TCP or packet[header + 13] & (SYN | ACK) != SYN:
        return -1
    port: int = struct.unpack_from("!H", packet, header)[0]
    return port - FIRST_PORT
