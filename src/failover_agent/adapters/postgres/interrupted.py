"""The mark of a rewind that has begun to overwrite and not ended: such a directory must never start."""

from __future__ import annotations

import json
from pathlib import Path

from failover_agent.adapters import files
from failover_agent.adapters.postgres.plan import PostgresPlan
from failover_agent.errors import PostgresFailed

_HINT = "The agent clones this node instead; the old directory is kept beside it."


def _mark(plan: PostgresPlan) -> Path:
    return plan.state_dir / "rewind-begun.json"


def note_rewind(plan: PostgresPlan, upstream: str, kept: str) -> None:
    """Durable before the first byte of the data directory changes. Raises PostgresFailed."""
    text = json.dumps({"data_dir": str(plan.data_dir), "upstream": upstream, "kept": kept})
    try:
        plan.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        files.write_durably(_mark(plan), text)
    except OSError as error:
        raise PostgresFailed(
            f"{_mark(plan)} could not be written: {error}", hint="Is the disk full?"
        ) from error


def forget_rewind(plan: PostgresPlan) -> None:
    """The data directory is whole again. Raises PostgresFailed."""
    try:
        files.remove_durably(_mark(plan))
    except OSError as error:
        raise PostgresFailed(
            f"{_mark(plan)} could not be removed: {error}", hint="Remove it by hand."
        ) from error


def is_half_rewound(plan: PostgresPlan) -> bool:
    return _mark(plan).exists()


def refuse_half_rewound(plan: PostgresPlan) -> None:
    """Raises PostgresFailed when a rewind was interrupted."""
    if is_half_rewound(plan):
        raise PostgresFailed(f"a rewind of {plan.data_dir} was interrupted; it is not whole", hint=_HINT)
