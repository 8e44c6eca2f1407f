"""Tell which volumes hang on the given machines, and how they are encrypted, as the API says it.

Usage: read_volumes.py REGION INSTANCE_ID…. Prints [{"id", "instance", "device", "encrypted", "key"}].
A program of our own because amazon.aws.ec2_vol_info keeps the key's name to itself.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import boto3


def read(client: Any, instance_ids: list[str]) -> list[dict[str, object]]:
    """One line per attachment, sorted; a machine without volumes has none."""
    pages = client.get_paginator("describe_volumes").paginate(
        Filters=[{"Name": "attachment.instance-id", "Values": instance_ids}]
    )
    found = [
        {
            "id": volume["VolumeId"],
            "instance": attachment["InstanceId"],
            "device": attachment["Device"],
            "encrypted": volume["Encrypted"],
            "key": volume.get("KmsKeyId", ""),
        }
        for page in pages
        for volume in page["Volumes"]
        for attachment in volume["Attachments"]
    ]
    return sorted(found, key=lambda line: (line["instance"], line["device"]))


if __name__ == "__main__":
    region, *instances = sys.argv[1:]
    print(json.dumps(read(boto3.client("ec2", region_name=region), instances)))
