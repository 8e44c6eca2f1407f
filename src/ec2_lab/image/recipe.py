"""What decides the content of the image, and the hash over all of it."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ec2_lab.errors import MachineMissing

RELEASE = "trixie"
PYTHON = "3.13"  # of that release; the wheels must fit it
# Wheels built for these run on the release's glibc (2.41); newest first, as pip ranks them.
PLATFORMS = (
    "manylinux_2_34_x86_64",
    "manylinux_2_28_x86_64",
    "manylinux_2_17_x86_64",
    "manylinux2014_x86_64",
)
# Beside the locked ones: what building and installing our own package into a venv needs.
EXTRA_WHEELS = ("pip", "setuptools>=77", "wheel")

HERE = Path(__file__).parent
FILES = HERE / "files"
NODE_LOCK = HERE.parents[2] / "requirements-node.lock"


def packages(name: str) -> list[str]:
    """The package list `name`, without comments."""
    lines = (HERE / "packages" / f"{name}.txt").read_text().splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def content_hash() -> str:
    """Changes whenever something that decides the image changes; Debian's own updates do not count."""
    if not NODE_LOCK.is_file():
        raise MachineMissing(
            f"no {NODE_LOCK.name} at {NODE_LOCK.parent}",
            hint="run the lab from a checkout of the repository, not from an installed wheel",
        )
    digest = hashlib.sha256()
    sources = (p for p in HERE.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    for path in sorted([*sources, NODE_LOCK]):
        digest.update(f"{path.name}\0{path.stat().st_mode & 0o111:o}\0".encode() + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
