"""Try what a node's role may do. Lines "problem: …" are faults.

usage: try_rights.py REGION TABLE CLUSTER INSTANCE_ID <credentials.json
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

import boto3
from botocore.exceptions import ClientError

DENIED = ("UnauthorizedOperation", "AccessDenied", "AccessDeniedException")


def answer(call: Callable[[], object]) -> str:
    """The error's code, empty for success."""
    try:
        call()
    except ClientError as refused:
        return str(refused.response["Error"]["Code"])
    return ""


def main() -> None:
    region, table, cluster, instance = sys.argv[1:]
    given = json.load(sys.stdin)
    session = boto3.Session(given["AccessKeyId"], given["SecretAccessKey"], given["Token"], region)
    ec2, store, iam = session.client("ec2"), session.client("dynamodb"), session.client("iam")
    lease = {"cluster": {"S": cluster}, "item": {"S": "nobody-asks-for-this"}}
    allowed: dict[str, Callable[[], object]] = {
        "read route tables": lambda: ec2.describe_route_tables(),
        "read the store": lambda: store.get_item(TableName=table, Key=lease, ConsistentRead=True),
    }
    denied: dict[str, Callable[[], object]] = {
        "terminate itself": lambda: ec2.terminate_instances(InstanceIds=[instance]),
        "turn the source/destination check on": lambda: ec2.modify_instance_attribute(
            InstanceId=instance, SourceDestCheck={"Value": True}
        ),
        "delete a lease": lambda: store.delete_item(TableName=table, Key=lease),
        "delete the store": lambda: store.delete_table(TableName=table),
        "give itself rights": lambda: iam.put_role_policy(
            RoleName=f"{cluster}-db",
            PolicyName="more",
            PolicyDocument='{"Version": "2012-10-17", "Statement": []}',
        ),
    }
    for what, call in allowed.items():
        if code := answer(call):
            print(f"problem: the node's role may not {what}: {code}")
    for what, call in denied.items():
        if (code := answer(call)) not in DENIED:
            print(f"problem: the node's role may {what}: {code or 'done'}")


if __name__ == "__main__":
    main()
