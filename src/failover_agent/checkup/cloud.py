"""EC2 as this node's role may see it: interface, route tables, rights."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any

from failover_agent.adapters import aws
from failover_agent.adapters.fence import IsolateSubnet, StopInstance
from failover_agent.adapters.inspect_cloud import Ec2Inspector
from failover_agent.checkup.neighbours import Neighbours
from failover_agent.config import Config
from failover_agent.core import verdicts
from failover_agent.core.verdicts import Errors, TableSeen
from failover_agent.errors import AgentError
from failover_agent.shell.doctor import Finding

API_TIMEOUT_S = 5.0


@functools.cache
def _credentials() -> aws.CredentialsAhead:
    return aws.CredentialsAhead()


def client(service: str, region: str, endpoint_url: str) -> Any:  # botocore makes its classes at run time
    return aws.client(
        service,
        region=region,
        endpoint_url=endpoint_url,
        timeout_s=API_TIMEOUT_S,
        credentials=_credentials(),
    )


def every(looks: Sequence[Callable[[], Errors]]) -> Errors:
    """The errors of all, whether returned or raised: one that is met hides no other."""
    found: list[AgentError] = []
    for look in looks:
        try:
            found += look()
        except AgentError as error:
            found.append(error)
    return tuple(found)


class Cloud:
    def __init__(self, config: Config, neighbours: Neighbours) -> None:
        self._config = config
        self._neighbours = neighbours
        self._ec2 = Ec2Inspector(functools.partial(client, "ec2", config.ec2.region, config.ec2.endpoint_url))
        self._lock = threading.Lock()
        self._seen: tuple[TableSeen, ...] | None = None

    def interface(self) -> Finding:
        interface_id = self._config.instance.interface_id
        on = self._ec2.source_dest_check(interface_id)
        found = f"source/destination check of {interface_id} is {'on' if on else 'off'}"
        return Finding(found, verdicts.source_dest_check(interface_id, on))

    def routes(self) -> Finding:
        tables, interfaces = self._tables(), self._neighbours.interfaces()
        errors = list(verdicts.tables_exist(self._config.ec2.route_table_ids, tables))
        shown = []
        for endpoint in self._config.endpoints:
            for table in tables:
                errors += verdicts.route(endpoint.name, endpoint.vip, table, interfaces)
                target = table.target_of(endpoint.vip)
                name = next((n for n, i in interfaces.items() if i == target), target or "nowhere")
                shown.append(f"{endpoint.vip} in {table.id} → {name}")
        return Finding("; ".join(shown), tuple(errors))

    def addresses(self) -> Finding:
        tables, endpoints = self._tables(), self._config.endpoints
        errors = [error for e in endpoints for error in verdicts.vip_outside(e.name, e.vip, tables)]
        networks = ", ".join(sorted({cidr for table in tables for cidr in table.vpc_cidrs}))
        return Finding(f"{', '.join(e.vip for e in endpoints)}; the VPC has {networks}", tuple(errors))

    def rights(self) -> Finding:
        vip = self._config.endpoints[0].vip  # a right is for a table, whatever the address
        looks = [functools.partial(self._may_route, table, vip) for table in self._tables()]
        return Finding(f"ec2:ReplaceRoute, ec2:CreateRoute on {len(looks)} route tables", every(looks))

    def fencing(self) -> Finding:
        """That this node could fence each of the others, by the method that is set."""
        config, others = self._config, [m for m in self._config.members if m.name != self._config.node]
        if config.fencing.method == "none":
            return Finding("nobody is fenced")
        ec2 = functools.partial(client, "ec2", config.ec2.region, config.ec2.endpoint_url)
        fence = (
            StopInstance(ec2, request_timeout_s=API_TIMEOUT_S)
            if config.fencing.method == "stop-instance"
            else IsolateSubnet(ec2, acl_id=config.fencing.acl_id, request_timeout_s=API_TIMEOUT_S)
        )
        looks = [functools.partial(_may_fence, fence, m.instance_id) for m in others]
        names = ", ".join(m.name for m in others) or "nobody"
        return Finding(f"{config.fencing.method} of {names}", every(looks))

    def _may_route(self, table: TableSeen, vip: str) -> Errors:
        self._ec2.prove_may_route(table, vip, self._config.instance.interface_id)
        return ()

    def _tables(self) -> tuple[TableSeen, ...]:
        """Asked once for all checks. Raises AgentError."""
        with self._lock:
            if self._seen is None:
                self._seen = self._ec2.tables(self._config.ec2.route_table_ids)
            return self._seen


def _may_fence(fence: StopInstance | IsolateSubnet, instance_id: str) -> Errors:
    fence.prove(instance_id)
    return ()
