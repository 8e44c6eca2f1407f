"""When a node last renewed its lease, as the API's own history has it."""

from __future__ import annotations

import json
from pathlib import Path

from rehearsal.lab import Lab

WRITES = {"PutItem", "UpdateItem"}


def last_write(lab: Lab, address: str, since: float, until: float) -> float | None:
    """When the store last took a write from `address` within [since, until], seconds since 1970.

    An upper bound for the node's last renewal: side notes are counted as well, which can only
    make a check that uses it more lenient by the time between a beat and a note.
    """
    history = Path("/run/ec2-lab") / lab.name / "api-history.jsonl"
    moments = [
        float(entry["at"])
        for entry in map(json.loads, history.read_text().splitlines())
        if entry["caller"] == address
        and entry["service"] == "dynamodb"
        and entry["action"] in WRITES
        and entry["status"] == 200
        and since <= entry["at"] <= until
    ]
    return max(moments, default=None)
