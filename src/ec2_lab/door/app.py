"""The front door: every API call passes here, one at a time.

Invariant: between taking the lock and releasing it, a call is judged, done by moto, followed by
the kernel and written to the history. So what is atomic in AWS is atomic here, and a route that was
answered is in force. Booting and stopping machines happens outside (see `ec2_lab.engine`).

Simulated:
- [documented] DynamoDB and S3 answer only at their own endpoints, everything else at the third <AWS
  general reference: service endpoints>
- [documented (text), assumed (status)] a call for another service: AuthFailure,
  InvalidSignatureException, SignatureDoesNotMatch <SigV4: troubleshooting>
- [documented] an unsigned call: MissingAuthenticationToken; signatures themselves are not verified
  <AWS general reference: common errors>
- [assumed] an action moto does not know: UnsupportedOperation
- [assumed (AWS: the current state)] a repeated RunInstances with one ClientToken gets the first answer
  again <EC2 API: ensuring idempotency>
- [assumed; spares every waiter its 15 s] DescribeInstances from the controller waits up to 3 s for
  instances on their way
"""

from __future__ import annotations

import copy
import hashlib
import io
import logging
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from ec2_lab.door import amend, calls, faults, past, rules, seed
from ec2_lab.door.answers import Answer, Refused, refusal
from ec2_lab.door.calls import Call
from ec2_lab.door.faults import ApiFaults
from ec2_lab.door.history import History
from ec2_lab.door.region import LabRegion
from ec2_lab.door.rights import Rights
from ec2_lab.door.throttle import Throttle
from ec2_lab.engine import VOLUME_DEADLINE_S, Engine
from ec2_lab.metadata import Identities, metadata_app
from ec2_lab.model import LabPaths
from ec2_lab.ports import Machines, Region, Wires

log = logging.getLogger(__name__)

StartResponse = Callable[..., Any]
Wsgi = Callable[[dict[str, Any], StartResponse], Iterable[bytes]]

CONTROLLER_PATIENCE_S = 3.0
_READS = ("Describe", "Get", "List", "Search")
_INSTANCE_STATE = ("DescribeInstances", "DescribeInstanceStatus")


@dataclass(slots=True)
class Door:
    """What the daemon serves. `wsgi` answers for every service; `at` for one endpoint's address."""

    wsgi: Wsgi
    metadata: Wsgi
    region: Region
    engine: Engine
    front: FrontDoor

    def at(self, address: str) -> Wsgi:
        """The app to serve at one of the region's addresses (model.API_ADDRESS and so on)."""
        endpoint = calls.ENDPOINTS[address]
        return lambda environ, start_response: self.front(environ, start_response, endpoint)

    def close(self) -> None:
        self.front.history.close()


def build(paths: LabPaths, wires: Wires, machines: Machines) -> Door:
    """An empty region over these wires and machines. One per process: moto's state is global."""
    amend.apply()
    lock = threading.RLock()
    engine = Engine(seed.fresh_region(), wires, machines, lock)
    history = History(paths.run / "api-history.jsonl")
    identities = Identities(engine)
    front = FrontDoor(engine, history, identities)
    return Door(
        wsgi=front,
        metadata=metadata_app(identities),
        region=LabRegion(engine, history, front.faults),
        engine=engine,
        front=front,
    )


