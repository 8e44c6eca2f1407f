"""What people ordered: placed by a server's thread, carried out by the loop."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from failover_agent.core.model import Mode
from failover_agent.core.snapshot import SwitchoverOrder
from failover_agent.errors import AgentError, PeerRefused

ONE = "one at a time"


@dataclass(frozen=True, slots=True)
class HandedOver:
    """The lease was released to `target`; its clients have been shut out since `since` (Clock.now)."""

    target: str
    epoch: int  # the one that was given up
    since: float


@dataclass(slots=True)
class Ticket:
    """What the one who ordered waits on: `done` is set when `result` or `error` is."""

    order: SwitchoverOrder
    done: threading.Event = field(default_factory=threading.Event)
    result: HandedOver | None = None
    error: AgentError | None = None


@dataclass(slots=True)
class ModeTicket:
    """An order to switch the mode of the lease; `done` is set when it was carried out, or refused."""

    mode: Mode
    done: threading.Event = field(default_factory=threading.Event)
    before: Mode | None = None  # set once a write that changes it was sent
    error: AgentError | None = None


@dataclass(slots=True)
class PauseTicket:
    """An order to pause failover, or to resume it; `done` is set when it was carried out, or refused."""

    pause: bool
    done: threading.Event = field(default_factory=threading.Event)
    sent: bool = False  # a write that changes it
    before: str = ""  # since when it was paused when that was sent
    since: str = ""  # and is now
    error: AgentError | None = None


T = TypeVar("T", ModeTicket, PauseTicket)


class _OneAtATime(Generic[T]):
    """One order at a time for one field of the lease."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ticket: T | None = None

    def open(self) -> T | None:
        return self._ticket

    def close(self, ticket: T, error: AgentError | None = None) -> None:
        with self._lock:
            if self._ticket is ticket:
                self._ticket = None
        ticket.error = error
        ticket.done.set()


class ModeOrders(_OneAtATime[ModeTicket]):
    def place(self, mode: Mode) -> ModeTicket:
        """Raises PeerRefused when one is under way."""
        with self._lock:
            if self._ticket is not None:
                raise PeerRefused.about(
                    f"switch to mode {mode}",
                    value=f"one to {self._ticket.mode} is under way",
                    expected=ONE,
                    hint="Wait until it has ended; `failoverctl config` shows the mode.",
                )
            self._ticket = ModeTicket(mode)
            return self._ticket


class PauseOrders(_OneAtATime[PauseTicket]):
    def place(self, pause: bool) -> PauseTicket:
        """Raises PeerRefused when one is under way."""
        with self._lock:
            if self._ticket is not None:
                raise PeerRefused.about(
                    f"order to {_word(pause)}",
                    value=f"one to {_word(self._ticket.pause)} is under way",
                    expected=ONE,
                    hint="Wait until it has ended; `failoverctl status` shows whether failover is paused.",
                )
            self._ticket = PauseTicket(pause)
            return self._ticket


def _word(pause: bool) -> str:
    return "pause" if pause else "resume"


class Orders:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._ticket: Ticket | None = None
        self._number = 0
        self.accepted_loss = 0  # the epoch a person gave up, while the order is carried out

    def place(self, to: str) -> Ticket:
        """Raises PeerRefused when one is under way."""
        with self._lock:
            if self._ticket is not None:
                raise PeerRefused.about(
                    f"switchover to {to or 'the best standby'}",
                    value=f"one to {self._ticket.order.to or 'the best standby'} is under way",
                    expected=ONE,
                    hint="Wait until it has ended; `failoverctl status` shows it.",
                )
            self._number += 1
            self._ticket = Ticket(SwitchoverOrder(self._number, to))
            return self._ticket

    def open(self) -> SwitchoverOrder | None:
        ticket = self._ticket
        return ticket.order if ticket else None

    def close(self, number: int, result: HandedOver | None, error: AgentError | None = None) -> None:
        """Answer the one who ordered; an order that was withdrawn meanwhile has nobody to tell."""
        with self._lock:
            ticket = self._ticket
            if ticket is None or ticket.order.number != number:
                return
            self._ticket = None
        ticket.result, ticket.error = result, error
        ticket.done.set()

    def withdraw(self, ticket: Ticket) -> None:
        with self._lock:
            if self._ticket is ticket:
                self._ticket = None
