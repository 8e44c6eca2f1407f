"""What a command of this node makes of its agent's answers."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from failover_agent.adapters.control_client import Control, NoAgent, Refused
from failover_agent.errors import ModeRefused

# As cheroot says it to who connects and is silent for too long.
TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


def said(body: str, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()


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


@pytest.mark.parametrize("body", ["[]", "3", "null", "no JSON", ""])
def test_what_is_no_object_is_no_answer(tmp_path: Path, body: str) -> None:
    with agent(tmp_path, said(body)) as control, pytest.raises(NoAgent):
        control.switchover("db2")


@pytest.mark.parametrize(
    ("status", "remedy"),
    [
        ("403 Forbidden", "as root"),
        ("404 Not Found", "another release"),
        ("405 Method Not Allowed", "another release"),
        ("500 Internal Server Error", "a mistake in the agent"),
        ("409 Conflict", "on the primary"),
    ],
)
def test_where_an_answer_says_only_why_its_status_says_what_to_do(
    tmp_path: Path, status: str, remedy: str
) -> None:
    with agent(tmp_path, said('{"why": "no"}', status)) as control, pytest.raises(Refused) as refused:
        control.switchover("db2")

    assert (refused.value.args[0], remedy in refused.value.hint) == ("no", True), refused.value.hint


@pytest.mark.parametrize("status", ["403 Forbidden", "409 Conflict", "500 Internal Server Error"])
def test_a_status_that_is_refused_is_no_status(tmp_path: Path, status: str) -> None:
    with agent(tmp_path, said('{"why": "no"}', status)) as control, pytest.raises(Refused, match="no"):
        control.cluster()


def test_a_refusal_is_told_by_the_agents_own_words(tmp_path: Path) -> None:
    error = ModeRefused.about("mode strict", value="1 streams", expected="2", hint="Bring one back.")
    plain = json.dumps(error.refusal("switch to mode strict"))

    with agent(tmp_path, said(plain, "409 Conflict")) as control, pytest.raises(Refused) as refused:
        control.switch_mode("strict")

    assert refused.value.fields() == error.fields()


def test_a_refusal_of_the_release_before_has_no_empty_field_either(tmp_path: Path) -> None:
    plain = '{"ok": false, "why": "no standby can take over", "hint": "Wait."}'

    with agent(tmp_path, said(plain, "409 Conflict")) as control, pytest.raises(Refused) as refused:
        control.switchover("")

    assert refused.value.fields() == {
        "error": "PeerRefused",
        "object": "switchover to the best standby",
        "value": "no standby can take over",
        "expected": "to be carried out",
        "remedy": "Wait.",
        "message": "no standby can take over",
    }
