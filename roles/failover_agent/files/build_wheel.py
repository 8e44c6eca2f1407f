"""Build the failover agent's wheel, once per content of its sources.

usage: build_wheel.py REPOSITORY CACHE_DIR

Prints JSON: release (a name that follows from the content), wheel and constraints (paths), built (whether
it was made now). Only the agent's package goes in: what else the repository holds is no business of a node's.
Runs on the controller, with its Python; pip fetches the build backend that pyproject.toml names.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PACKAGE = "failover_agent"
CONSTRAINTS = "requirements-node.lock"
METADATA = ("pyproject.toml", "README.md", "LICENSE")
BUILD_TIMEOUT_S = 300


def sources(repository: Path) -> list[Path]:
    """The files that decide what is built, relative to the repository, in one order."""
    package = repository / "src" / PACKAGE
    inside = (p for p in package.rglob("*") if p.is_file() and "__pycache__" not in p.parts)
    return sorted(p.relative_to(repository) for p in (*inside, *(repository / name for name in METADATA)))


def digest(repository: Path, files: list[Path]) -> str:
    """A name for their content and for the versions they will run with."""
    sha = hashlib.sha256()
    for path in (*files, Path(CONSTRAINTS)):
        content = (repository / path).read_bytes()
        sha.update(f"{path}\0{len(content)}\0".encode())
        sha.update(content)
    return sha.hexdigest()[:12]


def build(repository: Path, files: list[Path], release: str, into: Path) -> None:
    """Make the wheel from a copy of `files`, its version ending in the release's name."""
    with tempfile.TemporaryDirectory() as scratch:
        tree, out = Path(scratch) / "tree", Path(scratch) / "out"
        for path in files:
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(repository / path, tree / path)
        project = tree / "pyproject.toml"
        version = re.compile(r'^version = "([^"+]+)"$', re.MULTILINE)
        text, replaced = version.subn(rf'version = "\1+{release}"', project.read_text(), count=1)
        if replaced != 1:
            raise SystemExit(f'no line version = "…" in {repository / "pyproject.toml"}')
        project.write_text(text)
        # The same second in every archive: the same sources give the same bytes.
        environment = os.environ | {"SOURCE_DATE_EPOCH": "1577836800"}
        pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
        done = subprocess.run(
            [*pip, "--wheel-dir", str(out), str(tree)],
            env=environment,
            capture_output=True,
            text=True,
            timeout=BUILD_TIMEOUT_S,
        )
        if done.returncode != 0:
            raise SystemExit(f"pip could not build the agent:\n{done.stdout}{done.stderr}")
        into.mkdir(parents=True, exist_ok=True)
        for wheel in out.glob("*.whl"):
            half = into / f"{wheel.name}.partial"
            shutil.copyfile(wheel, half)
            half.rename(into / wheel.name)


def main() -> None:
    """Look for the wheel, build it where it is missing, say where it is."""
    repository, cache = Path(sys.argv[1]).resolve(), Path(sys.argv[2])
    files = sources(repository)
    release = digest(repository, files)
    folder = cache / release
    built = not any(folder.glob("*.whl"))
    if built:
        build(repository, files, release, folder)
    (wheel,) = folder.glob("*.whl")
    constraints = str(repository / CONSTRAINTS)
    answer = {"release": release, "wheel": str(wheel), "constraints": constraints, "built": built}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
