"""The controller's own client of a lab's API, which no fault of the API touches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import boto3

from ec2_lab.daemon import Endpoint
from ec2_lab.model import LabPaths
from rehearsal.lab import Lab


def client(lab: Lab, service: str = "ec2") -> Any:
    endpoint = Endpoint.read(LabPaths(lab.name))
    made: Any = boto3.client  # one name per service is more than a variable may have
    return made(
        service,
        endpoint_url=endpoint.url,
        region_name=endpoint.region,
        aws_access_key_id=endpoint.access_key_id,
        aws_secret_access_key=endpoint.secret_access_key,
    )


@contextmanager
def port_open(lab: Lab, host: str, port: int) -> Iterator[None]:
    """A TCP port of `host` that its security group lets everybody in the VPC reach, while the block runs."""
    ec2 = client(lab)
    (interface,) = _interfaces(ec2, "attachment.instance-id", lab.instance_id(host))
    group = interface["Groups"][0]["GroupId"]
    rule = {
        "IpProtocol": "tcp",
        "FromPort": port,
        "ToPort": port,
        "IpRanges": [{"CidrIp": "0.0.0.0/0"}],
    }
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[rule])
    try:
        yield
    finally:
        ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=[rule])


def nat_of(lab: Lab, host: str) -> str:
    """The NAT instance that the route table of `host`'s subnet leads to."""
    ec2 = client(lab)
    (interface,) = _interfaces(ec2, "attachment.instance-id", lab.instance_id(host))
    subnet = {"Name": "association.subnet-id", "Values": [interface["SubnetId"]]}
    (table,) = ec2.describe_route_tables(Filters=[subnet])["RouteTables"]
    way_out = next(r for r in table["Routes"] if r.get("DestinationCidrBlock") == "0.0.0.0/0")
    (nat,) = ec2.describe_network_interfaces(NetworkInterfaceIds=[way_out["NetworkInterfaceId"]])[
        "NetworkInterfaces"
    ]
    instance_id = nat["Attachment"]["InstanceId"]
    return next(h["name"] for h in lab.hosts() if h["id"] == instance_id)


def _interfaces(ec2: Any, by: str, value: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = ec2.describe_network_interfaces(Filters=[{"Name": by, "Values": [value]}])[
        "NetworkInterfaces"
    ]
    return found
