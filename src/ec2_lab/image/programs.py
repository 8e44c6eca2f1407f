"""Start a program of this machine and say clearly what went wrong."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence

from ec2_lab.errors import CommandFailed, MachineMissing

# Debian's package of each program we start, for the hint.
PACKAGE_OF = {"mmdebstrap": "mmdebstrap", "apt-get": "apt", "dpkg-deb": "dpkg"}
TAIL_LINES = 15


def run(argv: Sequence[str], *, hint: str, env: Mapping[str, str] | None = None) -> str:
    """Run to the end and return stdout; CommandFailed carries the last lines of stderr."""
    if shutil.which(argv[0]) is None:
        package = PACKAGE_OF.get(argv[0], argv[0])
        raise MachineMissing(f"program {argv[0]} is not installed", hint=f"apt-get install {package}")
    done = subprocess.run(
        argv,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "LC_ALL": "C", **(env or {})},
    )
    if done.returncode != 0:
        tail = "\n".join((done.stderr or done.stdout).strip().splitlines()[-TAIL_LINES:])
        raise CommandFailed(f"{argv[0]} exited with {done.returncode}:\n{tail}", hint=hint)
    return done.stdout
