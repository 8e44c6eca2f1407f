"""Opening, shutting and watching the gate's table by netlink, without starting a program.

A refresh runs every beat and must also work on a host that is starved or whose disk hangs, where
`nft` could not be started; and nft's own syntax takes `meta time` in whole seconds only.
Numbers below are those of linux/netfilter/nf_tables.h, a stable kernel interface.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from failover_agent.adapters.gate_table import OPEN_SET, PASSING_CHAIN, TABLE_NAME

NETLINK_NETFILTER = 12
_SUBSYS_NFTABLES = 10
_GROUP_NFTABLES = 7
_FAMILY_INET = 1

_MSG_ERROR, _MSG_BATCH_BEGIN, _MSG_BATCH_END = 2, 0x10, 0x11
_NEWRULE, _DELRULE, _NEWSETELEM, _DELSETELEM, _NEWGEN = 6, 8, 12, 14, 15

_REQUEST, _ACK, _CREATE, _APPEND = 0x1, 0x4, 0x400, 0x800
_NESTED = 0x8000

_META_TIME_NS = 30
_OP_HTON, _CMP_LT, _ACCEPT = 1, 2, 1
_REG_VERDICT, _REG_1 = 0, 1

_HEADER = struct.Struct("=IHHII")
_RECEIVE_BYTES = 1 << 16


def _attr(kind: int, payload: bytes) -> bytes:
    length = 4 + len(payload)
    return struct.pack("=HH", length, kind) + payload + b"\0" * (-length % 4)


def _nest(kind: int, *inside: bytes) -> bytes:
    return _attr(kind | _NESTED, b"".join(inside))


def _name(kind: int, name: str) -> bytes:
    return _attr(kind, name.encode() + b"\0")


def _u32(kind: int, value: int) -> bytes:
    return _attr(kind, struct.pack(">I", value))


def _message(
    kind: int, flags: int, sequence: int, payload: bytes, *, family: int, resource: int = 0
) -> bytes:
    body = struct.pack(">BBH", family, 0, resource) + payload
    return _HEADER.pack(_HEADER.size + len(body), kind, flags | _REQUEST, sequence, 0) + body


def _batch(operations: Iterable[tuple[int, int, bytes]]) -> tuple[bytes, int]:
    """The bytes of one transaction, and how many answers it will get."""
    parts = [_message(_MSG_BATCH_BEGIN, 0, 0, b"", family=0, resource=_SUBSYS_NFTABLES)]
    count = 0
    for kind, flags, payload in operations:
        count += 1
        parts.append(
            _message((_SUBSYS_NFTABLES << 8) | kind, flags | _ACK, count, payload, family=_FAMILY_INET)
        )
    parts.append(_message(_MSG_BATCH_END, 0, count + 1, b"", family=0, resource=_SUBSYS_NFTABLES))
    return b"".join(parts), count


def _element(port: int, timeout_ms: int | None) -> bytes:
    inside = [_nest(1, _attr(1, struct.pack(">H", port)))]  # SET_ELEM_KEY { DATA_VALUE }
    if timeout_ms is not None:
        inside.append(_attr(4, struct.pack(">Q", timeout_ms)))  # SET_ELEM_TIMEOUT
    return _name(1, TABLE_NAME) + _name(2, OPEN_SET) + _nest(3, _nest(1, *inside))


def _expression(name: str, *data: bytes) -> bytes:
    return _nest(1, _name(1, name), _nest(2, *data))


def _passing_until(wall_ns: int) -> bytes:
    """The rule `meta time < wall_ns accept`."""
    expressions = (
        _expression("meta", _u32(2, _META_TIME_NS), _u32(1, _REG_1)),
        _expression("byteorder", _u32(1, _REG_1), _u32(2, _REG_1), _u32(3, _OP_HTON), _u32(4, 8), _u32(5, 8)),
        _expression("cmp", _u32(1, _REG_1), _u32(2, _CMP_LT), _nest(3, _attr(1, struct.pack(">Q", wall_ns)))),
        _expression("immediate", _u32(1, _REG_VERDICT), _nest(2, _nest(2, _u32(1, _ACCEPT)))),
    )
    return _name(1, TABLE_NAME) + _name(2, PASSING_CHAIN) + _nest(4, *expressions)


_ALL_PASSING = (_DELRULE, 0, _name(1, TABLE_NAME) + _name(2, PASSING_CHAIN))
_ALL_OPEN = (_DELSETELEM, 0, _name(1, TABLE_NAME) + _name(2, OPEN_SET))


class GateKernel:
    """A netlink socket that owns this process's changes to the table. Use from one thread at a time."""

    def __init__(self, timeout_s: float = 1.0) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER
        )
        self._socket.bind((0, 0))
        self._socket.settimeout(timeout_s)

    @property
    def port_id(self) -> int:
        """What the kernel writes into the events our own transactions cause."""
        return int(self._socket.getsockname()[0])

    def open(self, port: int, timeout_ms: int, until_wall_ns: int) -> None:
        """Element and bound in one transaction. add, delete, add: adding what is there renews nothing.

        Raises OSError when the kernel refused; nothing of the transaction has happened then.
        """
        self._commit(
            (_NEWSETELEM, _CREATE, _element(port, timeout_ms)),
            (_DELSETELEM, 0, _element(port, None)),
            (_NEWSETELEM, _CREATE, _element(port, timeout_ms)),
            _ALL_PASSING,
            (_NEWRULE, _CREATE | _APPEND, _passing_until(until_wall_ns)),
        )

    def shut(self) -> None:
        """End every opening in one transaction. Raises OSError."""
        self._commit(_ALL_OPEN, _ALL_PASSING)

    def close(self) -> None:
        self._socket.close()

    def _commit(self, *operations: tuple[int, int, bytes]) -> None:
        self._drop_old_answers()
        batch, awaited = _batch(operations)
        self._socket.sendto(batch, (0, 0))
        while awaited:
            for kind, payload in _messages(self._socket.recv(_RECEIVE_BYTES)):
                if kind != _MSG_ERROR:
                    continue
                (error,) = struct.unpack_from("=i", payload)
                if error:
                    raise OSError(-error, os.strerror(-error))
                awaited -= 1

    def _drop_old_answers(self) -> None:
        """Whatever a timed-out transaction answered late must not be taken for this one's answer."""
        timeout = self._socket.gettimeout()
        self._socket.setblocking(False)
        try:
            while self._socket.recv(_RECEIVE_BYTES):
                pass
        except BlockingIOError:
            pass
        finally:
            self._socket.settimeout(timeout)


