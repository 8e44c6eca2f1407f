"""Remove one cluster's items from the lease store, and the store's table with its last cluster.

Usage: forget_cluster.py REGION TABLE CLUSTER. Prints {"changed", "items", "table": "kept" | "gone"}.
"""

from __future__ import annotations

import json
import sys
from typing import Any

import boto3


def forget(client: Any, table: str, cluster: str) -> dict[str, object]:
    """Other clusters' items are never touched; a table that holds any stays."""
    try:
        items = _keys_of(client, table, cluster)
        for key in items:
            client.delete_item(TableName=table, Key=key)
        others = client.scan(TableName=table, Limit=1, ConsistentRead=True)
        if others["Items"] or "LastEvaluatedKey" in others:
            return {"changed": bool(items), "items": len(items), "table": "kept"}
        client.delete_table(TableName=table)
        client.get_waiter("table_not_exists").wait(TableName=table, WaiterConfig={"Delay": 1})
    except client.exceptions.ResourceNotFoundException:
        return {"changed": False, "items": 0, "table": "gone"}
    return {"changed": True, "items": len(items), "table": "gone"}


def _keys_of(client: Any, table: str, cluster: str) -> list[dict[str, Any]]:
    pages = client.get_paginator("query").paginate(
        TableName=table,
        ConsistentRead=True,
        KeyConditionExpression="#c = :c",
        ExpressionAttributeNames={"#c": "cluster", "#i": "item"},
        ExpressionAttributeValues={":c": {"S": cluster}},
        ProjectionExpression="#c, #i",
    )
    return [item for page in pages for item in page["Items"]]


if __name__ == "__main__":
    region, table, cluster = sys.argv[1:]
    print(json.dumps(forget(boto3.client("dynamodb", region_name=region), table, cluster)))
