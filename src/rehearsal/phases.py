"""The phases of a takeover, as the agents' journals tell them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

from rehearsal.history import Ack
from rehearsal.lab import Lab

ORDER = ("suspected", "detected", "claimed", "promoted", "opened", "routed")
NOTICED = ("suspected", "detected")  # said of the lease that is missed, not of the one that is claimed
_FIELD = re.compile(r"(\w+)=(\"[^\"]*\"|'[^']*'|\S+)")


@dataclass(frozen=True, slots=True)
class Phase:
    node: str
    name: str
    at: float  # seconds since 1970
    epoch: int


def read_phases(lab: Lab, nodes: Iterable[str], since: float) -> list[Phase]:
    """All phase events of the agents on `nodes` after `since`, in order of time."""
    found: list[Phase] = []
    for node in nodes:
        journal = lab.execute(
            node,
            "journalctl", "-u", "failover-agent", "-o", "json", "--no-pager", f"--since=@{int(since)}",
            check=False,
        )  # fmt: skip
        found += [p for line in journal.splitlines() if (p := parse(node, line)) and p.at >= since]
    return sorted(found, key=lambda phase: phase.at)


def parse(node: str, journal_line: str) -> Phase | None:
    """One line of `journalctl -o json`; None when it is not a phase event."""
    message = json.loads(journal_line).get("MESSAGE")
    if not isinstance(message, str) or "event=phase" not in message:
        return None
    fields = {key: value.strip("\"'") for key, value in _FIELD.findall(message)}
    return Phase(node, fields["name"], float(fields["at"]), int(fields.get("epoch", 0)))


def first_after_opening(phases: Iterable[Phase], acks: Iterable[Ack], since: float) -> float | None:
    """When the clients' first write was acknowledged by whoever let them in last; None if nobody did."""
    opened = [phase for phase in phases if phase.name == "opened" and phase.at >= since]
    if not opened:
        return None
    last = max(opened, key=lambda phase: phase.at)
    received = (
        ack.received
        for ack in acks
        if ack.via == "writer" and ack.node == last.node and ack.received >= last.at
    )
    return min(received, default=None)


def since_fault(phases: Iterable[Phase], fault_at: float, first_write: float) -> dict[str, float]:
    """Seconds from the fault to each phase of the takeover, the first write last.

    Of the last takeover, where there were several: who was hurt may have opened its gate once more before.
    """
    after = [phase for phase in phases if phase.at >= fault_at and phase.name in ORDER]
    epoch = max((phase.epoch for phase in after if phase.name == "opened"), default=None)
    result: dict[str, float] = {}
    for phase in after:
        if epoch is None or phase.name in NOTICED or phase.epoch == epoch:
            result.setdefault(phase.name, round(phase.at - fault_at, 3))
    ordered = {name: result[name] for name in ORDER if name in result}
    return {**ordered, "first_write": round(first_write - fault_at, 3)}
