"""Running other programs: always by argument list, always with an end in time."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

KILL_S = 1.0  # a killed program is gone by then, unless it hangs in the kernel


@dataclass(frozen=True, slots=True)
class Finished:
    """What a program left behind. `status` is negative for a signal, as subprocess has it."""

    status: int
    out: str
    err: str

    @property
    def ok(self) -> bool:
        return self.status == 0

    def last_words(self) -> str:
        """The line that most likely says why, for a message."""
        for text in (self.err, self.out):
            lines = [line.strip() for line in text.splitlines() if line.strip()]
            if lines:
                return lines[-1]
        return f"exit status {self.status}"


class TookTooLong(Exception):
    """The program was killed because its time was over."""


def run(
    argv: Sequence[str],
    *,
    timeout_s: float,
    stdin: str = "",
    on_start: Callable[[int], None] | None = None,
    env: Mapping[str, str] | None = None,
    user: str | None = None,
    on_line: Callable[[str], None] | None = None,
) -> Finished:
    """Run to the end, or kill its process group after `timeout_s` and raise TookTooLong.

    With `on_line`, every line of standard error is handed over as it comes (programs of
    PostgreSQL end their progress lines with a carriage return). `on_start` hears the process id before
    the program has read anything.
    """
    if on_line is not None:
        return _run_with_lines(argv, timeout_s=timeout_s, env=env, user=user, on_line=on_line)
    process = _start(argv, env, user, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    if on_start is not None:
        on_start(process.pid)
    try:
        out, err = process.communicate(stdin, timeout=timeout_s)
    except subprocess.TimeoutExpired:
        _kill_group(process)
        raise TookTooLong(f"{Path(argv[0]).name} took longer than {timeout_s:g} s") from None
    return Finished(process.returncode, out, err)


def _run_with_lines(
    argv: Sequence[str],
    *,
    timeout_s: float,
    env: Mapping[str, str] | None,
    user: str | None,
    on_line: Callable[[str], None],
) -> Finished:
    process = _start(argv, env, user, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    late = threading.Timer(timeout_s, _kill_group, args=(process,))
    late.start()
    last: list[str] = []
    try:
        for line in process.stderr or ():  # universal newlines: a carriage return ends a line, too
            if line.strip():
                last = [*last[-19:], line]
                on_line(line.strip())
        status = process.wait()
    finally:
        overdue = not late.is_alive()
        late.cancel()
    if overdue:
        raise TookTooLong(f"{Path(argv[0]).name} took longer than {timeout_s:g} s")
    return Finished(status, "", "".join(last))


def _start(
    argv: Sequence[str], env: Mapping[str, str] | None, user: str | None, *, stdin: int, stdout: int
) -> subprocess.Popen[str]:
    """A session of its own, so that all of it can be killed; no directory of ours is kept busy by it."""
    who = _user(user)
    return subprocess.Popen(
        argv,
        stdin=stdin,
        stdout=stdout,
        stderr=subprocess.PIPE,
        env=_environment(env),
        text=True,
        errors="replace",
        start_new_session=True,
        cwd="/",
        user=who.uid,
        group=who.gid,
        extra_groups=who.groups,
    )


def _environment(extra: Mapping[str, str] | None) -> dict[str, str]:
    path = os.environ.get("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    # Messages are parsed here and there: they must be the untranslated ones.
    return {"PATH": path, "LC_ALL": "C.UTF-8", "TZ": "UTC", **(extra or {})}


@dataclass(frozen=True, slots=True)
class _Who:
    uid: int | None = None
    gid: int | None = None
    groups: tuple[int, ...] | None = None


def _user(name: str | None) -> _Who:
    """Whom to become; nobody else when it is not said, or when we are that user already."""
    if name is None:
        return _Who()
    entry = pwd.getpwnam(name)
    if entry.pw_uid == os.getuid():
        return _Who()
    return _Who(entry.pw_uid, entry.pw_gid, tuple(os.getgrouplist(name, entry.pw_gid)))


def _kill_group(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):  # who hangs on a volume does not even die
        process.wait(KILL_S)
