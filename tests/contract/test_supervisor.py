"""What every Supervisor promises: it is told, and telling never disturbs who tells."""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from failover_agent.adapters.systemd import NotifySupervisor
from failover_agent.ports import Supervisor
from tests.support.machine import Systemd

READY, ALIVE = "ready", "alive"


@dataclass(frozen=True)
class Told:
    """A supervisor, and what it was told since the last question: (ready or alive, status)."""

    supervisor: Supervisor
    heard: Callable[[], list[tuple[str, str]]]


def notified(address: str | bytes, shown: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    """systemd's end of the socket whose address the environment shows as `shown`."""
    monkeypatch.setenv("NOTIFY_SOCKET", shown)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ear:
        ear.bind(address)
        ear.setblocking(False)

        def heard() -> list[tuple[str, str]]:
            told: list[tuple[str, str]] = []
            while True:
                try:
                    lines = ear.recv(4096).decode().splitlines()
                except BlockingIOError:
                    return told
                fields = dict(line.split("=", 1) for line in lines)
                # sd_notify(3): both are "1", and one message may carry several assignments.
                told.append((READY if fields.get("READY") == "1" else ALIVE, fields["STATUS"]))
                assert (fields.get("WATCHDOG") == "1") is (told[-1][0] == ALIVE), fields

        yield Told(NotifySupervisor(), heard)


def in_memory() -> Told:
    systemd = Systemd()

    def heard() -> list[tuple[str, str]]:
        told, systemd.told = systemd.told, []
        return told

    return Told(systemd, heard)


@pytest.fixture(params=["memory", "socket", "abstract socket"])
def told(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Told]:
    if request.param == "memory":
        yield in_memory()
    elif request.param == "socket":
        yield from notified(str(tmp_path / "notify"), str(tmp_path / "notify"), monkeypatch)
    else:
        name = f"primacy-contract-{os.getpid()}"
        yield from notified(b"\0" + name.encode(), f"@{name}", monkeypatch)


def test_what_is_told_arrives_at_once_whole_and_in_order(told: Told) -> None:
    told.supervisor.ready("running")
    assert told.heard() == [(READY, "running")]

    told.supervisor.alive("serve")
    told.supervisor.alive("lease = mine; é")
    assert told.heard() == [(ALIVE, "serve"), (ALIVE, "lease = mine; é")]


def test_nothing_is_said_that_was_not_told(told: Told) -> None:
    assert told.heard() == []


@pytest.mark.parametrize("where", ["", "/nowhere/notify"])
def test_without_a_systemd_that_listens_telling_is_no_trouble(
    where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", where)
    supervisor = NotifySupervisor()

    supervisor.ready("running")
    supervisor.alive("serve")


def test_a_systemd_whose_queue_is_full_holds_nobody_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = str(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", address)
    with (
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as deaf,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as flood,
    ):
        deaf.bind(address)
        flood.setblocking(False)
        with contextlib.suppress(BlockingIOError):  # full now
            while True:
                flood.sendto(b"x", address)

        NotifySupervisor().alive("serve")  # returns: within the bound of its own
