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

from failover_agent.adapters import netlink

_NEWADDR, _DELADDR, _GETADDR = 20, 21, 22
_IFA_ADDRESS, _IFA_LOCAL, _IFA_FLAGS = 1, 2, 8
_FLAG_NODAD = 0x02
_SCOPE_GLOBAL = 0

_MESSAGE = struct.Struct("=BBBBI")  # struct ifaddrmsg: family, prefix length, flags, scope, interface
_ATTRIBUTE = struct.Struct("=HH")


@dataclass(frozen=True, slots=True)
class Bound:
    address: str
    index: int  # of the interface
    is_global: bool  # its scope


def addresses(timeout_s: float = 1.0) -> list[Bound]:
    """Every address of every interface in this network namespace. Raises OSError."""
    found = []
    for kind, body in _ask(_GETADDR, netlink.DUMP, _MESSAGE.pack(0, 0, 0, 0, 0), timeout_s):
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
    _change(_NEWADDR, netlink.REPLACE | netlink.CREATE, address, index, timeout_s)


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
    for _answer in _ask(kind, flags | netlink.ACK, body, timeout_s):
        pass


def _ask(kind: int, flags: int, body: bytes, timeout_s: float) -> Iterator[tuple[int, bytes]]:
    """The answers up to the last. Raises OSError for the kernel's refusal."""
    with netlink.kernel(socket.NETLINK_ROUTE, timeout_s) as kernel:
        netlink.send(kernel, kind, flags, body)
        for answer, payload in netlink.answers(kernel):
            if answer == netlink.MSG_DONE:
                return
            if answer == netlink.MSG_ERROR:
                number = netlink.error_number(payload)
                if number:
                    raise OSError(number, os.strerror(number))
                return
            yield answer, payload


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
