"""Looking at EC2 and DynamoDB for the doctor: reads, and requests that cannot change anything.

A right to change is proven without changing: EC2 by DryRun, whose wish is in any case what stands there
already; DynamoDB by a write under a condition that cannot hold. Every call raises the error it meets.
"""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from failover_agent.adapters import aws
from failover_agent.adapters.lease_item import PARTITION_KEY, SORT_KEY
from failover_agent.core.verdicts import TableSeen
from failover_agent.errors import ApiRefused

T = TypeVar("T")

_WOULD_SUCCEED = "DryRunOperation"


class Ec2Inspector:
    """`client` is made at the first call: EC2's model takes long to load."""

    def __init__(self, client: Callable[[], Any]) -> None:
        self._client = functools.cache(client)

    def source_dest_check(self, interface_id: str) -> bool:
        """Whether it is on. Raises AgentError."""
        answer = _ask(
            "ec2:DescribeNetworkInterfaces",
            f"interface {interface_id}",
            lambda: self._client().describe_network_interfaces(NetworkInterfaceIds=[interface_id]),
        )
        return bool(answer["NetworkInterfaces"][0]["SourceDestCheck"])

    def tables(self, ids: Sequence[str]) -> tuple[TableSeen, ...]:
        """Those of `ids` that exist. Raises AgentError."""
        if not ids:
            return ()
        by_id = [{"Name": "route-table-id", "Values": list(ids)}]
        answer = _ask(
            "ec2:DescribeRouteTables",
            "the route tables",
            lambda: self._client().describe_route_tables(Filters=by_id),
        )
        return tuple(_table(found) for found in answer["RouteTables"])

    def prove_may_route(self, table: TableSeen, vip: str, interface_id: str) -> None:
        """Raises RightMissing for the first action on this table that is not allowed, or what else it met."""
        destination = str(ipaddress.ip_network(vip))
        family = "DestinationCidrBlock" if ":" not in destination else "DestinationIpv6CidrBlock"
        wish = {
            "RouteTableId": table.id,
            family: destination,
            "NetworkInterfaceId": table.targets.get(destination) or interface_id,
            "DryRun": True,
        }
        for action in ("ReplaceRoute", "CreateRoute"):
            self._dry_run(action, wish)

    def _dry_run(self, action: str, wish: Mapping[str, Any]) -> None:
        method = {"ReplaceRoute": "replace_route", "CreateRoute": "create_route"}[action]
        try:
            getattr(self._client(), method)(**wish)
        except ClientError as error:
            if aws.code_of(error) != _WOULD_SUCCEED:
                raise aws.fault(error, about=str(wish["RouteTableId"]), action=f"ec2:{action}") from error
        except (BotoCoreError, OSError) as error:
            raise aws.fault(error, about=str(wish["RouteTableId"]), action=f"ec2:{action}") from error
        else:
            raise ApiRefused.about(
                f"DryRun of ec2:{action}",
                value="answered as if it had been done",
                expected=_WOULD_SUCCEED,
                hint="This is not EC2's API: correct `ec2.endpoint_url` in agent.yml.",
            )


def prove_may_write(client: Any, table: str, cluster: str) -> None:
    """That a lease could be written, by a write that cannot happen. Raises AgentError."""
    request = {
        "TableName": table,
        "Item": {PARTITION_KEY: {"S": cluster}, SORT_KEY: {"S": "doctor"}},
        "ConditionExpression": "attribute_exists(#cluster) AND attribute_not_exists(#cluster)",
        "ExpressionAttributeNames": {"#cluster": PARTITION_KEY},
    }
    try:
        client.put_item(**request)
    except ClientError as error:
        if aws.code_of(error) != "ConditionalCheckFailedException":
            raise aws.fault(error, about=f"table {table}", action="dynamodb:PutItem") from error
    except (BotoCoreError, OSError) as error:
        raise aws.fault(error, about=f"table {table}", action="dynamodb:PutItem") from error
    else:
        raise AssertionError("a condition that contradicts itself held")


def _ask(action: str, about: str, call: Callable[[], T]) -> T:
    try:
        return call()
    except (ClientError, BotoCoreError, OSError) as error:
        raise aws.fault(error, about=about, action=action) from error


def _table(found: Mapping[str, Any]) -> TableSeen:
    routes = {
        str(route.get("DestinationCidrBlock") or route.get("DestinationIpv6CidrBlock")): route
        for route in found.get("Routes", ())
        if route.get("DestinationCidrBlock") or route.get("DestinationIpv6CidrBlock")
    }
    return TableSeen(
        id=str(found["RouteTableId"]),
        vpc_cidrs=tuple(to for to, route in routes.items() if route.get("GatewayId") == "local"),
        targets={to: str(route.get("NetworkInterfaceId") or "") for to, route in routes.items()},
        blackholes=frozenset(to for to, route in routes.items() if route.get("State") == "blackhole"),
    )