@dataclass
class FrontDoor:
    """The WSGI application in front of moto's."""

    engine: Engine
    history: History
    identities: Identities
    patience_s: float = CONTROLLER_PATIENCE_S
    faults: ApiFaults = field(default_factory=ApiFaults)
    rights: Rights = field(default_factory=Rights)
    throttle: Throttle = field(default_factory=Throttle)
    _past: past.Past = field(default_factory=past.Past)
    _tokens: dict[str, tuple[str, Answer]] = field(default_factory=dict)
    _moto: Any = None

    def __post_init__(self) -> None:
        from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app

        self._moto = DomainDispatcherApplication(create_backend_app)

    def __call__(
        self, environ: dict[str, Any], start_response: StartResponse, bound_to: str | None = None
    ) -> Iterable[bytes]:
        began = time.monotonic()
        call = calls.read(environ, bound_to)
        answer = self._answer(call, environ)
        if self.faults.hits(faults.LOST_ANSWERS, call):
            answer.fault = faults.LOST_ANSWERS
        self._note(call, answer, began)
        if answer.fault == faults.LOST_ANSWERS:
            _hang_up()
        start_response(answer.status, answer.headers)
        return [answer.body]

    def _note(self, call: Call, answer: Answer, began: float) -> None:
        self.history.note(
            caller=call.caller,
            who=self.identities.who(call.access_key),
            service=call.service,
            action=call.action,
            parameters=call.without_secrets(),
            status=int(answer.status[:3]),
            code=answer.code,
            fault=answer.fault,
            took_ms=round((time.monotonic() - began) * 1000, 1),
        )

    def _answer(self, call: Call, environ: dict[str, Any]) -> Answer:
        try:
            self.faults.before(call)
            _right_endpoint(call)
            if call.service == "ec2" and call.action in _INSTANCE_STATE and call.from_controller:
                self.engine.wait_settled(set(call.listed("InstanceId")), self.patience_s)
            with self.engine.lock:
                answer, waits = self._under_lock(call, environ)
            _wait_for(waits)
            return answer
        except Refused as refused:
            return refusal(call, refused)
        except NotImplementedError as missing:
            return refusal(call, Refused("UnsupportedOperation", f"Not in this lab: {missing}"))
        except Exception as error:  # whatever moto or the kernel threw, the caller gets AWS' own kind of 500
            log.exception("%s %s failed", call.service, call.action)
            return refusal(call, Refused("InternalError", f"{type(error).__name__}: {error}", 500))

    def _under_lock(self, call: Call, environ: dict[str, Any]) -> tuple[Answer, list[Future[Any]]]:
        self.throttle.take(call)
        self.rights.check(call)
        if call.service != "ec2":
            answer = self._ask_moto(environ)
            # CloudFormation and others change EC2 as well; those calls are rare.
            changes = call.service in ("cloudformation", "autoscaling") and not call.action.startswith(_READS)
            return answer, self.engine.follow(call) if changes else []
        if call.action in (*_INSTANCE_STATE, "StartInstances"):
            self.engine.notice_shutdowns()
        if call.action.startswith(_READS):
            rules.check(call, self.engine.backend)
            return self._read(call, environ), []
        if remembered := self._remembered(call):
            return remembered, []
        rules.check(call, self.engine.backend)
        if call.action in faults.ROUTE_CHANGES and (late_s := self.faults.hits(faults.LATE_ROUTES, call)):
            return self._change_later(call, environ, late_s), []
        return self._change(call, environ)

    def _read(self, call: Call, environ: dict[str, Any]) -> Answer:
        stale_s = self.faults.hits(faults.STALE, call) if call.action.startswith("Describe") else 0.0
        old = self._past.as_of(self.faults.now() - stale_s) if stale_s else None
        if old is None:
            return self._ask_moto(environ)
        with past.instead(old):
            answer = self._ask_moto(environ)
        answer.fault = faults.STALE
        return answer

    def _change(self, call: Call, environ: dict[str, Any]) -> tuple[Answer, list[Future[Any]]]:
        if stale_s := self.faults.value(faults.STALE):
            self._past.keep(self.engine.backend, self.faults.now(), stale_s)
        else:
            self._past.forget()
        if call.action == "DetachVolume" and not call.params.get("InstanceId"):
            self._name_the_instance(call, environ)
        answer = self._ask_moto(environ)
        if not answer.succeeded:
            return answer, []
        waits = self.engine.follow(call)
        if call.action == "RunInstances" and (token := call.params.get("ClientToken")):
            self._tokens[token] = (_fingerprint(call), answer)
        return answer, waits

    def _change_later(self, call: Call, environ: dict[str, Any], late_s: float) -> Answer:
        """Answer as if it were done, judged on a copy; do it in a while, whatever is true by then."""
        again = environ | {"wsgi.input": io.BytesIO(call.body)}
        with past.instead(copy.deepcopy(self.engine.backend)):
            answer = self._ask_moto(environ)
        answer.fault = faults.LATE_ROUTES
        if answer.succeeded:
            timer = threading.Timer(late_s, partial(self._land, call, again))
            timer.daemon = True
            timer.start()
        return answer

    def _land(self, call: Call, environ: dict[str, Any]) -> None:
        """A change that was answered a while ago takes effect. Nobody hears of its failure any more."""
        began = time.monotonic()
        try:
            with self.engine.lock:
                answer, _ = self._change(call, environ)
        except Exception:
            log.exception("late %s %s", call.action, call.params)
            return
        answer.fault = "landed late"
        self._note(call, answer, began)

    def _remembered(self, call: Call) -> Answer | None:
        token = call.params.get("ClientToken", "")
        if call.action != "RunInstances" or token not in self._tokens or call.flag("DryRun"):
            return None
        fingerprint, answer = self._tokens[token]
        if fingerprint != _fingerprint(call):
            raise Refused(
                "IdempotentParameterMismatch",
                f"The client token '{token}' was used with other parameters.",
            )
        return answer

    def _name_the_instance(self, call: Call, environ: dict[str, Any]) -> None:
        volume = self.engine.backend.volumes.get(call.params.get("VolumeId", ""))
        if volume and volume.attachment:
            call.params["InstanceId"] = volume.attachment.instance.id
            calls.put_back(environ, call)

    def _ask_moto(self, environ: dict[str, Any]) -> Answer:
        answer = Answer("500 Internal Server Error")

        def started(status: str, headers: list[tuple[str, str]], _exc: Any = None) -> Callable[[bytes], Any]:
            answer.status, answer.headers = status, headers
            return lambda _data: None

        parts = self._moto(environ, started)
        try:
            answer.body = b"".join(parts)
        finally:
            if hasattr(parts, "close"):
                parts.close()
        if not answer.succeeded:
            answer.code = _code_in(answer)
        return answer


