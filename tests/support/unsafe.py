"""The one failure that no busy machine excuses."""

from __future__ import annotations


class Unsafe(AssertionError):
    """Two writers, or an acknowledged write that is lost: it fails the run, and is never asked once more."""
