"""cloud-init's part: name, /etc/hosts and the key pair's public key, as a thin layer under the host's disk.

Being a layer below what the host writes, it is what a host finds until it changes it, and can be made
again at every boot without touching the host's own changes.

Simulated:
- [documented] host name after the private address <EC2 user guide: instance hostname types>
- [documented] the key pair's public key is in the image's user's authorized_keys <EC2 user guide: key pairs>
- [assumed (AWS: cloud-init, in the instance, after boot)] both are there when init starts
- [not simulated] user data
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ec2_lab.model import HostSpec


def hostname(private_ip: str) -> str:
    """EC2's default for IP-based naming: ip-10-0-11-10."""
    return "ip-" + private_ip.replace(".", "-")


def write(seed: Path, spec: HostSpec, image_root: Path) -> None:
    """Make the layer. Its folders look like the image's: an overlay shows those of the topmost layer."""
    name = hostname(spec.private_ip)
    shutil.rmtree(seed, ignore_errors=True)
    seed.mkdir(parents=True)
    shutil.copystat(image_root, seed)
    _folder(seed, image_root, "etc")
    (seed / "etc/hostname").write_text(f"{name}\n")
    (seed / "etc/hosts").write_text(
        f"127.0.0.1 localhost\n127.0.1.1 {name}.ec2.internal {name}\n::1 localhost ip6-localhost\n"
    )
    if spec.authorized_key:
        _folder(seed, image_root, "home")
        _folder(seed, image_root, "home/admin")
        home = (image_root / "home/admin").stat()
        keys = seed / "home/admin/.ssh/authorized_keys"
        keys.parent.mkdir(mode=0o700)
        keys.write_text(spec.authorized_key.rstrip("\n") + "\n")
        keys.chmod(0o600)
        for path in (keys.parent, keys):
            os.chown(path, home.st_uid, home.st_gid)


def _folder(seed: Path, image_root: Path, name: str) -> None:
    (seed / name).mkdir()
    shutil.copystat(image_root / name, seed / name)
    original = (image_root / name).stat()
    os.chown(seed / name, original.st_uid, original.st_gid)
