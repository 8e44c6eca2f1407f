"""The program that reads back how a cluster's volumes are encrypted, on the lab's own API."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.ec2_lab.door_lab import Lab, fresh_lab

SCRIPT = Path(__file__).resolve().parents[3] / "roles/provision/files/read_volumes.py"


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with fresh_lab(tmp_path) as made:
        yield made


def read(lab: Lab, *instances: str) -> list[dict[str, Any]]:
    spec = importlib.util.spec_from_file_location("read_volumes", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: list[dict[str, Any]] = module.read(lab.client("ec2"), list(instances))
    return found


def disk(device: str, encrypted: bool) -> dict[str, object]:
    return {"DeviceName": device, "Ebs": {"VolumeSize": 8, "VolumeType": "gp3", "Encrypted": encrypted}}


def test_it_tells_of_each_volume_whether_it_is_encrypted_and_by_which_key(lab: Lab) -> None:
    ours, _ = lab.run("db1", BlockDeviceMappings=[disk("/dev/xvda", True), disk("/dev/sdf", False)])
    lab.run("others", BlockDeviceMappings=[disk("/dev/xvda", True)])

    found = read(lab, ours)

    default = lab.client("kms").describe_key(KeyId="alias/aws/ebs")["KeyMetadata"]["Arn"]
    assert [(v["instance"], v["device"], v["encrypted"], v["key"]) for v in found] == [
        (ours, "/dev/sdf", False, ""),
        (ours, "/dev/xvda", True, default),
    ]
