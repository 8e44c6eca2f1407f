"""What can be known of the machines without starting one."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ec2_lab.hosts import disks, seed, state
from ec2_lab.hosts.machines import device_node
from ec2_lab.image import mirror, recipe
from ec2_lab.model import HostSpec, LabPaths

SPEC = HostSpec("i-1", "db1", "eu-central-1a", "10.0.11.10", 24, "10.0.11.1", "", "ssh-ed25519 AAAA someone")


@pytest.fixture
def image_root(tmp_path: Path) -> Path:
    root = tmp_path / "image"
    for folder, mode in (("etc", 0o755), ("home", 0o755), ("home/admin", 0o700)):
        (root / folder).mkdir(parents=True)
        (root / folder).chmod(mode)
    return root


def test_the_seed_carries_what_cloud_init_would_write(tmp_path: Path, image_root: Path) -> None:
    seed.write(tmp_path / "seed", SPEC, image_root)

    assert (tmp_path / "seed/etc/hostname").read_text() == "ip-10-0-11-10\n"
    assert "127.0.1.1 ip-10-0-11-10.ec2.internal ip-10-0-11-10\n" in (tmp_path / "seed/etc/hosts").read_text()
    keys = tmp_path / "seed/home/admin/.ssh/authorized_keys"
    assert keys.read_text() == "ssh-ed25519 AAAA someone\n"
    assert [oct(path.stat().st_mode & 0o777) for path in (keys, keys.parent, keys.parent.parent)] == [
        "0o600",  # sshd ignores a key file that others may write
        "0o700",
        "0o700",  # as in the image: an overlay shows the folder of its topmost layer
    ]


def test_a_second_seed_forgets_the_first(tmp_path: Path, image_root: Path) -> None:
    seed.write(tmp_path / "seed", SPEC, image_root)
    without_key = HostSpec("i-1", "db1", "a", "10.0.11.10", 24, "10.0.11.1", "", "")

    seed.write(tmp_path / "seed", without_key, image_root)

    assert not (tmp_path / "seed/home").exists()


def test_a_volume_appears_under_the_name_nitro_gives_it() -> None:
    assert device_node("vol-0abc") == "/dev/disk/by-id/nvme-Amazon_Elastic_Block_Store_vol0abc"


def test_a_disk_grows_and_never_shrinks(tmp_path: Path) -> None:
    image = tmp_path / "disk.img"
    sizes = []
    for size_gib in (2, 1, 3):
        disks.make_image(image, size_gib)
        sizes.append(image.stat().st_size >> 30)

    assert sizes == [2, 2, 3]
    assert image.stat().st_blocks == 0, "sparse"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("/data", "/data"),
        (r"/with\040space", "/with space"),
        (r"/back\134slash", r"/back\slash"),
        ("/ä", "/ä"),
    ],
)
def test_mount_points_are_read_as_proc_writes_them(written: str, meant: str) -> None:
    assert disks._unescape(written) == meant


def test_a_hosts_state_survives_the_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LabPaths, "run", tmp_path)
    paths = LabPaths("any")
    facts = state.HostState("i-1", "db1", "10.0.11.10", "netns", 4711, ("vol-1", "vol-2"))

    state.write(paths, facts)

    assert state.read(paths, "i-1") == facts
    assert state.every(paths) == [facts]
    state.forget(paths, "i-1")
    assert state.read(paths, "i-1") is None


def test_the_mirrors_index_names_every_package(tmp_path: Path) -> None:
    control = tmp_path / "pkg/DEBIAN/control"
    control.parent.mkdir(parents=True)
    control.write_text(
        "Package: tiny\nVersion: 1.0\nArchitecture: all\nMaintainer: x <x@y>\nDescription: t\n"
    )
    apt = tmp_path / "apt"
    apt.mkdir()
    subprocess.run(["dpkg-deb", "--build", str(tmp_path / "pkg"), str(apt / "tiny.deb")], check=True)

    assert mirror.write_index(apt) == 1

    index = (apt / "Packages").read_text()
    assert "Package: tiny\n" in index
    assert f"Filename: ./tiny.deb\nSize: {(apt / 'tiny.deb').stat().st_size}\nSHA256: " in index


def test_package_lists_hold_names_only() -> None:
    for name in ("base", "mirror"):
        assert all(word.isascii() and " " not in word and "#" not in word for word in recipe.packages(name))
