"""Up and down: the only verbs that work on a lab from outside its daemon."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from ec2_lab.cli import preflight
from ec2_lab.daemon import Process
from ec2_lab.errors import LabError, NoSuchLab
from ec2_lab.model import LabPaths

START_DEADLINE_S = 60.0
END_DEADLINE_S = 60.0
LOG_TAIL_LINES = 15

Say = Callable[[str], None]


def up(paths: LabPaths, say: Say) -> None:
    """Start the lab, or find it up already. Builds the host image the first time."""
    preflight.check()
    with _alone(paths):
        if _answers(paths):
            say(f"lab {paths.name} is up already")
            return
        from ec2_lab import image

        root = image.build(say)
        _remove(paths)
        paths.run.mkdir(parents=True, mode=0o700)
        _start(paths, root)
        say(f"lab {paths.name} is up")


def down(paths: LabPaths, say: Say) -> None:
    """Remove the lab with its machines and disks, whatever state it is in. Never asks."""
    if os.geteuid() != 0:
        preflight.check()
    with _alone(paths) as lock:
        _remove(paths)
        lock.unlink()
    say(f"lab {paths.name} is removed")


@contextlib.contextmanager
def _alone(paths: LabPaths) -> Iterator[Path]:
    """Let nobody else start or remove this lab meanwhile; gives the file that is locked."""
    paths.run.parent.mkdir(parents=True, exist_ok=True)
    path = paths.run.with_suffix(".lock")
    while True:
        with path.open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # Whoever had it before us may have removed the file: then the lock is on nothing.
            if path.exists() and path.stat().st_ino == os.fstat(lock.fileno()).st_ino:
                yield path
                return


def _answers(paths: LabPaths) -> bool:
    from ec2_lab import control

    if Process.running(paths) is None:
        return False
    try:
        control.call(paths, "/status")
    except NoSuchLab:
        return False
    return True


def _start(paths: LabPaths, image_root: Path) -> None:
    log = paths.run / "daemon.log"
    hear, tell = os.pipe()
    argv = [sys.executable, "-m", "ec2_lab.daemon", "--lab", paths.name, "--image", str(image_root)]
    with log.open("a") as out:
        child = subprocess.Popen(
            [*argv, "--ready-fd", str(tell)],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
            pass_fds=(tell,),
            start_new_session=True,  # our terminal may go, the lab stays
            cwd="/",
        )
    os.close(tell)
    with os.fdopen(hear, "rb", buffering=0) as pipe:
        heard = select.select([pipe], [], [], START_DEADLINE_S)[0]
        if heard and pipe.read(16):
            return
    why = "ended before it served" if heard else f"did not serve within {START_DEADLINE_S:g} s"
    tail = "\n".join(log.read_text().splitlines()[-LOG_TAIL_LINES:])
    _end(Process.of(child.pid))
    raise LabError(
        f"the daemon of lab {paths.name} {why}. Its last words:\n{tail}",
        hint=f"the whole log is {log}; `ec2-lab down` removes what is left",
    )


def _remove(paths: LabPaths) -> None:
    """End the daemon, then take away what it, or a killed one before it, left."""
    from ec2_lab import hosts, vpc

    _end(Process.running(paths))
    hosts.sweep(paths)
    vpc.sweep(paths)
    for folder in (paths.run, paths.disks):
        shutil.rmtree(folder, ignore_errors=not folder.exists())


def _end(process: Process | None) -> None:
    """Ask it to end, and kill it when it has not within END_DEADLINE_S."""
    if process is None:
        return
    try:
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return
    try:
        for signal_number in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, signal_number)
            if select.select([handle], [], [], END_DEADLINE_S)[0]:
                return
    finally:
        os.close(handle)
    raise LabError(
        f"process {process.pid} does not die",
        hint="it waits for a disk: look for D in `ps`, thaw what is frozen",
    )
