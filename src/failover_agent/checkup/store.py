"""The store: reached, ours, allowed; the lease in it; and this node's data beside the lease."""

from __future__ import annotations

import threading
from typing import TypeVar

from failover_agent.adapters.aws_clock import SERVER_CLOCK
from failover_agent.adapters.dynamodb import DynamoLeaseStore
from failover_agent.adapters.files import TokenFile
from failover_agent.adapters.inspect_cloud import prove_may_write
from failover_agent.adapters.postgres.outside import outside
from failover_agent.checkup.cloud import API_TIMEOUT_S, client, every
from failover_agent.checkup.host import RUNS, Host
from failover_agent.config import Config
from failover_agent.core import verdicts
from failover_agent.core.model import LeaseItem, ServerState, Unknown
from failover_agent.core.verdicts import Errors
from failover_agent.errors import AgentError, StoreUnreachable
from failover_agent.shell.doctor import Finding
from failover_agent.wiring import member

T = TypeVar("T")


class Store:
    def __init__(self, config: Config, host: Host) -> None:
        self._config = config
        self._host = host
        self._client = client("dynamodb", config.store.region, config.store.endpoint_url)
        self._store = DynamoLeaseStore(
            self._client,
            table=config.store.table,
            cluster=config.cluster,
            request_timeout_s=API_TIMEOUT_S,
        )
        self._lock = threading.Lock()
        self._seen: LeaseItem | Unknown | None = Unknown("not asked yet")

    def reached(self) -> Finding:
        """It answers, the table is there, and the table is one of ours."""
        self._read()
        return Finding(f"table {self._config.store.table} in {self._config.store.region} answers")

    def rights(self) -> Finding:
        errors = every((self._may_query, self._may_write))
        return Finding("dynamodb:GetItem, PutItem, Query" if not errors else "", errors)

    def lease(self) -> Finding:
        item = self._read()
        fresh = self._host.has_no_data() and TokenFile(self._config.secrets.bootstrap_token).present()
        errors = verdicts.lease_present(self._config.cluster, item, fresh)
        if item is None:
            return Finding("no lease yet: a new cluster" if not errors else "", errors)
        holder = item.holder.name if item.holder else "nobody"
        found = f"held by {holder}, epoch {item.epoch}, system {item.system_identifier or 'not made yet'}"
        members = [member(part) for part in self._config.members]
        return Finding(found, (*errors, *verdicts.holder_is_ours(item, members)))

    def data_directory(self) -> Finding:
        """Whole, or absent; and of the lease's system."""
        where = str(self._config.postgres.data_dir)
        server = self._host.server()
        if server.state is ServerState.ABSENT:
            return Finding(f"{where}: none, this node will clone")
        found = (
            f"{where}: system {server.system_identifier}, timeline {server.timeline}, {server.state.value}"
        )
        return Finding(found, verdicts.data_is_ours(where, server.system_identifier, self._item_or_none()))

    def promise(self) -> Finding:
        """Whose commits, and which tables, a failover may lose where commits are promised (S8)."""
        item = self._item_or_none()
        if item is None or item.mode == "async":
            return Finding("mode async: no commit waits for a standby" if item is not None else "no lease")
        if self._host.server().state not in RUNS:
            return Finding("PostgreSQL does not run here")
        found = outside(self._host.plan)
        told = f"mode {item.mode}; {found.unlogged} unlogged and {found.temporary} temporary relations"
        if found.not_seen:
            told += f"; not looked into: {', '.join(found.not_seen)}"
        return Finding(told, verdicts.outside_the_promise(item.mode, found.settings))

    def clock_ahead_s(self) -> float:
        """How far the store's clock is ahead of ours. Raises AgentError."""
        self._read()
        return SERVER_CLOCK.heard_s or 0.0

    def _item_or_none(self) -> LeaseItem | None:
        try:
            return self._read()
        except AgentError:  # the check `store` says so
            return None

    def _read(self) -> LeaseItem | None:
        """Asked once for all checks. Raises AgentError."""
        with self._lock:
            if isinstance(self._seen, Unknown):
                self._seen = self._store.read()
            return _known(self._seen)

    def _may_query(self) -> Errors:
        _known(self._store.notes("member#"))
        return ()

    def _may_write(self) -> Errors:
        prove_may_write(self._client, self._config.store.table, self._config.cluster)
        return ()


def _known(answer: T | Unknown) -> T:
    """Raises what the answer stands for."""
    if isinstance(answer, Unknown):
        raise answer.cause or StoreUnreachable.about(
            "the lease item",
            value=answer.why,
            expected="one that this agent can read",
            hint="If another version of the agent wrote it, update this one.",
        )
    return answer
