"""What an agent answers: to members over mTLS; on its own node to root, and to PostgreSQL, over Unix sockets.

GET  /archive?file= /restore?file=&segment_bytes= of PostgreSQL's user on this node
GET  /status?holds=EPOCH of a member that says it holds the lease
GET  /status /cluster /primary /replica /health /metrics
POST /unfence /confirm-fenced {"name"} of people on this node
POST /wake /rejoin {"name"} /vote {seal} /seal {seal}
POST /switchover {"to"} /failover {"to", "accept_loss"} /mode {"mode"} /pause {"pause"}
POST of members only: /promise {promise} /relay/lease {write} /relay/routes {"vip"} /relay/route {change}
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol, cast, get_args
from urllib.parse import parse_qs

from failover_agent.adapters import metrics, relay_json, report_json, seal_json
from failover_agent.core.model import (
    LeaseItem,
    Mode,
    NodeReport,
    Server,
    ServerState,
    Unknown,
    Version,
    WriteOutcome,
)
from failover_agent.core.promises import Promise
from failover_agent.core.relay import RouteChange
from failover_agent.core.seals import Seal, Sealed
from failover_agent.errors import AgentError, PeerRefused

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

    def report_to(self, name: str, epoch: int) -> NodeReport: ...

    def cluster(self) -> dict[str, object]: ...

    def wake(self) -> None: ...

    def grant_rejoin(self, name: str) -> bool: ...

    def vote(self, asked: Seal) -> str: ...

    def seal(self, asked: Seal) -> Sealed: ...

    def promise(self, asked: Promise) -> str: ...

    def relay_write(self, asker: str, item: LeaseItem, only_if: Version) -> WriteOutcome: ...

    def relay_targets(self, vip: str) -> Mapping[str, str] | Unknown: ...

    def relay_point(self, asker: str, change: RouteChange) -> Unknown | None: ...

    def request_switchover(self, to: str) -> dict[str, object]: ...

    def request_mode(self, mode: Mode) -> dict[str, object]: ...

    def request_pause(self, pause: bool) -> dict[str, object]: ...

    def request_failover(self, to: str, accept_loss: bool) -> dict[str, object]: ...

    def unfence(self, name: str) -> dict[str, object]: ...

    def confirm_fenced(self, name: str) -> dict[str, object]: ...

    def may_archive(self, name: str) -> dict[str, object]: ...

    def may_restore(self, name: str, segment_bytes: int) -> dict[str, object]: ...


class Journal(Protocol):
    """Where a mistake is told; `shell.journal.Journal` is one."""

    def trouble(self, where: str, why: object) -> None: ...

    def fine(self, where: str) -> None: ...


class Answer(Exception):
    """A way out of any depth: this status, this body."""

    def __init__(self, status: int, body: object) -> None:
        super().__init__(status)
        self.status = status
        self.body = body


class App:
    """A WSGI application over one agent."""

    def __init__(
        self,
        agent: AgentDoor,
        members: Iterable[str],
        postgres_uid: int | None = None,
        journal: Journal | None = None,
    ) -> None:
        self._agent = agent
        self._journal = journal
        self._mistaken: set[str] = set()  # what was last answered with a mistake of ours
        self._members = frozenset(members)
        self._postgres_uid = str(postgres_uid)
        self._routes: dict[tuple[str, str], Callable[[Mapping[str, Any]], tuple[int, object]]] = {
            ("GET", "/status"): self._status,
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
            ("POST", "/mode"): self._mode,
            ("POST", "/pause"): self._pause,
            ("POST", "/unfence"): lambda e: self._for_a_person(e, agent.unfence),
            ("POST", "/confirm-fenced"): lambda e: self._for_a_person(e, agent.confirm_fenced),
            ("POST", "/vote"): lambda e: (200, {"why_not": agent.vote(_asked_seal(e))}),
            ("POST", "/seal"): self._seal,
            ("POST", "/promise"): self._promise,
            ("POST", "/relay/lease"): self._relay_lease,
            ("POST", "/relay/routes"): self._relay_routes,
            ("POST", "/relay/route"): self._relay_route,
        }

    def __call__(self, environ: Mapping[str, Any], start_response: StartResponse) -> list[bytes]:
        asked = f"{environ.get('REQUEST_METHOD', '')} {environ.get('PATH_INFO', '')}"
        try:
            status, body = self._answer(environ)
            self._went_well(asked)
        except Answer as answer:
            status, body = answer.status, answer.body
        except relay_json.NotUnderstood as error:
            status, body = 400, {"why": str(error)}
        except AgentError as error:
            status, body = 409, error.refusal(asked)
        except Exception as error:  # whatever it is, the asker gets an answer and the server lives on
            status, body = 500, {"ok": False, "why": self._mistake(asked, error)}
        plain = body if isinstance(body, bytes) else json.dumps(body).encode()
        kind = "text/plain; version=0.0.4" if isinstance(body, bytes) else "application/json"
        start_response(_STATUS[status], [("Content-Type", kind), ("Content-Length", str(len(plain)))])
        return [plain]

    def _mistake(self, asked: str, error: Exception) -> str:
        """Nothing that was foreseen: the journal has where it came up, for who repairs it."""
        why = f"{type(error).__name__}: {error}"
        if self._journal is not None:
            place = traceback.extract_tb(error.__traceback__)[-1]
            self._mistaken.add(asked)
            self._journal.trouble(
                f"answering {asked}", f"{why} (a mistake, {Path(place.filename).name}:{place.lineno})"
            )
        return why

    def _went_well(self, asked: str) -> None:
        if self._journal is not None and asked in self._mistaken:
            self._mistaken.discard(asked)
            self._journal.fine(f"answering {asked}")

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

    def _status(self, environ: Mapping[str, Any]) -> tuple[int, object]:
        """What a member says of itself counts in the name of its certificate only."""
        name, holds = str(environ.get("SSL_CLIENT_S_DN_CN", "")), _asked(environ, "holds")
        if environ.get("wsgi.url_scheme") == "https" and holds.isdecimal() and int(holds):
            return 200, report_json.encode(self._agent.report_to(name, int(holds)))
        return 200, report_json.encode(self._agent.report())

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
        name = self._member(_text(_body(environ), "name"))
        return 200, {"granted": self._agent.grant_rejoin(name)}

    def _archive(self, environ: Mapping[str, Any]) -> tuple[int, object]:
        return 200, self._agent.may_archive(_asked(environ, "file"))

    def _restore(self, environ: Mapping[str, Any]) -> tuple[int, object]:
        size = _asked(environ, "segment_bytes")
        if not size.isdecimal() or not 1 << 20 <= int(size) <= 1 << 30:
            raise Answer(400, {"why": f"segment_bytes {size!r} is no size of a WAL segment"})
        return 200, self._agent.may_restore(_asked(environ, "file"), int(size))

    def _seal(self, environ: Mapping[str, Any]) -> tuple[int, object]:
        return 200, {"sealed": seal_json.encode(self._agent.seal(_asked_seal(environ)))}

    def _for_a_person(
        self, environ: Mapping[str, Any], order: Callable[[str], dict[str, object]]
    ) -> tuple[int, object]:
        """About a member, and over the Unix socket only: no other node has a say in it."""
        if environ.get("wsgi.url_scheme") == "https":
            raise Answer(403, {"why": "only people on this node may say that"})
        return 200, order(self._member(_text(_body(environ), "name")))

    def _member(self, name: str) -> str:
        if name not in self._members:
            members = ", ".join(sorted(self._members))
            raise _impossible(f"node {name!r}", "no member of this cluster", f"one of {members}")
        return name

    def _promise(self, environ: Mapping[str, Any]) -> tuple[int, object]:
        asker, asked = _certified(environ), relay_json.decode_promise(_body(environ))
        if asked.holder.name != asker:
            raise Answer(403, {"why": f"{asker} asks in the name of {asked.holder.name}"})
        return 200, {"why_not": self._agent.promise(asked)}

    def _relay_lease(self, environ: Mapping[str, Any]) -> tuple[int, object]:
        item, only_if = relay_json.decode_write(_body(environ))
        return 200, relay_json.encode_outcome(self._agent.relay_write(_certified(environ), item, only_if))

    def _relay_routes(self, environ: Mapping[str, Any]) -> tuple[int, object]:
        _certified(environ)
        shown = self._agent.relay_targets(_text(_body(environ), "vip"))
        return 200, {"why": shown.why} if isinstance(shown, Unknown) else {"targets": dict(shown)}

    def _relay_route(self, environ: Mapping[str, Any]) -> tuple[int, object]:
        change = relay_json.decode_change(_body(environ))
        answer = self._agent.relay_point(_certified(environ), change)
        return 200, {"done": answer is None, "why": answer.why if answer else ""}

    def _switchover(self, environ: Mapping[str, Any]) -> tuple[int, object]:
        to = _text(_body(environ), "to")
        return _outcome(self._agent.request_switchover(self._member(to) if to else ""))

    def _mode(self, environ: Mapping[str, Any]) -> tuple[int, object]:
        mode = _text(_body(environ), "mode")
        if mode not in get_args(Mode):
            raise _impossible(f"mode {mode!r}", "there is none", f"one of {', '.join(get_args(Mode))}")
        return _outcome(self._agent.request_mode(cast(Mode, mode)))

    def _pause(self, environ: Mapping[str, Any]) -> tuple[int, object]:
        pause = _body(environ).get("pause")
        if not isinstance(pause, bool):
            raise _impossible("pause", repr(pause), "true, or false to resume")
        return _outcome(self._agent.request_pause(pause))

    def _failover(self, environ: Mapping[str, Any]) -> tuple[int, object]:
        body = _body(environ)
        to, accepts = self._member(_text(body, "to")), body.get("accept_loss") is True
        return _outcome(self._agent.request_failover(to, accept_loss=accepts))


def _outcome(told: dict[str, object]) -> tuple[int, object]:
    return (200 if told.get("ok") else 409), told


def _impossible(object: str, value: str, expected: str) -> Answer:
    """What no node could carry out, at any time."""
    error = PeerRefused.about(object, value=value, expected=expected, hint=f"Say {expected}.")
    return Answer(400, error.refusal(object))


def _certified(environ: Mapping[str, Any]) -> str:
    """The asker's name by its certificate: what is asked in a node's name only that node may ask."""
    if environ.get("wsgi.url_scheme") != "https":
        raise Answer(403, {"why": "only members ask this, with their certificates"})
    return str(environ.get("SSL_CLIENT_S_DN_CN", ""))


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
