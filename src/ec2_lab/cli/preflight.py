"""What this computer must have for a lab, asked before anything is started."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from ec2_lab.errors import MachineMissing

# Program → the Debian package that has it.
PROGRAMS = {
    "systemd-nspawn": "systemd-container",
    "mmdebstrap": "mmdebstrap",
    "nft": "nftables",
    "ip": "iproute2",
    "nsenter": "util-linux",
    "losetup": "mount",
    "mkfs.ext4": "e2fsprogs",
}
DISK_NEEDED_MIB = 4096
STATE = Path("/var/lib")

# Each proves one thing in a namespace that ends with the program.
KERNEL_PROOFS = (
    ("network namespaces", ["true"]),
    ("veth links", ["ip", "link", "add", "one", "type", "veth", "peer", "name", "other"]),
    ("policy routing", ["ip", "rule", "add", "iif", "one", "lookup", "1000"]),
    (
        "nftables with NAT",
        ["nft", "add table ip t; add chain ip t c { type nat hook prerouting priority 0; }"],
    ),
    ("connection tracking", ["nft", "add table ip t; add chain ip t c; add rule ip t c ct state new accept"]),
)


def check() -> None:
    """MachineMissing, in one sentence, for the first thing that is not there."""
    if os.geteuid() != 0:
        raise MachineMissing(f"the lab needs root, we are uid {os.geteuid()}", hint="use sudo")
    absent = [name for name in PROGRAMS if shutil.which(name) is None]
    if absent:
        packages = " ".join(sorted({PROGRAMS[name] for name in absent}))
        raise MachineMissing(f"the lab needs {', '.join(absent)}", hint=f"apt-get install {packages}")
    if " cgroup2 " not in Path("/proc/mounts").read_text():
        raise MachineMissing("no cgroup2 is mounted, and hosts live in its groups", hint="boot with systemd")
    if not Path("/dev/loop-control").exists():
        raise MachineMissing(
            "/dev/loop-control is not there, and disks are loop devices", hint="modprobe loop"
        )
    _check_disk()
    _check_kernel()


def _check_disk() -> None:
    free = shutil.disk_usage(STATE).free >> 20
    if free < DISK_NEEDED_MIB:
        raise MachineMissing(f"{STATE} has {free} MiB free, a lab needs {DISK_NEEDED_MIB}", hint="make room")


def _check_kernel() -> None:
    for what, argv in KERNEL_PROOFS:
        done = subprocess.run(["unshare", "--net", *argv], capture_output=True, text=True)
        if done.returncode != 0:
            said = done.stderr.strip().partition("\n")[0]
            raise MachineMissing(
                f"this kernel gives us no {what}: {said}",
                hint="inside a container, use a machine of its own",
            )
