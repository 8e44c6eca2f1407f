"""The other agents: asked all the time in the background, over kept connections with mTLS.

One thread per member, so that a silent one never delays what another says.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx

from failover_agent.adapters import relay_json, report_json, seal_json
from failover_agent.adapters.bounded import Bounded, GaveUp
from failover_agent.core.model import (
    Heard,
    LeaseItem,
    Member,
    Mode,
    NodeReport,
    Unknown,
    Version,
    WriteOutcome,
)
from failover_agent.core.promises import Promise
from failover_agent.core.relay import RouteChange
from failover_agent.core.seals import Seal, Sealed, counts_as_heard
from failover_agent.ports import Clock

SWITCHOVER_TIMEOUT_S = 100.0
WRITE_ORDER_TIMEOUT_S = 20.0  # the other writes the lease, and waits 15 s for the store at the most
CONNECT_S = 5.0  # who has lost power takes no connection: the person who gave the order is told soon
SEAL_TIMEOUT_S = 5.0  # the other ends a receiver and looks at its WAL before it answers
KEPT_S = 2.0  # shorter than the other's door keeps an idle connection (server.SOCKET_TIMEOUT_S)
# An answer is current until the next question, the answer's own time, and one more try.
_TRIES = 2
_EC2_SLOWER = 5  # the other's own call to EC2 may take four request timeouts


def client_context(ca: Path, cert: Path, key: Path) -> ssl.SSLContext:
    """Trusts the cluster's CA alone, proves who we are, and checks the address in the other's certificate."""
    context = ssl.create_default_context(cafile=str(ca))
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # Python 3.13 asks for key identifiers that a plain openssl CA leaves out; trust does not rest on them.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    context.load_cert_chain(str(cert), str(key))
    return context


class HttpPeers:
    """Implements `ports.Peers`."""

    def __init__(
        self,
        me: str,
        others: tuple[Member, ...],
        *,
        port: int,
        context: ssl.SSLContext,
        clock: Clock,
        ask_s: float,
        request_timeout_s: float,
    ) -> None:
        self._me = me
        self._clock = clock
        self._ask_s = ask_s
        self._timeout_s = request_timeout_s
        self._slow_s = _EC2_SLOWER * request_timeout_s
        self._fresh_for_s = ask_s + _TRIES * request_timeout_s
        self._bounded = Bounded("peer")
        self._lock = threading.Lock()
        self._heard: dict[str, Heard] = {}
        self._why: dict[str, str] = {member.name: "not asked yet" for member in others}
        self._published: NodeReport | None = None
        self._epoch: Callable[[], int] = lambda: 0
        self._heard_by: Callable[[NodeReport, float], None] = lambda _report, _sent_at: None
        self._clients = {
            member.name: httpx.Client(
                base_url=f"https://{_host(member.address)}:{port}",
                verify=context,
                timeout=request_timeout_s,
                limits=httpx.Limits(keepalive_expiry=KEPT_S),
                trust_env=False,  # a proxy of the environment is not between us
            )
            for member in others
        }
        self._stopped = threading.Event()

    def start(self) -> None:
        """Begin to ask everybody in the background."""
        for name in self._clients:
            threading.Thread(target=self._poll, args=(name,), name=f"peer-{name}", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    def reports(self) -> Mapping[str, Heard | Unknown]:
        now = self._clock.now()
        with self._lock:
            return {name: self._current(name, now) for name in self._clients}

    def _current(self, name: str, now: float) -> Heard | Unknown:
        heard = self._heard.get(name)
        if heard is not None and now - heard.at <= self._fresh_for_s:
            return heard
        return Unknown(f"{name}: {self._why[name]}")

    def ask(self, name: str) -> Heard | Unknown:
        answer = self._get(name)
        with self._lock:
            if isinstance(answer, Heard):
                self._heard[name] = answer
            else:
                self._why[name] = answer.why
        return answer

    def carry(self, epoch: Callable[[], int], heard_by: Callable[[NodeReport, float], None]) -> None:
        self._epoch, self._heard_by = epoch, heard_by

    def ask_rejoin(self, name: str) -> bool | Unknown:
        answer = self._post(name, "/rejoin", {"name": self._me}, self._timeout_s)
        return answer if isinstance(answer, Unknown) else answer.get("granted") is True

    def ask_vote(self, name: str, seal: Seal) -> str | Unknown:
        answer = self._post(name, "/vote", seal_json.encode(seal), self._timeout_s)
        if isinstance(answer, Unknown):
            return answer
        why = answer.get("why_not")
        return why if isinstance(why, str) else Unknown(str(answer.get("why", answer)))

    def ask_seal(self, name: str, seal: Seal) -> Sealed | Unknown:
        answer = self._post(name, "/seal", seal_json.encode(seal), SEAL_TIMEOUT_S)
        if isinstance(answer, Unknown):
            return answer
        try:
            sealed = seal_json.decode(answer.get("sealed"))
        except seal_json.NotASeal as error:
            return Unknown(str(answer.get("why", error)))
        return sealed if sealed.name == name else Unknown(f"its address answers as {sealed.name}")

    def ask_promise(self, name: str, promise: Promise) -> str | Unknown:
        answer = self._post(name, "/promise", relay_json.encode_promise(promise), self._timeout_s)
        if isinstance(answer, Unknown):
            return answer
        why = answer.get("why_not")
        return why if isinstance(why, str) else Unknown(str(answer.get("why", answer)))

    def relay_write(self, name: str, item: LeaseItem, only_if: Version) -> WriteOutcome:
        answer = self._post(
            name, "/relay/lease", relay_json.encode_write(item, only_if), self._timeout_s, again=False
        )
        return answer if isinstance(answer, Unknown) else relay_json.decode_outcome(answer)

    def relay_targets(self, name: str, vip: str) -> Mapping[str, str] | Unknown:
        answer = self._post(name, "/relay/routes", {"vip": vip}, self._slow_s)
        return answer if isinstance(answer, Unknown) else relay_json.decode_targets(answer)

    def relay_point(self, name: str, change: RouteChange) -> Unknown | None:
        timeout_s = min(self._slow_s, max(self._timeout_s, change.within_s))
        answer = self._post(name, "/relay/route", relay_json.encode_change(change), timeout_s, again=False)
        if isinstance(answer, Unknown):
            return answer
        return None if answer.get("done") is True else Unknown(str(answer.get("why", answer)))

    def order_switchover(self, name: str, to: str) -> Mapping[str, object] | Unknown:
        return self._post(name, "/switchover", {"to": to}, SWITCHOVER_TIMEOUT_S, again=False)

    def order_failover(self, name: str, accept_loss: bool) -> Mapping[str, object] | Unknown:
        body = {"to": name, "accept_loss": accept_loss}
        return self._post(name, "/failover", body, SWITCHOVER_TIMEOUT_S, again=False)

    def order_mode(self, name: str, mode: Mode) -> Mapping[str, object] | Unknown:
        return self._post(name, "/mode", {"mode": mode}, WRITE_ORDER_TIMEOUT_S)

    def order_pause(self, name: str, pause: bool) -> Mapping[str, object] | Unknown:
        return self._post(name, "/pause", {"pause": pause}, WRITE_ORDER_TIMEOUT_S)

    def wake(self, name: str) -> None:
        if name in self._clients:
            threading.Thread(
                target=self._post, args=(name, "/wake", {}, self._timeout_s), name=f"wake-{name}", daemon=True
            ).start()

    def publish(self, report: NodeReport) -> None:
        self._published = report

    def published(self) -> NodeReport | None:
        """What was last published, for who answers in our name."""
        return self._published

    def _poll(self, name: str) -> None:
        while not self._stopped.is_set():
            self.ask(name)
            self._stopped.wait(self._ask_s)

    def _get(self, name: str) -> Heard | Unknown:
        client = self._clients.get(name)
        if client is None:
            return Unknown(f"{name} is no member")
        holds, sent_at = self._epoch(), self._clock.now()
        try:
            response = self._bounded.call(
                lambda: client.get("/status", params={"holds": holds}), self._timeout_s
            )
            response.raise_for_status()
            report = report_json.decode(response.json())
        except (httpx.HTTPError, GaveUp, ValueError, report_json.NotAReport) as error:
            return Unknown(f"{type(error).__name__}: {error}")
        if report.name != name:
            return Unknown(f"its address answers as {report.name}")
        if counts_as_heard(report, holds):
            self._heard_by(report, sent_at)
        return Heard(report, self._clock.now())

    def _post(
        self, name: str, path: str, body: Mapping[str, object], timeout_s: float, *, again: bool = True
    ) -> Mapping[str, object] | Unknown:
        """`again`: it may be said twice, so a kept connection that had ended is no obstacle."""
        client = self._clients.get(name)
        if client is None:
            return Unknown(f"{name} is no member")
        bounds = httpx.Timeout(timeout_s, connect=min(timeout_s, CONNECT_S))
        try:
            response = self._bounded.call(
                lambda: client.post(path, json=dict(body), timeout=bounds), timeout_s
            )
            answer = response.json()
        except (httpx.RemoteProtocolError, httpx.ReadError, httpx.WriteError) as error:
            if again:
                return self._post(name, path, body, timeout_s, again=False)
            return Unknown(f"{type(error).__name__}: {error}")
        except (httpx.HTTPError, GaveUp, ValueError) as error:
            return Unknown(f"{type(error).__name__}: {error}")
        return answer if isinstance(answer, dict) else Unknown("the answer is no object")


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address
