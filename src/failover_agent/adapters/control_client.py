"""Asking the agent of this node, over its Unix socket."""

from __future__ import annotations

from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx

from failover_agent.errors import AgentError

QUICK_S = 10.0
SWITCHOVER_S = 110.0
FENCE_S = 60.0  # a few calls to EC2


class NoAgent(AgentError):
    """The agent of this node does not answer."""


class Refused(AgentError):
    """The agent refused what was asked."""


class Control:
    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._client = httpx.Client(
            transport=httpx.HTTPTransport(uds=str(socket)), base_url="http://agent", trust_env=False
        )

    def cluster(self) -> dict[str, Any]:
        """Raises AgentError."""
        return self._ask("GET", "/cluster", None, QUICK_S)[1]

    def switchover(self, to: str) -> dict[str, Any]:
        """Hand over to `to` (empty: the best standby); returns when it serves. Raises AgentError."""
        _status, outcome = self._ask("POST", "/switchover", {"to": to}, SWITCHOVER_S)
        if not outcome.get("ok"):
            raise Refused(
                str(outcome.get("why") or "the switchover was refused"),
                hint=str(outcome.get("hint") or "See the journal of failover-agent on the primary."),
            )
        return outcome

    def switch_mode(self, mode: str) -> dict[str, Any]:
        """Switch what commits are promised. Raises AgentError."""
        return self._of_the_lease("/mode", {"mode": mode}, "the switch of the mode was refused")

    def pause(self) -> dict[str, Any]:
        """Let no node take the primary's place by itself from now on. Raises AgentError."""
        return self._of_the_lease("/pause", {"pause": True}, "the pause was refused")

    def resume(self) -> dict[str, Any]:
        """End the pause. Raises AgentError."""
        return self._of_the_lease("/pause", {"pause": False}, "the end of the pause was refused")

    def _of_the_lease(self, path: str, order: dict[str, Any], refused: str) -> dict[str, Any]:
        _status, outcome = self._ask("POST", path, order, SWITCHOVER_S)
        if not outcome.get("ok"):
            raise Refused(
                str(outcome.get("why") or refused),
                hint=str(outcome.get("hint") or "See the journal of failover-agent on the primary."),
                object=str(outcome.get("object", "")),
                value=str(outcome.get("value", "")),
                expected=str(outcome.get("expected", "")),
            )
        return outcome

    def failover(self, to: str, *, accept_loss: bool) -> dict[str, Any]:
        """Let `to` take a free lease; without `accept_loss` only what may be lost. Raises AgentError."""
        body = {"to": to, "accept_loss": accept_loss}
        _status, outcome = self._ask("POST", "/failover", body, SWITCHOVER_S)
        if not outcome.get("ok"):
            raise Refused(
                str(outcome.get("why") or "the failover was refused"),
                hint=str(outcome.get("hint") or f"See the journal of failover-agent on {to}."),
            )
        return outcome

    def unfence(self, name: str) -> dict[str, Any]:
        """Let a fenced node back. Raises AgentError."""
        return self._about_a_fence("/unfence", name)

    def confirm_fenced(self, name: str) -> dict[str, Any]:
        """Say that a node runs no more, to this node that waits for it. Raises AgentError."""
        return self._about_a_fence("/confirm-fenced", name)

    def _about_a_fence(self, path: str, name: str) -> dict[str, Any]:
        _status, outcome = self._ask("POST", path, {"name": name}, FENCE_S)
        if not outcome.get("ok"):
            raise Refused(
                str(outcome.get("why") or "it was refused"),
                hint=str(outcome.get("hint") or "See the journal of failover-agent."),
            )
        return outcome

    def _ask(
        self, method: str, path: str, body: dict[str, Any] | None, timeout_s: float
    ) -> tuple[int, dict[str, Any]]:
        try:
            response = self._client.request(method, path, json=body, timeout=timeout_s)
            if response.status_code == HTTPStatus.REQUEST_TIMEOUT and method == "GET":
                # The agent waited for our words; on a busy machine we may be slow to say them.
                response = self._client.request(method, path, json=body, timeout=timeout_s)
            answer = response.json()
        except (httpx.HTTPError, ValueError) as error:
            raise NoAgent.about(
                f"agent of this node at {self._socket}",
                value=f"no answer ({error})",
                expected="an answer",
                hint="See `systemctl status failover-agent`; only root may ask.",
            ) from error
        if response.status_code in (403, 404, 405, 500):
            raise Refused(str(answer.get("why", response.status_code)), hint="Run it as root, on a node.")
        return response.status_code, answer
