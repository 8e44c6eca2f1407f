"""Disks as sparse files on loop devices, and the loss of what was never synced to them.

The page cache belongs to the one kernel all hosts share and would survive the death of a host, so a
forgotten fsync would never show. `cut_power` therefore tells each file system to stop at once without
writing anything out (the shutdown ioctl that ext4 and XFS have for tests of crash recovery).

Simulated:
- [documented] a power loss keeps what was synced and loses what was not <POSIX: fsync>
- [assumed] no limit of IOPS or throughput
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from ec2_lab.errors import CommandFailed, LabError, MachineMissing

IOC_SHUTDOWN = 0x8004587D  # _IOR('X', 125, u32): EXT4_IOC_SHUTDOWN and XFS_IOC_GOINGDOWN
WITHOUT_FLUSHING_THE_LOG = struct.pack("I", 2)
FIFREEZE, FITHAW = 0xC0045877, 0xC0045878
LOOP_MAJOR = 7
ROOT_DISK_GIB = 16  # sparse; a host uses what it writes
LOOP_RELEASE_TIMEOUT_S = 10.0


class VolumeBusy(LabError):
    """The volume is mounted in a host and cannot be taken away."""


class VolumeNotMounted(LabError):
    """The host has no data volume mounted that a fault could be made on."""


class VolumeHangs(LabError):
    """The volume takes no writes at present, ours included."""


@dataclass(frozen=True, slots=True)
class MountedDisk:
    """A file system on one of the lab's disks, and a path that leads to it from here."""

    device: str  # loop device number as major:minor
    image: Path
    path: Path


def make_image(image: Path, size_gib: int) -> None:
    """Make the sparse file, or let it grow; a disk never shrinks."""
    image.parent.mkdir(parents=True, exist_ok=True)
    with image.open("ab") as file:
        if file.tell() < size_gib << 30:
            file.truncate(size_gib << 30)


def format_root(image: Path) -> None:
    """An empty ext4; nothing is written that a sparse file already reads as zero."""
    _run(
        "mkfs.ext4", "-q", "-F", "-m", "0", "-E", "assume_storage_prezeroed=1,lazy_journal_init=1", str(image)
    )


def loop_of(image: Path) -> Path | None:
    """The loop device that shows this image, if any."""
    if not image.exists():
        return None
    listed = _run("losetup", "--associated", str(image), "--noheadings", "--output", "NAME").split()
    return Path(listed[0]) if listed else None


def attach_loop(image: Path) -> Path:
    return loop_of(image) or Path(_run("losetup", "--find", "--show", str(image)).strip())


def detach_loop(image: Path) -> None:
    """Let go of the image; waits for the last mount of it, in whatever namespace, to be gone."""
    loop = loop_of(image)
    if loop is None:
        return
    _run("losetup", "--detach", str(loop))
    backing_file = Path("/sys/block") / loop.name / "loop/backing_file"
    deadline = time.monotonic() + LOOP_RELEASE_TIMEOUT_S
    while _shows(backing_file, image):
        if time.monotonic() > deadline:
            raise CommandFailed(
                f"{loop} still shows {image} {LOOP_RELEASE_TIMEOUT_S:g} s after it was detached",
                hint=f"`grep -l {loop} /proc/*/mounts` shows who holds it",
            )
        time.sleep(0.002)  # the kernel unmounts for a dead namespace in its own time, without an event


def mounted_disks(pids: Iterable[int], below: Path) -> list[MountedDisk]:
    """The file systems on images in the folder `below` that these processes have mounted.

    Looks into every mount namespace among them: a service with a namespace of its own may hold a
    mount that the rest of its host no longer has.
    """
    found: dict[str, MountedDisk] = {}
    seen: set[str] = set()
    for pid in pids:
        try:
            namespace = str(Path(f"/proc/{pid}/ns/mnt").readlink())
            lines = [] if namespace in seen else Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
        except OSError:  # ended meanwhile
            continue
        seen.add(namespace)
        for line in lines:
            disk = _lab_disk(pid, line, below)
            if disk is not None:
                found.setdefault(disk.device, disk)
    return list(found.values())


def cut_power(disks: Iterable[MountedDisk]) -> None:
    """From now on nothing reaches these disks any more; what was not synced is lost."""
    for disk in disks:
        try:
            fd = os.open(disk.path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            continue  # unmounted between the look and now: then it is synced
        try:
            fcntl.ioctl(fd, IOC_SHUTDOWN, WITHOUT_FLUSHING_THE_LOG)
            _thaw(fd)
        finally:
            os.close(fd)


def thaw(disks: Iterable[MountedDisk]) -> None:
    """Undo every fsfreeze: who waits for a frozen disk cannot even be killed."""
    for disk in disks:
        with contextlib.suppress(OSError):
            fd = os.open(disk.path, os.O_RDONLY | os.O_DIRECTORY)
            try:
                _thaw(fd)
            finally:
                os.close(fd)


def _thaw(fd: int) -> None:
    # Freezes nest; EINVAL says that none is left.
    with contextlib.suppress(OSError):
        while True:
            fcntl.ioctl(fd, FITHAW, 0)


def _lab_disk(pid: int, mountinfo_line: str, below: Path) -> MountedDisk | None:
    fields = mountinfo_line.split(" ")
    device, mount_point = fields[2], fields[4]
    if not device.startswith(f"{LOOP_MAJOR}:"):
        return None
    try:
        image = Path(Path(f"/sys/dev/block/{device}/loop/backing_file").read_text().rstrip("\n"))
        path = Path(f"/proc/{pid}/root{_unescape(mount_point)}")
        inside = path.stat().st_dev
    except OSError:
        return None
    hidden_by_another_mount = f"{os.major(inside)}:{os.minor(inside)}" != device
    if not image.is_relative_to(below) or hidden_by_another_mount:
        return None
    return MountedDisk(device, image, path)


def _unescape(mount_point: str) -> str:
    # proc(5): space, tab, newline and backslash are written as \ooo.
    return mount_point.encode().decode("unicode_escape").encode("latin-1").decode()


def _shows(backing_file: Path, image: Path) -> bool:
    try:
        return backing_file.read_text().rstrip("\n") == str(image)
    except OSError:
        return False


def _run(*argv: str) -> str:
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
    except FileNotFoundError as missing:
        raise MachineMissing(
            f"program {argv[0]} is not installed", hint="apt-get install mount e2fsprogs"
        ) from missing
    if done.returncode != 0:
        raise CommandFailed(
            f"`{' '.join(argv)}` exited with {done.returncode}: {done.stderr.strip()}",
            hint="is the disk full, or are we not root?",
        )
    return done.stdout
