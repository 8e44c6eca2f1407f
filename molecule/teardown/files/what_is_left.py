"""What the region has of a cluster. Prints {"volumes": [id…], "table": bool, "others": [what…]}.

usage: what_is_left.py REGION CLUSTER TABLE
"""

from __future__ import annotations

import json
import sys
from typing import Any

import boto3

GONE = ("terminated",)


def others(ec2: Any, iam: Any, cluster: str) -> list[str]:
    """Everything but data volumes, found by the cluster's tag, its name, or by lying in no default VPC."""
    tagged = [{"Name": "tag:primacy:cluster", "Values": [cluster]}]
    found = [
        i["InstanceId"]
        for r in ec2.describe_instances(Filters=tagged)["Reservations"]
        for i in r["Instances"]
        if i["State"]["Name"] not in GONE
    ]
    found += [v["VpcId"] for v in ec2.describe_vpcs(Filters=tagged)["Vpcs"]]
    found += [s["SubnetId"] for s in ec2.describe_subnets(Filters=tagged)["Subnets"]]
    found += [t["RouteTableId"] for t in ec2.describe_route_tables(Filters=tagged)["RouteTables"]]
    found += [g["GroupId"] for g in ec2.describe_security_groups(Filters=tagged)["SecurityGroups"]]
    found += [
        g["InternetGatewayId"] for g in ec2.describe_internet_gateways(Filters=tagged)["InternetGateways"]
    ]
    endpoints = ec2.describe_vpc_endpoints(Filters=tagged)["VpcEndpoints"]
    found += [e["VpcEndpointId"] for e in endpoints if e["State"] != "deleted"]
    found += [k["KeyName"] for k in ec2.describe_key_pairs()["KeyPairs"] if k["KeyName"] == cluster]
    found += [r["RoleName"] for r in iam.list_roles()["Roles"] if r["RoleName"].startswith(f"{cluster}-")]
    profiles = iam.list_instance_profiles()["InstanceProfiles"]
    found += [
        p["InstanceProfileName"] for p in profiles if p["InstanceProfileName"].startswith(f"{cluster}-")
    ]
    return found


def main() -> None:
    region, cluster, table = sys.argv[1:]
    ec2, iam = boto3.client("ec2", region_name=region), boto3.client("iam", region_name=region)
    tagged = [
        {"Name": "tag:primacy:cluster", "Values": [cluster]},
        {"Name": "tag:primacy:role", "Values": ["db"]},
    ]
    volumes = [v["VolumeId"] for v in ec2.describe_volumes(Filters=tagged)["Volumes"]]
    tables = boto3.client("dynamodb", region_name=region).list_tables()["TableNames"]
    said = {"volumes": volumes, "table": table in tables, "others": others(ec2, iam, cluster)}
    print(json.dumps(said))


if __name__ == "__main__":
    main()
