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
JOURNAL = "the journal of failover-agent"


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
        return self._ask("GET", "/cluster", None, QUICK_S)

    def switchover(self, to: str) -> dict[str, Any]:
        """Hand over to `to` (empty: the best standby); returns when it serves. Raises AgentError."""
        return self._order("/switchover", {"to": to}, SWITCHOVER_S, "the switchover was refused")

    def switch_mode(self, mode: str) -> dict[str, Any]:
        """Switch what commits are promised. Raises AgentError."""
        return self._order("/mode", {"mode": mode}, SWITCHOVER_S, "the switch of the mode was refused")

    def pause(self) -> dict[str, Any]:
        """Let no node take the primary's place by itself from now on. Raises AgentError."""
        return self._order("/pause", {"pause": True}, SWITCHOVER_S, "the pause was refused")

    def resume(self) -> dict[str, Any]:
        """End the pause. Raises AgentError."""
        return self._order("/pause", {"pause": False}, SWITCHOVER_S, "the end of the pause was refused")

    def failover(self, to: str, *, accept_loss: bool) -> dict[str, Any]:
        """Let `to` take a free lease; without `accept_loss` only what may be lost. Raises AgentError."""
        body = {"to": to, "accept_loss": accept_loss}
        return self._order("/failover", body, SWITCHOVER_S, "the failover was refused", f"{JOURNAL} on {to}")

    def unfence(self, name: str) -> dict[str, Any]:
        """Let a fenced node back. Raises AgentError."""
        return self._order("/unfence", {"name": name}, FENCE_S, "it was refused", JOURNAL)

    def confirm_fenced(self, name: str) -> dict[str, Any]:
        """Say that a node runs no more, to this node that waits for it. Raises AgentError."""
        return self._order("/confirm-fenced", {"name": name}, FENCE_S, "it was refused", JOURNAL)

    def _order(
        self,
        path: str,
        body: dict[str, Any],
        timeout_s: float,
        refused: str,
        see: str = f"{JOURNAL} on the primary",
    ) -> dict[str, Any]:
        """What came of an order; `refused` and `see` are said where the agent gives no reason and no hint."""
        outcome = self._ask("POST", path, body, timeout_s)
        if not outcome.get("ok"):
            raise Refused(
                str(outcome.get("why") or refused),
                hint=str(outcome.get("hint") or f"See {see}."),
                object=str(outcome.get("object", "")),
                value=str(outcome.get("value", "")),
                expected=str(outcome.get("expected", "")),
            )
        return outcome

    def _ask(self, method: str, path: str, body: dict[str, Any] | None, timeout_s: float) -> dict[str, Any]:
        try:
            response = self._client.request(method, path, json=body, timeout=timeout_s)
            if response.status_code == HTTPStatus.REQUEST_TIMEOUT and method == "GET":
                # The agent waited for our words; on a busy machine we may be slow to say them.
                response = self._client.request(method, path, json=body, timeout=timeout_s)
            answer: dict[str, Any] = response.json()
        except (httpx.HTTPError, ValueError) as error:
            raise NoAgent.about(
                f"agent of this node at {self._socket}",
                value=f"no answer ({error})",
                expected="an answer",
                hint="See `systemctl status failover-agent`; only root may ask.",
            ) from error
        if response.status_code in (403, 404, 405, 500):
            raise Refused(str(answer.get("why", response.status_code)), hint="Run it as root, on a node.")
        return answer
