"""A data volume that hangs, and one that is full, made from outside of the host.

Every verb may be repeated. A hung volume is a frozen file system: writers wait inside the kernel, where
no signal reaches them, exactly as for an EBS volume that does not answer (`disks.cut_power`, a crash,
thaws it). Full is one file of a fixed name in the volume's top folder that takes every free block.

Simulated:
- [documented] an EBS volume that does not answer: writers wait for ever and cannot be killed, as images
  set nvme_core.io_timeout to its maximum <EBS user guide: I/O operation timeout>
- [assumed (AWS: reads wait, too)] reads of a hung volume are answered
- [assumed] a power loss frees a hung volume
- [assumed] a full volume is full for root, too
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from ec2_lab.hosts.disks import FIFREEZE, FITHAW, MountedDisk, VolumeHangs

FILLER = ".ec2-lab-filler"


def hang(disks: Iterable[MountedDisk]) -> None:
    for disk in disks:
        with _opened(disk.path) as folder:
            _freeze(folder)


def fill(disks: Iterable[MountedDisk]) -> None:
    """Take every free block of the volume; what was written out already keeps its place."""
    for disk in disks:
        with _opened(disk.path) as folder:
            _refuse_hung(disk, folder)
            file = os.open(FILLER, os.O_CREAT | os.O_WRONLY, 0o600, dir_fd=folder)
            try:
                _take_all(file)
                os.fsync(file)  # it is still full after a power loss
            finally:
                os.close(file)


def empty(disks: Iterable[MountedDisk]) -> None:
    for disk in disks:
        with _opened(disk.path) as folder:
            _refuse_hung(disk, folder)
            with contextlib.suppress(FileNotFoundError):
                os.unlink(FILLER, dir_fd=folder)
            os.fsync(folder)


def _take_all(file: int) -> None:
    """Ask for less and less until not even one block is to be had."""
    space = os.fstatvfs(file)
    block = space.f_frsize
    size = os.fstat(file).st_size
    wanted = space.f_bfree
    while wanted:
        try:
            os.posix_fallocate(file, size, wanted * block)
        except OSError as full:
            if full.errno != errno.ENOSPC:
                raise
            # ext4 keeps what it got before it ran out; what it did not get is looked for again.
            size = max(size, os.fstat(file).st_size)
            wanted = min(wanted // 2, os.fstatvfs(file).f_bfree)
        else:
            size += wanted * block
            wanted = os.fstatvfs(file).f_bfree


def _freeze(folder: int) -> bool:
    """Whether it was we who froze it."""
    try:
        fcntl.ioctl(folder, FIFREEZE, 0)
    except OSError as already:
        if already.errno != errno.EBUSY:
            raise
        return False
    return True


def _refuse_hung(disk: MountedDisk, folder: int) -> None:
    """A write of ours would wait like any other. The only way to ask is to freeze it for a moment."""
    if not _freeze(folder):
        raise VolumeHangs(f"{disk.image.stem} hangs, nothing can be written to it", hint="disk-free it first")
    fcntl.ioctl(folder, FITHAW, 0)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield folder
    finally:
        os.close(folder)
