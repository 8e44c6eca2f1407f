"""What every talk with the kernel over netlink has in common (linux/netlink.h, a stable interface)."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

MSG_ERROR, MSG_DONE = 2, 3
REQUEST, ACK, DUMP, REPLACE, CREATE = 0x1, 0x4, 0x300, 0x100, 0x400

_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr: length, kind, flags, sequence, by whom
_RECEIVE_BYTES = 1 << 16


def kernel(protocol: int, timeout_s: float) -> socket.socket:
    """A socket to this part of the kernel, for use in a `with`. Raises OSError."""
    made = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, protocol)
    made.bind((0, 0))
    made.settimeout(timeout_s)
    return made


def send(to: socket.socket, kind: int, flags: int, body: bytes) -> None:
    """Raises OSError."""
    to.sendto(_HEADER.pack(_HEADER.size + len(body), kind, flags | REQUEST, 0, 0) + body, (0, 0))


def answers(of: socket.socket) -> Iterator[tuple[int, bytes]]:
    """Kind and payload of every answer, without end: who asked knows which is the last. Raises OSError."""
    while True:
        yield from _messages(of.recv(_RECEIVE_BYTES))


def error_number(payload: bytes) -> int:
    """What an answer of kind MSG_ERROR says; 0: no error, an acknowledgement."""
    return -int(struct.unpack_from("=i", payload)[0])


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind, _flags, _sequence, _by = _HEADER.unpack_from(data, offset)
        if length < _HEADER.size:
            return
        yield kind, data[offset + _HEADER.size : offset + length]
        offset += (length + 3) & ~3
