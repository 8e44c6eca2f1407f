"""Tearing a cluster down forgets its lease and nobody else's; the table goes with its last cluster."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto import mock_aws

SCRIPT = Path(__file__).parents[3] / "roles/teardown/files/forget_cluster.py"
TABLE = "leases"


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    with mock_aws():
        client = boto3.client("dynamodb", region_name="eu-central-1")
        client.create_table(
            TableName=TABLE,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[
                {"AttributeName": name, "AttributeType": "S"} for name in ("cluster", "item")
            ],
            KeySchema=[
                {"AttributeName": "cluster", "KeyType": "HASH"},
                {"AttributeName": "item", "KeyType": "RANGE"},
            ],
        )
        yield client


def forget(client: Any, cluster: str) -> dict[str, object]:
    spec = importlib.util.spec_from_file_location("forget_cluster", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: dict[str, object] = module.forget(client, TABLE, cluster)
    return found


def put(client: Any, *clusters: str) -> None:
    for cluster in clusters:
        for item in ("lease", "history#1"):
            client.put_item(TableName=TABLE, Item={"cluster": {"S": cluster}, "item": {"S": item}})


def clusters_in(client: Any) -> set[str]:
    return {item["cluster"]["S"] for item in client.scan(TableName=TABLE)["Items"]}


def test_another_clusters_lease_and_the_table_stay(client: Any) -> None:
    put(client, "ours", "theirs")
    assert forget(client, "ours") == {"changed": True, "items": 2, "table": "kept"}
    assert clusters_in(client) == {"theirs"}


def test_a_second_time_changes_nothing(client: Any) -> None:
    put(client, "theirs")
    assert forget(client, "ours")["changed"] is False
    assert clusters_in(client) == {"theirs"}


def test_the_table_goes_with_its_last_cluster(client: Any) -> None:
    put(client, "ours")
    assert forget(client, "ours")["table"] == "gone"
    assert client.list_tables()["TableNames"] == []
    assert forget(client, "ours") == {"changed": False, "items": 0, "table": "gone"}
