"""`Hosts`: boots, stops, crashes and pauses the machines behind the instances.

Nothing is remembered between calls. Whether a host runs is read from its cgroup, what it has from its
state file and its disks, so any process may continue where another was killed.

Simulated:
- [documented] an EBS volume appears under the name Nitro instances have for it <EBS user guide: identify
  NVMe volumes>
- [assumed] a machine is a container: all hosts share one kernel, its clock and its version
- [assumed] a paused machine's processes stand still and its cable is dumb; timers in the kernel go on
- [documented] a reboot from inside keeps disks and addresses <EC2 user guide: reboot>
- [documented] a volume that is mounted stays `detaching` <EBS user guide: detach a volume>
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ec2_lab.errors import CommandFailed
from ec2_lab.hosts import disk_faults, disks, seed, state
from ec2_lab.hosts.cgroups import HostCgroup, wait_until_dead
from ec2_lab.hosts.launcher import Launch, launch, machine_name, remove_nspawn_folder
from ec2_lab.model import HostSpec, LabPaths, Power, Volume

# Beside a root disk: the image under it. `image.build` keeps images that a link names.
IMAGE_LINK = "image"
VOLUMES = "volumes"  # the folder of the data volumes' images
POWEROFF = signal.SIGRTMIN + 4  # systemd(1): starts poweroff.target
KILL_TIMEOUT_S = 10.0
FREEZE_TIMEOUT_S = 2.0


def device_node(volume_id: str) -> str:
    """Where a volume appears in its host: the name Nitro instances have for it, whatever the API's device.

    https://docs.aws.amazon.com/ebs/latest/userguide/identify-nvme-ebs-device.html. There it is a link
    to /dev/nvmeXn1; here the node itself.
    """
    return f"/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_{volume_id.replace('-', '')}"


def volume_image(paths: LabPaths, volume_id: str) -> Path:
    return paths.disks / VOLUMES / f"{volume_id}.img"


class Hosts:
    """ports.Machines on systemd-nspawn."""

    def __init__(self, paths: LabPaths, image_root: Path) -> None:
        self._paths = paths
        self._image_root = image_root

    def boot(self, spec: HostSpec, netns: str) -> None:
        """Bring the machine up in the namespace `netns`; returns when its init runs."""
        with self._locked(spec.instance_id) as cgroup:
            if cgroup.populated():
                return
            self._release(spec.instance_id)
            volumes = tuple(volume.volume_id for volume in spec.volumes)
            facts = state.HostState(spec.instance_id, spec.name, spec.private_ip, netns, 0, volumes)
            state.write(self._paths, facts)  # before anything is attached, so that it is found again
            cgroup.create()
            try:
                pid = launch(self._prepared(spec, netns, cgroup))
            except CommandFailed:
                self._release(spec.instance_id)
                raise
            state.write(self._paths, replace(facts, init_pid=pid))

    def shut_down(self, instance_id: str, timeout_s: float) -> None:
        """Ask init to power off, crash the machine when it has not after `timeout_s`."""
        cgroup = HostCgroup(self._paths, instance_id)
        init = cgroup.init_pid()
        if init is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(init, POWEROFF)
            # Without the lock: a crash may come meanwhile, and then a boot.
            if not cgroup.wait_until_empty(timeout_s):
                self.crash(instance_id)
        with self._locked(instance_id):
            if not cgroup.populated():
                self._release(instance_id)

    def crash(self, instance_id: str) -> None:
        """Cut the power. Also the way to clean up after a machine that is off already."""
        with self._locked(instance_id) as cgroup:
            if cgroup.populated():
                cgroup.freeze(True)  # nobody shall live to see the disks fail
                disks.cut_power(disks.mounted_disks(cgroup.pids(), self._paths.disks))
                cgroup.kill()
                wait_until_dead(cgroup, KILL_TIMEOUT_S)
            self._release(instance_id)

    def pause(self, instance_id: str) -> None:
        """Freeze every process. Who waits for a disk inside the kernel freezes when it returns from there."""
        cgroup = self._running(instance_id)
        cgroup.freeze(True)
        cgroup.wait_until_frozen(FREEZE_TIMEOUT_S)

    def resume(self, instance_id: str) -> None:
        self._running(instance_id).freeze(False)

    def hang_disk(self, instance_id: str) -> None:
        """Whoever writes to a data volume waits until `free_disk`, or for the machine's death."""
        with self._locked(instance_id) as cgroup:
            disk_faults.hang(self._mounted_volumes(instance_id, cgroup))

    def free_disk(self, instance_id: str) -> None:
        with self._locked(instance_id) as cgroup:
            disks.thaw(self._mounted_volumes(instance_id, cgroup))

    def fill_disk(self, instance_id: str) -> None:
        """Leave no free block on the data volumes, until `empty_disk`."""
        with self._locked(instance_id) as cgroup:
            disk_faults.fill(self._mounted_volumes(instance_id, cgroup))

    def empty_disk(self, instance_id: str) -> None:
        with self._locked(instance_id) as cgroup:
            disk_faults.empty(self._mounted_volumes(instance_id, cgroup))

    def destroy(self, instance_id: str) -> None:
        """Crash it and delete its root disk; its data volumes stay."""
        self.crash(instance_id)
        shutil.rmtree(self._folder(instance_id), ignore_errors=True)
        state.forget(self._paths, instance_id)

    def attach_volume(self, instance_id: str, volume: Volume) -> None:
        """Make the volume appear in the host; in one that is off it appears at boot."""
        with self._locked(instance_id) as cgroup:
            init = cgroup.init_pid()
            facts = state.read(self._paths, instance_id)
            if facts is not None and volume.volume_id not in facts.volumes:
                state.write(self._paths, replace(facts, volumes=(*facts.volumes, volume.volume_id)))
            if init is None:
                disks.make_image(volume_image(self._paths, volume.volume_id), volume.size_gib)
                return
            loop = self._attached(volume)
            node = Path(f"/proc/{init}/root{device_node(volume.volume_id)}")
            if not node.exists():
                node.parent.mkdir(parents=True, exist_ok=True)
                os.mknod(node, 0o600 | 0o060000, loop.stat().st_rdev)  # S_IFBLK

    def detach_volume(self, instance_id: str, volume_id: str) -> None:
        """Take the volume away; VolumeBusy while the host has it mounted (EBS stays in `detaching` then)."""
        image = volume_image(self._paths, volume_id)
        with self._locked(instance_id) as cgroup:
            for disk in disks.mounted_disks(cgroup.pids(), self._paths.disks):
                if disk.image == image:
                    raise disks.VolumeBusy(
                        f"{volume_id} is mounted in {instance_id}", hint="unmount it in the host first"
                    )
            init = cgroup.init_pid()
            if init is not None:
                Path(f"/proc/{init}/root{device_node(volume_id)}").unlink(missing_ok=True)
            disks.detach_loop(image)
            facts = state.read(self._paths, instance_id)
            if facts is not None:
                left = tuple(v for v in facts.volumes if v != volume_id)
                state.write(self._paths, replace(facts, volumes=left))

    def delete_volume(self, volume_id: str) -> None:
        image = volume_image(self._paths, volume_id)
        disks.detach_loop(image)
        image.unlink(missing_ok=True)

    def power(self, instance_id: str) -> Power:
        cgroup = HostCgroup(self._paths, instance_id)
        if not cgroup.populated():
            return Power.OFF
        return Power.PAUSED if cgroup.frozen() else Power.RUNNING

    def leader_pid(self, instance_id: str) -> int | None:
        return HostCgroup(self._paths, instance_id).init_pid()

    def _prepared(self, spec: HostSpec, netns: str, cgroup: HostCgroup) -> Launch:
        """Disks on loop devices, the seed layer written: all that the launch needs."""
        folder = self._folder(spec.instance_id)
        disk = folder / "root.img"
        if not disk.exists():
            self._make_root_disk(disk)
        # A disk fits only the image it was made on, whatever is the newest by now.
        image = (folder / IMAGE_LINK).readlink()
        seed.write(folder / "seed", spec, image)
        return Launch(
            machine=machine_name(self._paths, spec.instance_id),
            netns=netns,
            cgroup=cgroup,
            folder=folder,
            root_loop=disks.attach_loop(disk),
            lower=f"{folder / 'seed'}:{image}",
            nodes=tuple((self._attached(volume), device_node(volume.volume_id)) for volume in spec.volumes),
            console=self._run_file(spec.instance_id, "console"),
            notify=self._run_file(spec.instance_id, "notify"),
        )

    def _attached(self, volume: Volume) -> Path:
        image = volume_image(self._paths, volume.volume_id)
        disks.make_image(image, volume.size_gib)
        return disks.attach_loop(image)

    def _make_root_disk(self, image: Path) -> None:
        unfinished = image.with_suffix(".new")
        unfinished.unlink(missing_ok=True)
        disks.make_image(unfinished, disks.ROOT_DISK_GIB)
        disks.format_root(unfinished)
        link = image.with_name(IMAGE_LINK)
        link.unlink(missing_ok=True)
        link.symlink_to(self._image_root)
        unfinished.rename(image)

    def _release(self, instance_id: str) -> None:
        """After the last process is gone: no loop device, no cgroup, disks ready for the next boot."""
        facts = state.read(self._paths, instance_id)
        disks.detach_loop(self._folder(instance_id) / "root.img")
        for volume_id in facts.volumes if facts else ():
            disks.detach_loop(volume_image(self._paths, volume_id))
        HostCgroup(self._paths, instance_id).remove()
        remove_nspawn_folder(machine_name(self._paths, instance_id))

    def _mounted_volumes(self, instance_id: str, cgroup: HostCgroup) -> list[disks.MountedDisk]:
        init = cgroup.init_pid()
        # Init first: a service's own namespace may show only a part of the volume, or show it read-only.
        pids = [init, *cgroup.pids()] if init is not None else []
        found = disks.mounted_disks(pids, self._paths.disks / VOLUMES)
        if not found:
            raise disks.VolumeNotMounted(
                f"{instance_id} has no data volume mounted, its power is {self.power(instance_id).value}",
                hint="start the host and mount the volume in it",
            )
        return found

    def _running(self, instance_id: str) -> HostCgroup:
        cgroup = HostCgroup(self._paths, instance_id)
        if not cgroup.populated():
            raise CommandFailed(
                f"{instance_id} is off, it cannot be paused or resumed", hint="start it first"
            )
        return cgroup

    def _folder(self, instance_id: str) -> Path:
        return self._paths.disks / instance_id

    def _run_file(self, instance_id: str, suffix: str) -> Path:
        return state.folder(self._paths) / f"{instance_id}.{suffix}"

    @contextlib.contextmanager
    def _locked(self, instance_id: str) -> Iterator[HostCgroup]:
        """One change at a time per host, among threads and processes alike."""
        lock = self._run_file(instance_id, "lock")
        lock.parent.mkdir(parents=True, exist_ok=True)
        with lock.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield HostCgroup(self._paths, instance_id)