def _hang_up() -> None:
    """Close the caller's connection without a word, which the server does for this exception alone."""
    from waitress.channel import ClientDisconnected  # type: ignore[import-untyped]  # it has no stubs

    raise ClientDisconnected


def _right_endpoint(call: Call) -> None:
    if not call.access_key and call.service != "s3":  # S3 serves the public, too
        raise Refused("MissingAuthenticationToken", "Request is missing Authentication Token", 403)
    own = call.service if call.service in ("dynamodb", "s3") else "api"
    if call.endpoint in (own, calls.EVERYTHING):
        return
    serves = {"api": "ec2"}.get(call.endpoint, call.endpoint)
    code = {"json": "InvalidSignatureException", "ec2": "AuthFailure"}.get(
        call.protocol, "SignatureDoesNotMatch"
    )
    raise Refused(code, f"Credential should be scoped to correct service: '{serves}'.", 403)


def _wait_for(waits: list[Future[Any]]) -> None:
    deadline = time.monotonic() + VOLUME_DEADLINE_S
    for work in waits:
        work.result(max(0.0, deadline - time.monotonic()))


def _fingerprint(call: Call) -> str:
    return hashlib.sha256(repr(sorted(call.params.items())).encode()).hexdigest()


def _code_in(answer: Answer) -> str:
    """The AWS error code of an error moto wrote, for the history."""
    text = answer.body[:2000].decode("utf-8", "replace")
    for before, after in (("<Code>", "</Code>"), ('"__type": "', '"'), ('"__type":"', '"')):
        if before in text:
            return text.split(before, 1)[1].split(after, 1)[0].rpartition("#")[2]
    return answer.status
