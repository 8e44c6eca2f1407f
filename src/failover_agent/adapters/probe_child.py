"""A child process that tries something which may hang, and that nobody ever waits for.

Invariant: no method blocks. A child that hangs on a volume cannot even be killed; it is left behind,
and its owner counts it.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Mapping, Sequence
from typing import IO

_MOST_WORDS = 4096


class Child:
    """One try. Raises OSError when it could not be started, which says nothing about what it was to try."""

    def __init__(self, argv: Sequence[str], started: float, env: Mapping[str, str] | None = None) -> None:
        self.started = started
        self._process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", **(env or {})},
            cwd="/",
            start_new_session=True,
        )
        if self._process.stderr is not None:
            os.set_blocking(self._process.stderr.fileno(), False)

    def status(self) -> int | None:
        """Its exit status, None while it runs."""
        return self._process.poll()

    def words(self) -> str:
        """What it said on standard error, once; to be asked when it has ended."""
        said: IO[bytes] | None = self._process.stderr
        if said is None or said.closed:
            return ""
        text = b""
        with contextlib.suppress(OSError, ValueError):
            text = said.read(_MOST_WORDS) or b""
        said.close()
        return text.decode(errors="replace").strip()

    def kill(self) -> None:
        """Ask the kernel for its end; it may come late, or never."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
