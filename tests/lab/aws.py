"""The controller's own client of a lab's API, which no fault of the API touches."""

from __future__ import annotations

from typing import Any

import boto3

from ec2_lab.daemon import Endpoint
from ec2_lab.model import LabPaths
from rehearsal.lab import Lab


def client(lab: Lab) -> Any:
    endpoint = Endpoint.read(LabPaths(lab.name))
    return boto3.client(
        "ec2",
        endpoint_url=endpoint.url,
        region_name=endpoint.region,
        aws_access_key_id=endpoint.access_key_id,
        aws_secret_access_key=endpoint.secret_access_key,
    )
