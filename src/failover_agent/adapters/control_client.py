"""Asking the agent of this node, over its Unix socket."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx

from failover_agent.errors import CARRIED_OUT, AgentError

QUICK_S = 10.0
SWITCHOVER_S = 110.0
FENCE_S = 60.0  # a few calls to EC2
JOURNAL = "the journal of failover-agent"
# What to do where the agent's answer says nothing of it.
ANOTHER_RELEASE = "The agent here is of another release than failoverctl: restart it, or upgrade all agents."
HINTS: dict[int, str] = {
    HTTPStatus.FORBIDDEN: "Run it as root.",
    HTTPStatus.NOT_FOUND: ANOTHER_RELEASE,
    HTTPStatus.METHOD_NOT_ALLOWED: ANOTHER_RELEASE,
    HTTPStatus.INTERNAL_SERVER_ERROR: f"It is a mistake in the agent: {JOURNAL} names the place. Report it.",
}


class NoAgent(AgentError):
    """The agent of this node does not answer."""


class Refused(AgentError):
    """The agent refused what was asked. Programs are told by which of its own errors."""

    kind = "PeerRefused"  # where it does not say: one of the release before

    def fields(self) -> dict[str, str]:
        return super().fields() | {"error": self.kind}


class Control:
    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._client = httpx.Client(
            transport=httpx.HTTPTransport(uds=str(socket)), base_url="http://agent", trust_env=False
        )

    def cluster(self) -> dict[str, Any]:
        """Raises AgentError."""
        status, answer = self._ask("GET", "/cluster", None, QUICK_S)
        if status >= HTTPStatus.BAD_REQUEST:
            raise _refused(status, answer, "status of the cluster", JOURNAL)
        return answer

    def switchover(self, to: str) -> dict[str, Any]:
        """Hand over to `to` (empty: the best standby); returns when it serves. Raises AgentError."""
        return self._order("/switchover", {"to": to}, f"switchover to {to or 'the best standby'}")

    def switch_mode(self, mode: str) -> dict[str, Any]:
        """Switch what commits are promised. Raises AgentError."""
        return self._order("/mode", {"mode": mode}, f"switch to mode {mode}")

    def pause(self) -> dict[str, Any]:
        """Let no node take the primary's place by itself from now on. Raises AgentError."""
        return self._order("/pause", {"pause": True}, "pause of failover")

    def resume(self) -> dict[str, Any]:
        """End the pause. Raises AgentError."""
        return self._order("/pause", {"pause": False}, "end of the pause")

    def failover(self, to: str, *, accept_loss: bool) -> dict[str, Any]:
        """Let `to` take a free lease; without `accept_loss` only what may be lost. Raises AgentError."""
        body = {"to": to, "accept_loss": accept_loss}
        return self._order("/failover", body, f"failover to {to}", see=f"{JOURNAL} on {to}")

    def unfence(self, name: str) -> dict[str, Any]:
        """Let a fenced node back. Raises AgentError."""
        return self._order("/unfence", {"name": name}, f"return of {name}", FENCE_S, JOURNAL)

    def confirm_fenced(self, name: str) -> dict[str, Any]:
        """Say that a node runs no more, to this node that waits for it. Raises AgentError."""
        return self._order("/confirm-fenced", {"name": name}, f"fence of {name}", FENCE_S, JOURNAL)

    def _order(
        self,
        path: str,
        body: dict[str, Any],
        order: str,
        timeout_s: float = SWITCHOVER_S,
        see: str = f"{JOURNAL} on the primary",
    ) -> dict[str, Any]:
        """What came of `order`; `see` is said where the agent gives no hint."""
        status, answer = self._ask("POST", path, body, timeout_s)
        if not answer.get("ok"):
            raise _refused(status, answer, order, see)
        return answer

    def _ask(
        self, method: str, path: str, body: dict[str, Any] | None, timeout_s: float
    ) -> tuple[int, dict[str, Any]]:
        try:
            response = self._client.request(method, path, json=body, timeout=timeout_s)
            if response.status_code == HTTPStatus.REQUEST_TIMEOUT and method == "GET":
                # The agent waited for our words; on a busy machine we may be slow to say them.
                response = self._client.request(method, path, json=body, timeout=timeout_s)
            answer = response.json()
            if not isinstance(answer, dict):
                raise ValueError("the answer is no object")
        except (httpx.HTTPError, ValueError) as error:
            raise NoAgent.about(
                f"agent of this node at {self._socket}",
                value=f"no answer ({error})",
                expected="an answer",
                hint="See `systemctl status failover-agent`; only root may ask.",
            ) from error
        return response.status_code, answer


def _refused(status: int, answer: dict[str, Any], order: str, see: str) -> Refused:
    """An agent of the release before says `why` and `hint` at the most; no field is empty all the same."""
    why = str(answer.get("why") or f"{order} was refused")
    error = Refused(
        why,
        hint=str(answer.get("hint") or HINTS.get(status) or f"See {see}."),
        object=str(answer.get("object") or order),
        value=str(answer.get("value") or why),
        expected=str(answer.get("expected") or CARRIED_OUT),
    )
    error.kind = str(answer.get("error") or Refused.kind)
    return error
