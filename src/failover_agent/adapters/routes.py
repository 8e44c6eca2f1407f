"""The VPC's route tables (PROTOCOL R1): compare before write, one attempt, never delete."""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError

from failover_agent.adapters import aws
from failover_agent.adapters.bounded import Bounded, GaveUp
from failover_agent.core.model import Unknown
from failover_agent.errors import AgentError, ApiRefused, RouteDidNotMove, RouteTableMissing, VipInsideVpc

T = TypeVar("T")

# Answers after which the call may work another time, or may have worked.
_PASSING = frozenset(
    {
        "RequestLimitExceeded",
        "Throttling",
        "ThrottlingException",
        "InternalError",
        "InternalFailure",
        "Unavailable",
        "ServiceUnavailable",
    }
)
# A describe of several tables is the slowest of our calls: it may take this many request timeouts.
_SLOWER = 4


class Ec2RouteTables:
    """Implements `ports.RouteTables` for the tables of one VPC.

    EC2 is eventually consistent: a read that shows the wish is no proof, and one that does not is no
    refusal. The caller reconciles for ever.
    """

    def __init__(
        self, client: Callable[[], Any], *, table_ids: Sequence[str], request_timeout_s: float
    ) -> None:
        # Made at the first call: EC2's model takes long to load, and a restarted agent has no time.
        self._client = functools.cache(client)
        self._table_ids = tuple(table_ids)
        self._timeout_s = request_timeout_s * _SLOWER
        self._bounded = Bounded("ec2")

    def targets(self, vip: str) -> Mapping[str, str] | Unknown:
        if not self._table_ids:
            return {}
        answer = self._ask(
            "describing route tables",
            "DescribeRouteTables",
            lambda: self._client().describe_route_tables(RouteTableIds=list(self._table_ids)),
        )
        if isinstance(answer, Unknown):
            return answer
        found = {table["RouteTableId"]: _target(table, _cidr(vip)) for table in answer["RouteTables"]}
        if missing := set(self._table_ids) - set(found):
            return Unknown(f"route table {', '.join(sorted(missing))} is not in the answer")
        return found

    def point(self, table_id: str, vip: str, interface_id: str) -> Unknown | None:
        about = f"pointing {vip} at {interface_id} in {table_id}"
        wish = {"RouteTableId": table_id, "NetworkInterfaceId": interface_id, **_destination(vip)}
        try:
            answer = self._change(about, "ReplaceRoute", lambda: self._client().replace_route(**wish))
            return answer if isinstance(answer, Unknown) else None
        except _NoSuchRoute:
            pass
        try:
            answer = self._change(about, "CreateRoute", lambda: self._client().create_route(**wish))
        except _NoSuchRoute as error:
            raise RouteTableMissing.about(
                about, value=str(error), expected="a table that takes the route", hint=_TABLES
            ) from error
        return answer if isinstance(answer, Unknown) else None

    def drops_strangers(self, interface_id: str) -> bool | Unknown:
        answer = self._ask(
            f"interface {interface_id}",
            "DescribeNetworkInterfaces",
            lambda: self._client().describe_network_interfaces(NetworkInterfaceIds=[interface_id]),
        )
        if isinstance(answer, Unknown):
            return answer
        return bool(answer["NetworkInterfaces"][0]["SourceDestCheck"])

    def _change(self, about: str, action: str, call: Callable[[], T]) -> T | Unknown:
        try:
            return self._ask(about, action, call)
        except ClientError as error:
            code, text = aws.code_of(error), str(error)
            if code == "InvalidRoute.NotFound" or "no route defined" in text:
                raise _NoSuchRoute(text) from error
            if code == "RouteAlreadyExists":  # somebody was quicker; the next comparison shows who
                return Unknown(f"{about}: a route appeared meanwhile")
            raise _refusal(error, about, action) from error

    def _ask(self, about: str, action: str, call: Callable[[], T]) -> T | Unknown:
        try:
            return self._bounded.call(call, self._timeout_s)
        except ClientError as error:
            refused = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500) < 500
            if refused and aws.code_of(error) not in _PASSING and not action.startswith("Describe"):
                raise
            return aws.unknown(error, about=about, action=f"ec2:{action}")
        except (BotoCoreError, GaveUp, OSError) as error:
            return aws.unknown(error, about=about, action=f"ec2:{action}")


def _refusal(error: ClientError, about: str, action: str) -> AgentError:
    """Why EC2 said no to a change, by class."""
    found = aws.fault(error, about=about, action=f"ec2:{action}")
    if not isinstance(found, ApiRefused):
        return found
    if aws.code_of(error) == "InvalidRouteTableID.NotFound":
        return RouteTableMissing.about(
            about, value="there is no such table", expected="a table of this VPC", hint=_TABLES
        )
    if "more specific than one of this VPC's CIDR blocks" in str(error):
        return VipInsideVpc.about(
            about, value="the address lies inside the VPC", expected="an address outside it", hint=_OUTSIDE
        )
    return RouteDidNotMove.about(
        about,
        value=found.value,
        expected="the change taken",
        hint="The VIP must lie outside the VPC's CIDRs, and the interface in this VPC.",
    )


_TABLES = "Run playbooks/site.yml: it finds the private tables and writes them into agent.yml."
_OUTSIDE = "Give the endpoint in primacy_endpoints an address that nothing near the VPC uses, then site.yml."


class _NoSuchRoute(Exception):
    pass


def _cidr(vip: str) -> str:
    return str(ipaddress.ip_network(vip))


def _destination(vip: str) -> dict[str, str]:
    version = ipaddress.ip_address(vip).version
    return {"DestinationCidrBlock" if version == 4 else "DestinationIpv6CidrBlock": _cidr(vip)}


def _target(table: Mapping[str, Any], cidr: str) -> str:
    for route in table.get("Routes", ()):
        if cidr in (route.get("DestinationCidrBlock"), route.get("DestinationIpv6CidrBlock")):
            return "" if route.get("State") == "blackhole" else str(route.get("NetworkInterfaceId", ""))
    return ""
