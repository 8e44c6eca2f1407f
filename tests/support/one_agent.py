"""`failoverctl` as it is started, and an agent that answers it over a real socket."""

from __future__ import annotations

import json
import os
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import yaml
from click.testing import CliRunner, Result

from failover_agent.cli import ctl
from tests.unit.test_config import GOOD

Plain = dict[str, Any]


class OneAgent:
    """Answers each path as it was told to, and keeps what it was asked."""

    def __init__(self, place: Path) -> None:
        self.config = place / "agent.yml"
        self.socket = place / "control.sock"
        self.config.write_text(yaml.safe_dump({**GOOD, "run_dir": str(place)}))
        self.answers: dict[str, Callable[[Plain], Plain]] = {}
        self.asked: list[tuple[str, Plain]] = []

    def answer(self, path: str, body: Plain) -> tuple[int, Plain]:
        self.asked.append((path, body))
        if path not in self.answers:
            return 404, {"why": f"no {path}"}
        told = self.answers[path](body)
        return (409 if told.get("ok") is False else 200), told

    def hears(self, *words: str, terminal: str | None = None) -> Result:
        """What `failoverctl WORDS` said and how it ended; `terminal`: what a person types there."""
        arguments = ["--config", str(self.config), *words]
        if terminal is None:
            return CliRunner().invoke(ctl.main, arguments)
        keyboard, line = os.openpty()
        os.write(keyboard, terminal.encode())
        try:
            with open(line, "rb") as typed:  # noqa: PTH123  # a descriptor
                return CliRunner().invoke(ctl.main, arguments, input=typed)
        finally:
            os.close(keyboard)


@contextmanager
def one_agent(place: Path) -> Iterator[OneAgent]:
    one = OneAgent(place)

    class Door(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            status, told = one.answer(self.path, json.loads(body or b"{}"))
            plain = json.dumps(told).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(plain)))
            self.end_headers()
            self.wfile.write(plain)

        do_POST = do_GET

        def log_message(self, format: str, *args: object) -> None: ...

    with socketserver.ThreadingUnixStreamServer(str(one.socket), Door) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield one
        server.shutdown()
