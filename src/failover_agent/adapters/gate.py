"""The kernel's say over who may talk to PostgreSQL (PROTOCOL G1 to G7).

Invariant: at no instant does the table let a packet pass after the latest `deadline` given, even if
this process is stopped between any two lines: the element's timeout counts from when the kernel took
it, the absolute bound does not move at all, and afterwards the clock is read again.
"""

from __future__ import annotations

import ipaddress
import re
import threading
from collections.abc import Callable
from typing import Protocol

from failover_agent.adapters import programs, sockets
from failover_agent.adapters.gate_kernel import GateKernel, GateWatch
from failover_agent.adapters.gate_table import OPEN_SET, PASSING_CHAIN, TABLE, GatePlan, table_text
from failover_agent.errors import GateFailed
from failover_agent.ports import Clock

NFT_TIMEOUT_S = 5.0
# How far the element may outlive its deadline before the wish is written anew (PROTOCOL L5: gate latency).
LATENCY_S = 0.1
LOOK_AGAIN_AFTER_S = 10.0

_HINT_RELOAD = "Run `nft -f /etc/failover-agent/gate.nft`, and look at `nft list table inet failover_gate`."


class Kernel(Protocol):
    """What of the kernel a refresh needs: GateKernel's netlink, or a simulation's table."""

    @property
    def port_id(self) -> int: ...

    def open(self, port: int, timeout_ms: int, until_wall_ns: int) -> None: ...

    def shut(self) -> None: ...


class NftGate:
    """Implements `ports.Gate`."""

    def __init__(self, plan: GatePlan, clock: Clock, kernel: Kernel | None = None) -> None:
        self._plan = plan
        self._members = frozenset(str(ipaddress.ip_address(member)) for member in plan.members)
        self._clock = clock
        self._lock = threading.RLock()
        self._kernel = kernel or GateKernel()
        self._ours: set[int] = {self._kernel.port_id}
        self._as_written: str | None = None  # the table in nft's own spelling
        self._looked_at = -LOOK_AGAIN_AFTER_S
        self._whole = False
        self._destroys: bool | None = None  # a property of the kernel: asked once

    def open_until(self, deadline: float) -> None:
        with self._lock:
            self._put(deadline)
            if self._clock.now() >= deadline:
                self.shut()
                raise GateFailed(
                    "the gate was opened too late and is shut again",
                    hint="The host was starved or stopped for longer than the lease; see its load.",
                )

    def _put(self, deadline: float) -> None:
        for _attempt in range(2):
            begun = self._clock.now()
            left_s = deadline - begun
            left_ms = int(left_s * 1000)
            if left_ms <= 0:
                self.shut()
                raise GateFailed(
                    f"the gate was to open until {-left_s:.3f} s ago",
                    hint="The lease ran out before the gate.",
                )
            until_wall_ns = int((self._clock.wall() + left_s) * 1e9)
            try:
                self._kernel.open(self._plan.port, left_ms, until_wall_ns)
            except OSError as error:
                raise GateFailed(
                    f"the kernel refused to open the gate: {error}", hint=_HINT_RELOAD
                ) from error
            if self._clock.now() - begun <= LATENCY_S:
                return

    def shut(self) -> None:
        with self._lock:
            try:
                self._kernel.shut()
            except OSError:
                # The table may be gone: then everything is open, and putting it back shut is the cure.
                self.restore()

    def end_sessions(self) -> int:
        return self._destroy(frozenset())

    def dismiss(self) -> int:
        return self._destroy(self._members)

    def _destroy(self, spare: frozenset[str]) -> int:
        try:
            return sockets.destroy(self._plan.port, spare=spare)
        except sockets.NotDestroyable as error:
            raise GateFailed(
                f"sessions on port {self._plan.port} cannot be ended, the gate stays shut: {error.strerror}",
                hint="Use a kernel with CONFIG_INET_DIAG_DESTROY=y (Debian's and Amazon's have it).",
            ) from error
        except OSError as error:
            raise GateFailed(
                f"sessions on port {self._plan.port} could not be ended: {error}",
                hint="The agent needs CAP_NET_ADMIN and AF_NETLINK.",
            ) from error

    def can_end_sessions(self) -> bool:
        if self._destroys is None:
            self._destroys = sockets.can_destroy()
        return self._destroys

    def intact(self) -> bool:
        """Whether the table stands as written.

        While nobody touches it, nft is asked only every LOOK_AGAIN_AFTER_S.
        """
        with self._lock:
            now = self._clock.now()
            if self._whole and now - self._looked_at < LOOK_AGAIN_AFTER_S:
                return True
            if self._as_written is None:
                self._as_written = _spelled_by_nft(table_text(self._plan))
            listed = _nft(("nft", "-sn", "list", "table", *TABLE.split()))
            self._whole = listed is not None and _without_opening(listed) == self._as_written
            self._looked_at = now
            return self._whole

    def restore(self) -> None:
        with self._lock:
            self._load(table_text(self._plan))
            self._whole = True
            self._looked_at = self._clock.now()

    def watch(self, disturbed: Callable[[], None]) -> None:
        changes = GateWatch().changes()

        def listen() -> None:
            for touched in changes:
                if touched.by not in self._ours:
                    self._whole = False
                    disturbed()

        threading.Thread(target=listen, name="gate-watch", daemon=True).start()

    def _load(self, text: str) -> None:
        try:
            done = programs.run(
                ("nft", "-f", "-"), stdin=text, timeout_s=NFT_TIMEOUT_S, on_start=self._ours.add
            )
        except (programs.TookTooLong, OSError) as error:
            raise GateFailed(
                f"nft could not be run: {error}", hint="Is nftables installed? Else this host stood still."
            ) from error
        if not done.ok:
            raise GateFailed(f"nft refused the gate's table: {done.last_words()}", hint=_HINT_RELOAD)


# The first needs no right that the unit takes away; the second is for kernels that forbid it to everybody.
_ASIDE: tuple[tuple[str, ...], ...] = (
    ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "unshare", "-Ur", "--net"),
    ("unshare", "--net"),
)


def _nft(argv: tuple[str, ...], stdin: str = "") -> str | None:
    try:
        done = programs.run(argv, stdin=stdin, timeout_s=NFT_TIMEOUT_S)
    except (programs.TookTooLong, OSError) as error:
        raise GateFailed(
            f"nft could not be run: {error}", hint="Is nftables installed? Else this host stood still."
        ) from error
    return done.out if done.ok else None


def _spelled_by_nft(text: str) -> str:
    """Our text as this host's nft lists it, learnt in a network namespace of its own."""
    for aside in _ASIDE:
        listing = _nft((*aside, "sh", "-c", f"nft -f - && nft -sn list table {TABLE}"), stdin=text)
        if listing is not None:
            return _without_opening(listing)
    raise GateFailed(
        "nft does not take the gate's table in a network namespace of its own",
        hint="Use nftables 1.0.6 or later; the agent's unit must leave it user and network namespaces.",
    )


def _without_opening(listing: str) -> str:
    """The listing less what each refresh changes: the element of `open` and the rule of `passing`."""
    listing = re.sub(
        rf"(\tset {OPEN_SET} \{{\n.*?\n\t\}})", _without_elements, listing, count=1, flags=re.DOTALL
    )
    return re.sub(rf"(\tchain {PASSING_CHAIN} \{{\n).*?(\t\}})", r"\1\2", listing, count=1, flags=re.DOTALL)


def _without_elements(block: re.Match[str]) -> str:
    return re.sub(r"\n\s*elements = \{[^}]*\}", "", block.group(1))
