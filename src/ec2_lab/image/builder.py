"""Build the image: bootstrap Debian, fill the mirrors, dress the root as cloud-init would find it."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from ec2_lab.errors import MachineMissing
from ec2_lab.image import mirror, recipe
from ec2_lab.image.programs import run
from ec2_lab.model import LabPaths

Progress = Callable[[str], None]

DISK_NEEDED_BYTES = 3 << 30
UNUSED_AFTER_S = 24 * 3600
APT_FOLDER = "srv/mirror/apt"
WHEEL_FOLDER = "srv/mirror/wheels"
# Units that cannot work, or only cost time, where a kernel is shared and nobody sits at a console.
# debugfs and tracefs would show the whole machine to a host.
MASKED_UNITS = (
    "apt-daily-upgrade.timer",
    "apt-daily.timer",
    "console-getty.service",
    "dev-hugepages.mount",
    "e2scrub_all.timer",
    "e2scrub_reap.service",
    "getty.target",
    "modprobe@.service",
    "sys-fs-fuse-connections.mount",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "systemd-modules-load.service",
    "systemd-pcrphase.service",
)
DPKG_OPTIONS = (
    "force-unsafe-io",  # the lab's own choice, for speed; a real image syncs what dpkg unpacks
    "path-exclude=/usr/share/man/*",
    "path-exclude=/usr/share/doc/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/info/*",
)


def build(progress: Progress) -> Path:
    """Return the root folder of the image for the present recipe, building it the first time.

    Safe to call from several processes at once: one builds, the others wait. Raises MachineMissing
    where this machine cannot, CommandFailed where a program refused.
    """
    _check_machine()
    images = LabPaths("any").images
    images.mkdir(parents=True, exist_ok=True)
    finished = images / recipe.content_hash()
    with (images / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not finished.is_dir():
            _remove_unfinished(images)
            _build_into(finished, progress)
        os.utime(finished)
        _remove_unused(images, keep=finished)
    return finished / "rootfs"


def _check_machine() -> None:
    if os.geteuid() != 0:
        raise MachineMissing(f"the image needs root, we are uid {os.geteuid()}", hint="run the lab with sudo")
    machine = os.uname().machine
    if machine != "x86_64":
        raise MachineMissing(
            f"the lab's wheels are for x86_64, this is {machine}", hint="use an x86_64 machine"
        )


def _check_disk(folder: Path) -> None:
    free = shutil.disk_usage(folder).free
    if free < DISK_NEEDED_BYTES:
        raise MachineMissing(
            f"{folder} has {free >> 20} MiB free, the image needs {DISK_NEEDED_BYTES >> 20} MiB",
            hint="remove old images there that no lab uses, or give the file system room",
        )


def _remove_unfinished(images: Path) -> None:
    # We hold the lock, so a temporary folder here belongs to a build that was killed.
    for left in images.glob(".building-*"):
        shutil.rmtree(left)


def _remove_unused(images: Path, keep: Path) -> None:
    """Delete images that no host's disk stands on and that nobody asked for in the last day."""
    links = LabPaths("any").disks.parent.glob("*/*/image")
    needed = {link.readlink().parent for link in links if link.is_symlink()} | {keep}
    for image in images.iterdir():
        if image.is_dir() and image not in needed and time.time() - image.stat().st_mtime > UNUSED_AFTER_S:
            shutil.rmtree(image)


def _build_into(finished: Path, progress: Progress) -> None:
    began = time.monotonic()
    _check_disk(finished.parent)
    work = Path(tempfile.mkdtemp(prefix=".building-", dir=finished.parent))
    try:
        with ThreadPoolExecutor(1) as pool:
            wheels = work / "wheels"
            wheels.mkdir()
            wheels_done = pool.submit(mirror.download_wheels, wheels)
            _bootstrap(work, progress)
            _collect(work, wheels_done, progress)
        _dress(work / "rootfs")
        work.chmod(0o755)
        work.rename(finished)
    finally:
        shutil.rmtree(work, ignore_errors=True)  # gone already after the rename
    progress(f"host image {finished.name} ready after {time.monotonic() - began:.0f} s")


def _bootstrap(work: Path, progress: Progress) -> None:
    sources = mirror.debian_sources()
    progress(f"bootstrapping Debian {recipe.RELEASE} from {sources[0].split()[2]}")
    debs = work / "debs"
    debs.mkdir()
    # mmdebstrap's own apt settings and lists serve for the download, so nothing has to run inside.
    download = (
        'APT_CONFIG="$MMDEBSTRAP_APT_CONFIG" apt-get --yes --no-install-recommends --download-only'
        f" -o APT::Sandbox::User=root -o Dir::Cache::Archives={debs}/"
        f" install {' '.join(recipe.packages('mirror'))}"
    )
    argv = ["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase"]
    argv += [f"--include={','.join(recipe.packages('base'))}", f"--customize-hook={download}"]
    argv += ['--aptopt=Acquire::Languages "none"', '--aptopt=Acquire::Retries "3"']
    argv += [f"--dpkgopt={option}" for option in DPKG_OPTIONS]
    argv += [recipe.RELEASE, str(work / "rootfs"), *sources]
    run(argv, hint="does `apt-get update` work on this machine, and does its mirror carry the release?")


def _collect(work: Path, wheels_done: Future[None], progress: Progress) -> None:
    root = work / "rootfs"
    apt = root / APT_FOLDER
    apt.mkdir(parents=True)
    for deb in (work / "debs").glob("*.deb"):
        shutil.move(deb, apt)
    count = mirror.write_index(apt)
    progress(f"{count} packages for the hosts' apt; waiting for the wheels of {recipe.NODE_LOCK.name}")
    wheels_done.result()
    shutil.move(work / "wheels", root / WHEEL_FOLDER)
    shutil.rmtree(work / "debs")


def _dress(root: Path) -> None:
    (root / "etc/apt/sources.list").unlink(missing_ok=True)
    shutil.copytree(recipe.FILES, root, dirs_exist_ok=True)
    _own_by_root(root)
    hint = "the bootstrapped root lacks a program; look at packages/base.txt"
    run(["chroot", str(root), "useradd", "--create-home", "--shell", "/bin/bash", "admin"], hint=hint)
    run(["systemctl", f"--root={root}", "mask", *MASKED_UNITS], hint=hint)
    run(
        ["systemctl", f"--root={root}", "enable", "ssh-host-key.service", "kernel-settings.service"],
        hint=hint,
    )
    for key in (root / "etc/ssh").glob("ssh_host_*"):
        key.unlink()
    (root / "etc/machine-id").write_text("")
    (root / "var/lib/dbus/machine-id").unlink(missing_ok=True)
    (root / "etc/resolv.conf").unlink(missing_ok=True)
    (root / "etc/resolv.conf").write_text("# the lab's VPC has no name server\n")
    # Newer than /usr: otherwise the first boot of every host rebuilds caches that are already right.
    for stamp in ("etc/.updated", "var/.updated"):
        (root / stamp).touch()


def _own_by_root(root: Path) -> None:
    # The checkout belongs to whoever cloned it, with whatever umask they had.
    for source in recipe.FILES.rglob("*"):
        copied = root / source.relative_to(recipe.FILES)
        os.chown(copied, 0, 0)
        executable = source.is_dir() or source.stat().st_mode & 0o100
        secret = copied.parent.name == "sudoers.d"
        copied.chmod(0o755 if executable else 0o440 if secret else 0o644)
