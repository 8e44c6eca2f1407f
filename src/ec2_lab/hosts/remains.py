"""Remove everything a lab's machines left, also after its owner was killed."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from pathlib import Path

from ec2_lab.hosts import cgroups, disks, state
from ec2_lab.hosts.launcher import machine_name, remove_nspawn_folder
from ec2_lab.model import LabPaths

KILL_TIMEOUT_S = 10.0


def sweep(paths: LabPaths) -> None:
    """Kill this lab's hosts and delete their disks and files; of other labs nothing. May be repeated."""
    hosts = [cgroups.HostCgroup(paths, instance_id) for instance_id in cgroups.instances(paths)]
    for host in hosts:
        # Shut down rather than only thawed: nothing on these disks is worth writing out any more.
        disks.cut_power(disks.mounted_disks(host.pids(), paths.disks))
        host.kill()
    for host in hosts:
        cgroups.wait_until_dead(host, KILL_TIMEOUT_S)
        host.remove()
        remove_nspawn_folder(machine_name(paths, host.path.name))
    for image in _images_on_loops(paths.disks):
        disks.detach_loop(image)
    shutil.rmtree(paths.disks, ignore_errors=True)
    shutil.rmtree(state.folder(paths), ignore_errors=True)
    folder = cgroups.lab_cgroup(paths)
    if folder.is_dir():
        folder.rmdir()
    with contextlib.suppress(OSError):  # others may have left something of theirs there
        paths.run.rmdir()


def _images_on_loops(below: Path) -> list[Path]:
    listing = subprocess.run(
        ["losetup", "--list", "--json", "--output", "BACK-FILE"], capture_output=True, text=True, check=True
    ).stdout
    devices = json.loads(listing)["loopdevices"] if listing.strip() else []
    files = (Path(device["back-file"]) for device in devices if device["back-file"])
    return [file for file in files if file.is_relative_to(below)]
