"""What a command of this node makes of its agent's answers."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from failover_agent.adapters.control_client import Control, NoAgent

# As cheroot says it to who connects and is silent for too long.
TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def said(body: str) -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()


@contextmanager
def agent(place: Path, *answers: bytes) -> Iterator[Control]:
    """One that gives these answers, one a connection."""
    left = list(answers)

    class Answer(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while self.rfile.readline().strip():
                pass
            self.wfile.write(left.pop(0))

    path = place / "control.sock"
    with socketserver.UnixStreamServer(str(path), Answer) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield Control(path)
        server.shutdown()


def test_who_was_too_slow_to_ask_asks_once_more(tmp_path: Path) -> None:
    with agent(tmp_path, TOO_SLOW, said('{"epoch": 7}')) as control:
        assert control.cluster() == {"epoch": 7}


def test_what_is_no_answer_twice_is_none(tmp_path: Path) -> None:
    with agent(tmp_path, TOO_SLOW, TOO_SLOW) as control, pytest.raises(NoAgent):
        control.cluster()


def test_an_order_is_given_once(tmp_path: Path) -> None:
    with agent(tmp_path, TOO_SLOW, said('{"ok": true}')) as control, pytest.raises(NoAgent):
        control.switchover("db2")
