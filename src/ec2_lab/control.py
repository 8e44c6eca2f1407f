"""How the command line talks to a running lab: JSON over HTTP on a Unix socket only root may open.

    GET  /status  /hosts  /history?count=N
    POST /fault   {"verb": "crash", "host": "db1", "peer": null}

An error is `{"error": class, "message": …, "hint": …}` with status 400 when it was foreseen, 500 otherwise.
"""

from __future__ import annotations

import json
import logging
import socket
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from ec2_lab import errors
from ec2_lab.errors import LabError, NoSuchLab
from ec2_lab.model import LabPaths

if TYPE_CHECKING:
    from ec2_lab.ports import Region

log = logging.getLogger(__name__)

ANSWER_TIMEOUT_S = 100.0  # longer than any verb of the region may take
REQUEST_BYTES_MAX = 65536

HOST_VERBS = (
    "crash",
    "start",
    "pause",
    "resume",
    "heal",
    "disk-hang",
    "disk-free",
    "disk-fill",
    "disk-empty",
)

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def app(region: Region, about: Callable[[], dict[str, object]]) -> Wsgi:
    """The WSGI application; `about` gives what the daemon itself knows (added to the status)."""

    def answer(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        status = "200 OK"
        try:
            found = _dispatch(region, about, environ)
        except LabError as foreseen:
            status = "400 Bad Request"
            found = {"error": type(foreseen).__name__, "message": foreseen.args[0], "hint": foreseen.hint}
        except Exception as unforeseen:  # the command line must hear of it, and the daemon live on
            log.exception("control request failed")
            status = "500 Internal Server Error"
            found = {
                "error": "LabError",
                "message": f"{type(unforeseen).__name__}: {unforeseen}",
                "hint": "the lab's log, daemon.log beside its socket, has the whole story",
            }
        body = json.dumps(found, default=str).encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        start_response(status, headers)
        return [body]

    return answer


def _dispatch(region: Region, about: Callable[[], dict[str, object]], environ: dict[str, Any]) -> object:
    path, query = environ["PATH_INFO"], environ.get("QUERY_STRING", "")
    if environ["REQUEST_METHOD"] == "POST" and path == "/fault":
        _fault(region, json.loads(environ["wsgi.input"].read(REQUEST_BYTES_MAX)))
        return {}
    if path == "/hosts":
        return region.hosts()
    if path == "/status":
        return {**about(), **region.status()}
    if path == "/history":
        return region.history(int(query.removeprefix("count=") or 100))
    raise LabError(f"the control interface has no {path}", hint="stop and start the lab: it is an older one")


def _fault(region: Region, order: dict[str, Any]) -> None:
    verb, host, peer = order["verb"], order.get("host"), order.get("peer")
    if verb == "api" and "fault" in order:
        region.api_fault(str(order["fault"]), float(order["value"]))
    elif verb == "api":
        region.api(bool(order["reachable"]))
    elif verb == "cut":
        region.cut(str(host), peer, bool(order.get("one_way")))
    elif verb in HOST_VERBS:
        getattr(region, verb.replace("-", "_"))(str(host))
    else:
        raise LabError(f"there is no fault {verb}", hint=f"there are: {', '.join(HOST_VERBS)}, cut, api")


def call(paths: LabPaths, path: str, order: dict[str, object] | None = None) -> Any:
    """Ask a running lab; NoSuchLab when none of this name answers, its own LabError when it refuses."""
    from http.client import HTTPConnection, HTTPException

    connection = HTTPConnection("localhost", timeout=ANSWER_TIMEOUT_S)
    connection.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.sock.settimeout(ANSWER_TIMEOUT_S)
    try:
        connection.sock.connect(str(paths.control_socket))
        body = None if order is None else json.dumps(order)
        connection.request("GET" if body is None else "POST", path, body)
        response = connection.getresponse()
        status, found = response.status, json.loads(response.read())
    except TimeoutError as late:
        raise LabError(
            f"lab {paths.name} did not answer {path} within {ANSWER_TIMEOUT_S:g} s",
            hint=f"{paths.run}/daemon.log may say why; `ec2-lab down` removes the lab",
        ) from late
    except (OSError, HTTPException) as gone:
        raise NoSuchLab(f"no lab called {paths.name} is up", hint="start it: ec2-lab up") from gone
    finally:
        connection.close()
    if status != 200:
        kind = getattr(errors, str(found["error"]), LabError)
        raise kind(found["message"], hint=found["hint"])
    return found
