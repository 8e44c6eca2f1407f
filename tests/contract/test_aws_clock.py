"""A host whose clock is wrong keeps its lease (PROTOCOL L7), against a server that checks the date."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from failover_agent.adapters.aws_clock import SERVER_CLOCK, ServerClock
from failover_agent.adapters.dynamodb import DynamoLeaseStore
from failover_agent.core.model import Unknown

from .moto_server import TABLE, dynamodb_client

TOLERATED = timedelta(minutes=5)  # of SigV4's date, as DynamoDB does


class Strict(BaseHTTPRequestHandler):
    """Answers GetItem with no item; refuses a date that is not its own. Its clock is `ahead` of ours."""

    ahead = timedelta()
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        now = datetime.now(UTC) + self.ahead
        signed = datetime.strptime(self.headers["X-Amz-Date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
        scope = self.headers["Authorization"].split("Credential=")[1].split("/")[1]
        fine = abs(now - signed) <= TOLERATED and scope == f"{signed:%Y%m%d}"
        problem = {"__type": "InvalidSignatureException", "message": "Signature expired"}
        body = json.dumps({} if fine else problem).encode()
        self.send_response_only(200 if fine else 400)
        self.send_header("Date", format_datetime(now, usegmt=True))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None: ...


@pytest.fixture(params=[timedelta(hours=-30), timedelta(minutes=20)], ids=str)
def store(request: pytest.FixtureRequest) -> Iterator[DynamoLeaseStore]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Ahead", (Strict,), {"ahead": request.param}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    yield DynamoLeaseStore(dynamodb_client(url), table=TABLE, cluster="primacy", request_timeout_s=30)
    server.shutdown()
    SERVER_CLOCK.offset_s = 0.0


def test_the_first_refusal_teaches_the_offset_and_the_next_request_is_taken(store: DynamoLeaseStore) -> None:
    refused = store.read()
    assert isinstance(refused, Unknown), "a refused signature is no answer about the lease"

    assert [store.read() for _ in range(3)] == [None, None, None]


def test_a_clock_that_is_right_is_left_alone() -> None:
    clock = ServerClock(wall=lambda: 1_000_000_000.0)
    for header, offset in (
        ("Sun, 09 Sep 2001 01:46:50 GMT", 0.0),
        ("Sun, 09 Sep 2001 02:46:40 GMT", 3600.0),
        ("Sun, 09 Sep 2001 01:46:30 GMT", 0.0),
    ):
        clock.learn({"date": header})
        assert clock.offset_s == offset


@pytest.mark.parametrize("header", [{}, {"date": "soon"}, {"date": ""}])
def test_an_answer_without_a_readable_date_changes_nothing(header: dict[str, str]) -> None:
    clock = ServerClock(wall=lambda: 0.0)
    clock.offset_s = 77.0
    clock.learn(header)
    assert clock.offset_s == 77.0