@dataclass(frozen=True, slots=True)
class TableTouched:
    """A transaction changed something of our table."""

    by: int  # the netlink port id of whoever did it: usually its process id


class GateWatch:
    """Hears every change of nftables in this network namespace."""

    def __init__(self) -> None:
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER
        )
        self._socket.bind((0, 1 << (_GROUP_NFTABLES - 1)))

    def changes(self) -> Iterator[TableTouched]:
        """For ever: one value per transaction message that touches our table; by 0 when we lost count."""
        while True:
            try:
                data = self._socket.recv(_RECEIVE_BYTES)
            except OSError:  # ENOBUFS: the kernel dropped events because we were slow
                yield TableTouched(by=0)
                continue
            touched = {by for by, payload in _events(data) if _names_our_table(payload)}
            yield from (TableTouched(by) for by in sorted(touched))

    def close(self) -> None:
        self._socket.close()


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    for kind, _by, payload in _split(data):
        yield kind, payload


def _events(data: bytes) -> Iterator[tuple[int, bytes]]:
    for kind, by, payload in _split(data):
        if kind >> 8 == _SUBSYS_NFTABLES and kind & 0xFF != _NEWGEN:
            yield by, payload


def _split(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    offset = 0
    while offset + _HEADER.size <= len(data):
        length, kind, _flags, _sequence, by = _HEADER.unpack_from(data, offset)
        if length < _HEADER.size:
            return
        yield kind, by, data[offset + _HEADER.size : offset + length]
        offset += (length + 3) & ~3


def _names_our_table(payload: bytes) -> bool:
    """In tables, chains, rules, sets and elements alike the first attribute type is the table's name."""
    offset = 4
    while offset + 4 <= len(payload):
        length, kind = struct.unpack_from("=HH", payload, offset)
        if length < 4:
            return False
        if kind & 0x3FFF == 1:
            return payload[offset + 4 : offset + length].rstrip(b"\0") == TABLE_NAME.encode()
        offset += (length + 3) & ~3
    return False
