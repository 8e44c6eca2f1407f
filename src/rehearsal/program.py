"""A program of ours that runs on a host of the lab, and what it says.

The whole file, and `attempts` that it may use, is sent there and started with `python3 -c`; it ends when its
standard input ends.
"""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

from rehearsal import attempts
from rehearsal.lab import Lab

# There is no package `rehearsal` on that host.
_START = """\
import sys, types
sys.modules["rehearsal"] = types.ModuleType("rehearsal")
sys.modules["rehearsal.attempts"] = types.ModuleType("rehearsal.attempts")
exec({attempts!r}, vars(sys.modules["rehearsal.attempts"]))
exec({program!r})
"""
END_S = 15.0


def text_of(module: ModuleType) -> str:
    """What `python3 -c` runs on a host that has nothing of ours."""
    return _START.format(attempts=_source(attempts), program=_source(module))


def _source(module: ModuleType) -> str:
    assert module.__file__ is not None, "our programs are files"
    return Path(module.__file__).read_text()


class Program:
    """Use as a context manager; every line of its output goes to `hear`, in a thread of its own."""

    def __init__(
        self,
        lab: Lab,
        host: str,
        module: ModuleType,
        argument: str,
        hear: Callable[[str], None],
        python: Sequence[str] = ("python3",),
    ) -> None:
        text = text_of(module)
        self._command = lab.command("exec", host, "--", *python, "-uc", text, argument)
        self._hear = hear
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    def __enter__(self) -> Program:
        self._process = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None, "entered"
        assert self._process.stdin is not None, "opened as a pipe"
        self._process.stdin.close()
        try:
            self._process.wait(timeout=END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._reader:
            self._reader.join(timeout=5)

    def ended_with(self) -> int | None:
        """Its status, None while it runs."""
        assert self._process is not None, "entered"
        return self._process.poll()

    def _read(self) -> None:
        assert self._process is not None, "started before the reader"
        assert self._process.stdout is not None, "opened as a pipe"
        for line in self._process.stdout:
            self._hear(line)
