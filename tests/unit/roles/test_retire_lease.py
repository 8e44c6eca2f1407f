"""The program that takes the lease out of the store when Primacy is removed, on the lab's own API."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.ec2_lab.door_lab import fresh_lab
from tests.unit.roles.programs import load

from failover_agent.adapters.lease_item import to_attributes
from failover_agent.core.model import Holder, LeaseItem

program = load("remove", "retire_lease")
TABLE = "leases"
ITEM = LeaseItem("ours", "7431", Holder("db1", "i-1", "n1"), 7, "t1", 6.0, 3, 500)


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Any]:
    with fresh_lab(tmp_path) as lab:
        client = lab.client("dynamodb")
        names = ("cluster", "item")
        client.create_table(
            TableName=TABLE,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in names],
            KeySchema=[
                {"AttributeName": name, "KeyType": kind}
                for name, kind in zip(names, ("HASH", "RANGE"), strict=True)
            ],
        )
        client.put_item(TableName=TABLE, Item=to_attributes(ITEM))
        yield client


def keys(client: Any) -> set[str]:
    return {item["item"]["S"] for item in client.scan(TableName=TABLE)["Items"]}


def test_the_lease_goes_and_a_note_of_the_last_primary_comes_once(client: Any) -> None:
    assert program.look(client, TABLE, "ours") == {"changed": False, "removed": "", "holder": "db1"}

    first = program.retire(client, TABLE, "ours", "db1")
    second = program.retire(client, TABLE, "ours", "db1")

    assert first == {"changed": True, "removed": "db1", "holder": ""}
    assert second == {"changed": False, "removed": "db1", "holder": ""}
    assert keys(client) == {"removed"}


@pytest.mark.parametrize("holder", [Holder("db2", "i-2", "n2"), None])
def test_a_lease_that_moved_on_stays(client: Any, holder: Holder | None) -> None:
    client.put_item(TableName=TABLE, Item=to_attributes(ITEM.but(holder=holder, epoch=8)))

    with pytest.raises(program.Refused):
        program.retire(client, TABLE, "ours", "db1")

    assert keys(client) == {"lease"}


def test_another_node_cannot_take_the_place_of_the_one_that_was_noted(client: Any) -> None:
    program.retire(client, TABLE, "ours", "db1")

    with pytest.raises(program.Refused):
        program.retire(client, TABLE, "ours", "db2")


def test_a_renewal_between_the_look_and_the_write_keeps_the_lease(
    client: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = program.look

    def look_while_the_agent_renews(*args: Any) -> Any:
        client.put_item(TableName=TABLE, Item=to_attributes(ITEM.but(token="t2")))
        return look(*args)

    monkeypatch.setattr(program, "look", look_while_the_agent_renews)

    with pytest.raises(client.exceptions.TransactionCanceledException):
        program.retire(client, TABLE, "ours", "db1")

    assert keys(client) == {"lease"}
