"""Which release of ours this is."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def own_version() -> str:
    """As the installed package says; "unknown" when run from the sources."""
    try:
        return version("primacy")
    except PackageNotFoundError:
        return "unknown"
