"""Take a cluster's lease out of the store, so that no agent can claim it, and note who keeps the data.

Usage: retire_lease.py REGION TABLE CLUSTER [NODE]; without NODE it only tells.
Prints {"changed", "removed", "holder"}: `removed` names the node whose server goes on without the cluster,
`holder` the lease's holder.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import boto3

LEASE, REMOVED = "lease", "removed"


class Refused(Exception):
    """The lease is not the node's to take away."""


def look(client: Any, table: str, cluster: str) -> dict[str, object]:
    """Consistent reads: what stands there now."""
    lease = _item(client, table, cluster, LEASE)
    removed = _item(client, table, cluster, REMOVED)
    return {
        "changed": False,
        "removed": removed.get("node", {}).get("S", ""),
        "holder": lease.get("holder_name", {}).get("S", ""),
    }


def retire(client: Any, table: str, cluster: str, node: str) -> dict[str, object]:
    """Raises Refused. In one transaction: the lease goes if it still is as it was read, the note comes."""
    lease = _item(client, table, cluster, LEASE)
    seen = look(client, table, cluster)
    if not lease and seen["removed"] == node:
        return seen
    if not lease:
        last = seen["removed"] or "not noted"
        raise Refused(f"there is no lease of {cluster}; its last primary is {last}, not {node}")
    if seen["holder"] != node:
        raise Refused(f"the lease of {cluster} is held by {seen['holder'] or 'nobody'}, not by {node}")
    note = {"node": {"S": node}, "system_identifier": lease["system_identifier"], "epoch": lease["epoch"]}
    client.transact_write_items(
        TransactItems=[
            {
                "Delete": {
                    "TableName": table,
                    "Key": _key(cluster, LEASE),
                    "ConditionExpression": "#t = :t",
                    "ExpressionAttributeNames": {"#t": "token"},
                    "ExpressionAttributeValues": {":t": lease["token"]},
                }
            },
            {"Put": {"TableName": table, "Item": {**_key(cluster, REMOVED), **note}}},
        ]
    )
    return {**look(client, table, cluster), "changed": True}


def _key(cluster: str, item: str) -> dict[str, dict[str, str]]:
    return {"cluster": {"S": cluster}, "item": {"S": item}}


def _item(client: Any, table: str, cluster: str, item: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get_item(
        TableName=table, Key=_key(cluster, item), ConsistentRead=True
    ).get("Item", {})
    return found


if __name__ == "__main__":
    region, table, cluster, *node = sys.argv[1:]
    dynamodb = boto3.client("dynamodb", region_name=region)
    try:
        print(json.dumps(retire(dynamodb, table, cluster, *node) if node else look(dynamodb, table, cluster)))
    except (Refused, dynamodb.exceptions.TransactionCanceledException) as error:
        sys.exit(f"LeaseMovedOn: {error}")
