"""WAL positions as PostgreSQL writes them (`16/B374D848`) and as integers."""

from __future__ import annotations


def parse(text: str) -> int:
    """The byte position behind PostgreSQL's `high/low` notation. Raises ValueError on anything else."""
    high, slash, low = text.strip().partition("/")
    if not slash or not (1 <= len(high) <= 8 and 1 <= len(low) <= 8):
        raise ValueError(f"not a WAL position: {text!r}")
    return (int(high, 16) << 32) + int(low, 16)


def show(position: int) -> str:
    """`position` in PostgreSQL's notation."""
    return f"{position >> 32:X}/{position & 0xFFFFFFFF:X}"
