"""The lease in DynamoDB: compare-and-set on one item (PROTOCOL L1, L2).

Partition key `cluster`, sort key `item`: `lease`, and side notes such as `member#db1`.
A refused condition is the only answer that means "no"; everything else that is not a plain yes is
`Unknown`, and an `Unknown` write may land later.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeVar, cast

from botocore.exceptions import BotoCoreError, ClientError

from failover_agent.adapters import aws
from failover_agent.adapters.bounded import Bounded, GaveUp
from failover_agent.adapters.lease_item import (
    LEASE_KEY,
    PARTITION_KEY,
    SORT_KEY,
    Attributes,
    NotReadable,
    OfNewerSchema,
    from_attributes,
    to_attributes,
)
from failover_agent.core.model import (
    LEASE_SCHEMA_VERSION,
    Absent,
    Landed,
    LeaseItem,
    Refused,
    TooNew,
    Unknown,
    Version,
    WriteOutcome,
)
from failover_agent.errors import LeaseMoved, LeaseTooNew, LeaseUnreadable

T = TypeVar("T")


class DynamoLeaseStore:
    """Implements `ports.LeaseStore`. Every call comes back within `request_timeout_s`."""

    def __init__(self, client: Any, *, table: str, cluster: str, request_timeout_s: float) -> None:
        self._client = client
        self._table = table
        self._cluster = cluster
        self._timeout_s = request_timeout_s
        self._bounded = Bounded("store")

    def read(self) -> LeaseItem | Unknown | None:
        answer = self._ask(
            "GetItem",
            lambda: self._client.get_item(
                TableName=self._table, Key=self._key(LEASE_KEY), ConsistentRead=True
            ),
        )
        if isinstance(answer, Unknown):
            return answer
        return self._item(answer.get("Item"))

    def write(self, item: LeaseItem, *, only_if: Absent | Version) -> WriteOutcome:
        if item.cluster != self._cluster:
            raise ValueError(f"an item of cluster {item.cluster!r} for the store of {self._cluster!r}")
        request = {"TableName": self._table, "Item": to_attributes(item), **_condition(only_if)}
        try:
            answer = self._ask("PutItem", lambda: self._client.put_item(**request))
        except _ConditionFailed as refused:
            current = self._item(refused.current)
            # Somebody's item stands there and we cannot read it: that is no ground to act on.
            return current if isinstance(current, Unknown) else Refused(current)
        return answer if isinstance(answer, Unknown) else Landed()

    def note(self, key: str, value: Mapping[str, str]) -> Unknown | None:
        if key == LEASE_KEY:
            raise ValueError("the lease is no side note")
        attributes = {**self._key(key), "value": {"M": {name: {"S": text} for name, text in value.items()}}}
        answer = self._ask("PutItem", lambda: self._client.put_item(TableName=self._table, Item=attributes))
        return answer if isinstance(answer, Unknown) else None

    def notes(self, prefix: str) -> Mapping[str, Mapping[str, str]] | Unknown:
        found: dict[str, Mapping[str, str]] = {}
        request = self._notes_request(prefix)
        while True:
            page = self._ask("Query", partial(self._client.query, **request))
            if isinstance(page, Unknown):
                return page
            for entry in page.get("Items", ()):
                if entry[SORT_KEY]["S"] != LEASE_KEY:
                    values = entry.get("value", {}).get("M", {})
                    found[entry[SORT_KEY]["S"]] = {name: text["S"] for name, text in values.items()}
            if "LastEvaluatedKey" not in page:
                return found
            request = {**request, "ExclusiveStartKey": page["LastEvaluatedKey"]}

    def _notes_request(self, prefix: str) -> dict[str, Any]:
        condition, names = "#cluster = :cluster", {"#cluster": PARTITION_KEY}
        values = {":cluster": {"S": self._cluster}}
        if prefix:  # DynamoDB refuses an empty string here
            condition += " AND begins_with(#item, :prefix)"
            names["#item"] = SORT_KEY
            values[":prefix"] = {"S": prefix}
        return {
            "TableName": self._table,
            "ConsistentRead": True,
            "KeyConditionExpression": condition,
            "ExpressionAttributeNames": names,
            "ExpressionAttributeValues": values,
        }

    def _key(self, sort: str) -> dict[str, dict[str, str]]:
        return {PARTITION_KEY: {"S": self._cluster}, SORT_KEY: {"S": sort}}

    def _item(self, found: Attributes | None) -> LeaseItem | Unknown | None:
        if not found:
            return None
        try:
            return from_attributes(found)
        except OfNewerSchema as error:
            return TooNew(f"{self._where}: {error}", cause=self._unreadable(LeaseTooNew, error, _UPGRADE))
        except NotReadable as error:
            return Unknown(f"{self._where}: {error}", cause=self._unreadable(LeaseUnreadable, error, _REPAIR))

    @property
    def _where(self) -> str:
        return f"table {self._table}, cluster {self._cluster}"

    def _unreadable(self, kind: type[LeaseMoved], error: NotReadable, hint: str) -> LeaseMoved:
        return kind.about(
            f"lease item of cluster {self._cluster} in table {self._table}",
            value=str(error),
            expected=f"one of schema version {LEASE_SCHEMA_VERSION}",
            hint=hint,
        )

    def _ask(self, action: str, call: Callable[[], T]) -> T | Unknown:
        about, right = f"table {self._table}", f"dynamodb:{action}"
        try:
            return self._bounded.call(call, self._timeout_s)
        except ClientError as error:
            if aws.code_of(error) == "ConditionalCheckFailedException":
                raise _ConditionFailed(cast("Attributes | None", error.response.get("Item"))) from error
            return aws.unknown(error, about=about, action=right)
        except (BotoCoreError, GaveUp, OSError) as error:
            return aws.unknown(error, about=about, action=right)


_UPGRADE = "Upgrade the agent of this node: run playbooks/site.yml with the version that the others have."
_REPAIR = "Somebody changed it by hand: see 'The lease is missing' in docs/operations.md, 3."


class _ConditionFailed(Exception):
    def __init__(self, current: Attributes | None) -> None:
        super().__init__("the condition did not hold")
        self.current = current


def _condition(only_if: Absent | Version) -> dict[str, Any]:
    show = {"ReturnValuesOnConditionCheckFailure": "ALL_OLD"}
    if isinstance(only_if, Absent):
        names = {"#cluster": PARTITION_KEY}
        return {
            **show,
            "ConditionExpression": "attribute_not_exists(#cluster)",
            "ExpressionAttributeNames": names,
        }
    return {
        **show,
        "ConditionExpression": "#epoch = :epoch AND #token = :token",
        "ExpressionAttributeNames": {"#epoch": "epoch", "#token": "token"},
        "ExpressionAttributeValues": {":epoch": {"N": repr(only_if.epoch)}, ":token": {"S": only_if.token}},
    }
