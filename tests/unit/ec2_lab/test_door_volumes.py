"""A volume as the API tells of it."""

from __future__ import annotations

from tests.unit.ec2_lab.door_lab import Lab


def test_a_volume_from_no_snapshot_names_an_empty_one(lab: Lab) -> None:
    lab.run("db1")
    told = lab.client("ec2").describe_volumes()["Volumes"]
    assert told
    assert all("SnapshotId" in volume for volume in told)
