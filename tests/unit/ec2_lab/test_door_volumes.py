"""A volume as the API tells of it."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.unit.ec2_lab.door_lab import Lab


def test_a_volume_from_no_snapshot_names_an_empty_one(lab: Lab) -> None:
    lab.run("db1")
    told = lab.client("ec2").describe_volumes()["Volumes"]
    assert told
    assert all("SnapshotId" in volume for volume in told)


def volumes(lab: Lab, instance_id: str) -> list[dict[str, Any]]:
    wanted = [{"Name": "attachment.instance-id", "Values": [instance_id]}]
    return list(lab.client("ec2").describe_volumes(Filters=wanted)["Volumes"])


def disk(device: str, **ebs: object) -> dict[str, object]:
    return {"DeviceName": device, "Ebs": {"VolumeSize": 8, "VolumeType": "gp3", **ebs}}


def test_an_encrypted_volume_without_a_key_has_the_accounts_default_one_which_is_aws_own(lab: Lab) -> None:
    instance, _ = lab.run("db1", BlockDeviceMappings=[disk("/dev/xvda", Encrypted=True), disk("/dev/sdf")])

    root, data = sorted(
        volumes(lab, instance), key=lambda v: str(v["Attachments"][0]["Device"]), reverse=True
    )

    default = lab.client("kms").describe_key(KeyId="alias/aws/ebs")["KeyMetadata"]
    assert (root["Encrypted"], root["KmsKeyId"]) == (True, default["Arn"])
    assert default["KeyManager"] == "AWS"
    assert (data["Encrypted"], data.get("KmsKeyId")) == (False, None)


@pytest.mark.parametrize("way", ["alias", "id", "arn"])
def test_a_volume_names_its_key_by_arn_whatever_way_it_was_asked_for(lab: Lab, way: str) -> None:
    kms = lab.client("kms")
    key = kms.create_key()["KeyMetadata"]
    kms.create_alias(AliasName="alias/primacy-x", TargetKeyId=key["KeyId"])
    name = {"alias": "alias/primacy-x", "id": key["KeyId"], "arn": key["Arn"]}[way]

    instance, _ = lab.run("db1", BlockDeviceMappings=[disk("/dev/xvda", Encrypted=True, KmsKeyId=name)])

    assert [v["KmsKeyId"] for v in volumes(lab, instance)] == [key["Arn"]]


def test_a_key_that_cannot_be_used_is_refused_and_no_machine_is_made(lab: Lab) -> None:
    kms = lab.client("kms")
    off = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.disable_key(KeyId=off)
    cases = {
        "InvalidKmsKey.NotFound": {"Encrypted": True, "KmsKeyId": "alias/nobodys"},
        "InvalidKmsKey.InvalidState": {"Encrypted": True, "KmsKeyId": off},
        "InvalidParameterDependency": {"KmsKeyId": "alias/aws/ebs"},
    }

    for code, ebs in cases.items():
        with pytest.raises(ClientError) as refused:
            lab.run("db1", BlockDeviceMappings=[disk("/dev/xvda", **ebs)])
        assert refused.value.response["Error"]["Code"] == code

    assert lab.client("ec2").describe_instances()["Reservations"] == []
