"""Ending TCP sockets in the kernel, as `ss -K` does (PROTOCOL G7).

A backend that was killed leaves its socket to the kernel, which sends the last acknowledgement again
and again, and does so when the gate opens next. So before it opens in another epoch or role, every
socket of the port is destroyed. Numbers below are those of linux/sock_diag.h and linux/inet_diag.h,
a stable kernel interface; destroying needs CONFIG_INET_DIAG_DESTROY (in Debian's and Amazon's kernels).
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import struct
from collections.abc import Iterator

from failover_agent.adapters import netlink

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY, _SOCK_DESTROY = 20, 21
_TIME_WAIT, _LISTEN, _LAST_STATE = 6, 10, 12
# All but listeners, which answer nobody, and TIME_WAIT, which has nothing left to send.
_STATES = ((1 << (_LAST_STATE + 1)) - 1) & ~(1 << _LISTEN) & ~(1 << _TIME_WAIT) & ~1

_ID_BYTES = 48  # struct inet_diag_sockid: ports, addresses, interface, cookie
_PEER_AT = 20  # in it: after two ports and the local address
_ID_AT = 4  # where it stands in struct inet_diag_msg


class NotDestroyable(OSError):
    """There are sockets to end and this kernel cannot: CONFIG_INET_DIAG_DESTROY is off."""


def destroy(port: int, timeout_s: float = 1.0, *, spare: frozenset[str] = frozenset()) -> int:
    """End every TCP socket whose local port is `port`, listeners excepted; how many there were.

    Those whose other end is an address of `spare` are left alone.
    The other side gets a reset, waiting data is thrown away. Raises NotDestroyable, or OSError
    (most likely: not allowed without CAP_NET_ADMIN).
    """
    ended = 0
    with netlink.kernel(_NETLINK_SOCK_DIAG, timeout_s) as kernel:
        for family in (socket.AF_INET, socket.AF_INET6):
            for identity in list(_sockets(kernel, family, port)):
                if _other_end(family, identity) not in spare:
                    ended += _end(kernel, family, identity)
    return ended


def can_destroy(timeout_s: float = 1.0) -> bool:
    """Whether this kernel can and we may. Method: ask for a socket that cannot be, of port 0."""
    try:
        with netlink.kernel(_NETLINK_SOCK_DIAG, timeout_s) as kernel:
            _end(kernel, socket.AF_INET, b"\0" * _ID_BYTES)
    except OSError:
        return False
    return True


def _sockets(kernel: socket.socket, family: int, port: int) -> Iterator[bytes]:
    wanted = struct.pack(">H", port).ljust(_ID_BYTES, b"\0")
    _send(kernel, _SOCK_DIAG_BY_FAMILY, netlink.DUMP, family, wanted)
    for kind, payload in netlink.answers(kernel):
        if kind == netlink.MSG_DONE:
            return
        if kind == netlink.MSG_ERROR:
            _raise(payload)
        yield payload[_ID_AT : _ID_AT + _ID_BYTES]


def _other_end(family: int, identity: bytes) -> str:
    """The peer's address; an IPv4 one also where the socket is of IPv6."""
    plain = identity[_PEER_AT : _PEER_AT + (4 if family == socket.AF_INET else 16)]
    address = ipaddress.ip_address(plain)
    return str(getattr(address, "ipv4_mapped", None) or address)


def _end(kernel: socket.socket, family: int, identity: bytes) -> bool:
    """Whether it was still there."""
    _send(kernel, _SOCK_DESTROY, netlink.ACK, family, identity)
    answer = next(payload for kind, payload in netlink.answers(kernel) if kind == netlink.MSG_ERROR)
    return _raise(answer, but=errno.ENOENT) == 0


def _send(kernel: socket.socket, kind: int, flags: int, family: int, identity: bytes) -> None:
    body = struct.pack("=BBBBI", family, socket.IPPROTO_TCP, 0, 0, _STATES) + identity
    netlink.send(kernel, kind, flags, body)


def _raise(payload: bytes, but: int = 0) -> int:
    """The error number of an answer: 0 for none, `but` where it is that one. Raises OSError for others."""
    number = netlink.error_number(payload)
    if number in (0, but):
        return number
    if number == errno.EOPNOTSUPP:
        raise NotDestroyable(number, "the kernel cannot destroy sockets (CONFIG_INET_DIAG_DESTROY)")
    raise OSError(number, os.strerror(number))
