"""What an agent answers: to its peers over mTLS, to people over the Unix socket, to load balancers.

GET  /archive?file= /restore?file=&segment_bytes= of PostgreSQL's user on this node
GET  /status /cluster /primary /replica /health /metrics
POST /wake /rejoin {"name"} /switchover {"to"} /vote {seal} /seal {seal}
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol
from urllib.parse import parse_qs

from failover_agent.adapters import metrics, report_json, seal_json
from failover_agent.core.model import NodeReport, Server, ServerState
from failover_agent.core.seals import Seal, Sealed
from failover_agent.errors import AgentError

MOST_BODY_BYTES = 64 * 1024
_FOR_POSTGRES = ("/archive", "/restore")
_STATUS = {
    200: "200 OK",
    400: "400 Bad Request",
    403: "403 Forbidden",
    404: "404 Not Found",
    405: "405 Method Not Allowed",
    409: "409 Conflict",
    500: "500 Internal Server Error",
    503: "503 Service Unavailable",
}

StartResponse = Callable[[str, list[tuple[str, str]]], Any]


class AgentDoor(Protocol):
    """What of the agent others may reach; `shell.agent.Agent` is one."""

    def report(self) -> NodeReport: ...

    def cluster(self) -> dict[str, object]: ...

    def wake(self) -> None: ...

    def grant_rejoin(self, name: str) -> bool: ...

    def vote(self, asked: Seal) -> str: ...

    def seal(self, asked: Seal) -> Sealed: ...

    def request_switchover(self, to: str) -> dict[str, object]: ...

    def request_failover(self, to: str, accept_loss: bool) -> dict[str, object]: ...

    def may_archive(self, name: str) -> dict[str, object]: ...

    def may_restore(self, name: str, segment_bytes: int) -> dict[str, object]: ...


class Answer(Exception):
    """A way out of any depth: this status, this body."""

    def __init__(self, status: int, body: object) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


class App:
    """A WSGI application over one agent."""

    def __init__(self, agent: AgentDoor, members: Iterable[str], postgres_uid: int | None = None) -> None:
        self._agent = agent
        self._members = frozenset(members)
        self._postgres_uid = str(postgres_uid)
        self._routes: dict[tuple[str, str], Callable[[Mapping[str, Any]], tuple[int, object]]] = {
            ("GET", "/status"): lambda _: (200, report_json.encode(agent.report())),
            ("GET", "/cluster"): lambda _: (200, agent.cluster()),
            ("GET", "/primary"): lambda _: self._is(ServerState.PRIMARY),
            ("GET", "/replica"): lambda _: self._is(ServerState.STANDBY),
            ("GET", "/health"): lambda _: self._health(),
            ("GET", "/metrics"): lambda _: (200, metrics.text(agent.report())),
            ("GET", "/archive"): self._archive,
            ("GET", "/restore"): self._restore,
            ("POST", "/wake"): self._wake,
            ("POST", "/rejoin"): self._rejoin,
            ("POST", "/switchover"): self._switchover,
            ("POST", "/failover"): self._failover,
            ("POST", "/vote"): lambda e: (200, {"why_not": agent.vote(_asked_seal(e))}),
            ("POST", "/seal"): self._seal,
        }

    def __call__(self, environ: Mapping[str, Any], start_response: StartResponse) -> list[bytes]:
        try:
            status, body = self._answer(environ)
        except Answer as answer:
            status, body = answer.status, answer.body
        except Exception as error:  # whatever it is, the asker gets an answer and the server lives on
            status, body = 500, {"why": f"{type(error).__name__}: {error}"}
        plain = body if isinstance(body, bytes) else json.dumps(body).encode()
        kind = "text/plain; version=0.0.4" if isinstance(body, bytes) else "application/json"
        start_response(_STATUS[status], [("Content-Type", kind), ("Content-Length", str(len(plain)))])
        return [plain]

    def _answer(self, environ: Mapping[str, Any]) -> tuple[int, object]:
        path, method = str(environ.get("PATH_INFO", "")), str(environ.get("REQUEST_METHOD", ""))
        self._check_who(environ)
        method = "GET" if method == "HEAD" else method
        route = self._routes.get((method, path))
        if route is None:
            known = any(path == p for _, p in self._routes)
            raise Answer(405 if known else 404, {"why": f"no {method} {path}"})
        return route(environ)

    def _check_who(self, environ: Mapping[str, Any]) -> None:
        """Over TLS only certificates of members; over the Unix socket root, and PostgreSQL for its WAL."""
        if environ.get("wsgi.url_scheme") == "https":
            name = environ.get("SSL_CLIENT_S_DN_CN", "")
            if name not in self._members:
                raise Answer(403, {"why": f"the certificate of {name!r} is no member's"})
        elif environ.get("X_REMOTE_UID") == self._postgres_uid and environ.get("PATH_INFO") in _FOR_POSTGRES:
            return
        elif environ.get("X_REMOTE_UID") != "0":
            raise Answer(403, {"why": "only root may use the control socket"})

    def _is(self, wanted: ServerState) -> tuple[int, object]:
        report = self._agent.report()
        server = report.server
        state = server.state if isinstance(server, Server) else None
        fine = state is wanted and (report.serving if wanted is ServerState.PRIMARY else report.reads_open)
        return (200 if fine else 503), {
            "role": state.value if state else "unknown",
            "serving": report.serving,
            "reads_open": report.reads_open,
        }

    def _health(self) -> tuple[int, object]:
        server = self._agent.report().server
        well = isinstance(server, Server) and server.state in (ServerState.PRIMARY, ServerState.STANDBY)
        return (200 if well else 503), {"healthy": well}

    def _wake(self, _: Mapping[str, Any]) -> tuple[int, object]:
        self._agent.wake()
        return 200, {}

    def _rejoin(self, environ: Mapping[str, Any]) -> tuple[int, object]:
        name = _text(_body(environ), "name")
        if name not in self._members:
            raise Answer(400, {"why": f"{name!r} is no member"})
        return 200, {"granted": self._agent.grant_rejoin(name)}

    def _archive(self, environ: Mapping[str, Any]) -> tuple[int, object]:
        return 200, self._agent.may_archive(_asked(environ, "file"))

    def _restore(self, environ: Mapping[str, Any]) -> tuple[int, object]:
        size = _asked(environ, "segment_bytes")
        if not size.isdecimal() or not 1 << 20 <= int(size) <= 1 << 30:
            raise Answer(400, {"why": f"segment_bytes {size!r} is no size of a WAL segment"})
        return 200, self._agent.may_restore(_asked(environ, "file"), int(size))

    def _seal(self, environ: Mapping[str, Any]) -> tuple[int, object]:
        try:
            return 200, {"sealed": seal_json.encode(self._agent.seal(_asked_seal(environ)))}
        except AgentError as error:
            return 409, {"why": str(error.args[0]), "hint": error.hint}

    def _switchover(self, environ: Mapping[str, Any]) -> tuple[int, object]:
        to = _text(_body(environ), "to")
        if to and to not in self._members:
            members = ", ".join(sorted(self._members))
            why = f"{to!r} is no member of this cluster"
            return 400, {"ok": False, "why": why, "hint": f"The members are {members}."}
        outcome = self._agent.request_switchover(to)
        return (200 if outcome.get("ok") else 409), outcome

    def _failover(self, environ: Mapping[str, Any]) -> tuple[int, object]:
        body = _body(environ)
        to = _text(body, "to")
        if to not in self._members:
            members = ", ".join(sorted(self._members))
            why = f"{to!r} is no member of this cluster"
            return 400, {"ok": False, "why": why, "hint": f"The members are {members}."}
        outcome = self._agent.request_failover(to, accept_loss=body.get("accept_loss") is True)
        return (200 if outcome.get("ok") else 409), outcome


def _asked(environ: Mapping[str, Any], key: str) -> str:
    values = parse_qs(str(environ.get("QUERY_STRING", ""))).get(key, [""])
    return values[0]


def _body(environ: Mapping[str, Any]) -> Mapping[str, Any]:
    try:
        length = int(environ.get("CONTENT_LENGTH") or 0)
        if length > MOST_BODY_BYTES:
            raise ValueError("too long")
        plain = json.loads(environ["wsgi.input"].read(length) or b"{}")
    except ValueError as error:
        raise Answer(400, {"why": f"the body is no JSON: {error}"}) from error
    if not isinstance(plain, dict):
        raise Answer(400, {"why": "the body is no object"})
    return plain


def _asked_seal(environ: Mapping[str, Any]) -> Seal:
    try:
        return seal_json.decode_seal(_body(environ))
    except seal_json.NotASeal as error:
        raise Answer(400, {"why": f"no seal: {error}"}) from error


def _text(body: Mapping[str, Any], key: str) -> str:
    value = body.get(key, "")
    if not isinstance(value, str):
        raise Answer(400, {"why": f"{key} must be a string"})
    return value
