"""Addresses of interfaces, asked and changed in the kernel directly: programs would take ten times as long.

Numbers are those of linux/rtnetlink.h and linux/if_addr.h, a stable kernel interface.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass

_NEWADDR, _DELADDR, _GETADDR = 20, 21, 22
_MSG_ERROR, _MSG_DONE = 2, 3
_REQUEST, _ACK, _DUMP, _REPLACE, _CREATE = 0x1, 0x4, 0x300, 0x100, 0x400
_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS = 1, 2, 8
_FLAG_NODAD = 0x02
_SCOPE_GLOBAL = 0

_HEADER = struct.Struct("=IHHII")
_MESSAGE = struct.Struct("=BBBBI")  # struct ifaddrmsg: family, prefix length, flags, scope, interface
_ATTRIBUTE = struct.Struct("=HH")
_RECEIVE_BYTES = 1 << 16


@dataclass(frozen=True, slots=True)
class Bound:
    address: str
    index: int  # of the interface
    is_global: bool  # its scope


def addresses(timeout_s: float = 1.0) -> list[Bound]:
    """Every address of every interface in this network namespace. Raises OSError."""
    found = []
    for kind, body in _ask(_GETADDR, _DUMP, _MESSAGE.pack(0, 0, 0, 0, 0), timeout_s):
        if kind == _NEWADDR:
            _family, _prefix, _flags, scope, index = _MESSAGE.unpack_from(body)
            attributes = dict(_attributes(body[_MESSAGE.size :]))
            # On a point-to-point link the two differ, and the local one is ours.
            plain = attributes.get(_IFA_LOCAL) or attributes[_IFA_ADDRESS]
            found.append(Bound(str(ipaddress.ip_address(plain)), index, scope == _SCOPE_GLOBAL))
    return found


def add(address: str, index: int, timeout_s: float = 1.0) -> None:
    """Put a single address (/32, /128) on an interface; nothing happens when it is there. Raises OSError.

    An IPv6 address waits for no duplicate address detection: it must serve at once.
    """
    _change(_NEWADDR, _REPLACE | _CREATE, address, index, timeout_s)


def remove(address: str, index: int, timeout_s: float = 1.0) -> None:
    """Take a single address off; nothing happens when it is not there. Raises OSError."""
    try:
        _change(_DELADDR, 0, address, index, timeout_s)
    except OSError as error:
        if error.errno != errno.EADDRNOTAVAIL:
            raise


def _change(kind: int, flags: int, address: str, index: int, timeout_s: float) -> None:
    plain = ipaddress.ip_address(address).packed
    family = socket.AF_INET if len(plain) == 4 else socket.AF_INET6
    body = _MESSAGE.pack(family, 8 * len(plain), 0, _SCOPE_GLOBAL, index)
    body += _attribute(_IFA_LOCAL, plain) + _attribute(_IFA_ADDRESS, plain)
    if family == socket.AF_INET6 and kind == _NEWADDR:
        body += _attribute(_IFA_FLAGS, struct.pack("=I", _FLAG_NODAD))
    for _answer in _ask(kind, flags | _ACK, body, timeout_s):
        pass


def _ask(kind: int, flags: int, body: bytes, timeout_s: float) -> Iterator[tuple[int, bytes]]:
    """The answers up to the last. Raises OSError for the kernel's refusal."""
    with socket.socket(
        socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
    ) as kernel:
        kernel.bind((0, 0))
        kernel.settimeout(timeout_s)
        kernel.sendto(_HEADER.pack(_HEADER.size + len(body), kind, flags | _REQUEST, 1, 0) + body, (0, 0))
        while True:
            for answer, payload in _messages(kernel.recv(_RECEIVE_BYTES)):
                if answer == _MSG_DONE:
                    return
                if answer == _MSG_ERROR:
                    number = -int(struct.unpack_from("=i", payload)[0])
                    if number:
                        raise OSError(number, os.strerror(number))
                    return
                yield answer, payload


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind, _flags, _sequence, _by = _HEADER.unpack_from(data, offset)
        if length < _HEADER.size:
            return
        yield kind, data[offset + _HEADER.size : offset + length]
        offset += (length + 3) & ~3


def _attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    offset = 0
    while offset + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        if length < _ATTRIBUTE.size:
            return
        yield kind, data[offset + _ATTRIBUTE.size : offset + length]
        offset += (length + 3) & ~3


def _attribute(kind: int, data: bytes) -> bytes:
    return (_ATTRIBUTE.pack(_ATTRIBUTE.size + len(data), kind) + data).ljust((4 + len(data) + 3) & ~3, b"\0")
