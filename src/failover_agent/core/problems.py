"""What of one moment a person should know or repair, by class and fields.

The same facts that stop the rules (`foreign-data`, `lease-missing`, `store-silent`, `blind`, …), said so
that a program can tell them apart. Pure.
"""

from __future__ import annotations

from failover_agent.core import facts, liveness, verdicts
from failover_agent.core.model import LeaseItem, LeaseSeen, Server, Unknown
from failover_agent.core.snapshot import Snapshot
from failover_agent.errors import (
    AgentError,
    HalfRewoundDirectory,
    NodeAlarm,
    PostgresFailed,
    StoreUnreachable,
)

HERE = "of this node"


def problems(s: Snapshot, cluster: str) -> tuple[AgentError, ...]:
    """Empty when nothing of this moment needs a person."""
    return (*_of_the_lease(s, cluster), *_of_the_data(s), *_alarms(s))


def _alarms(s: Snapshot) -> tuple[AgentError, ...]:
    return tuple(
        NodeAlarm.about(
            f"alarm {name}",
            value=sentence,
            expected="none",
            hint="See 'Alarms' in docs/operations.md: what the agent does about it, and what people can.",
        )
        for name, sentence in sorted(liveness.alarms(s.health, s.limits).items())
    )


def _of_the_lease(s: Snapshot, cluster: str) -> tuple[AgentError, ...]:
    if isinstance(s.lease, Unknown):
        return (s.lease.cause or _store_silent(s.lease),)
    item = _item(s)
    if item is None:
        fresh = s.bootstrap_token and not facts.somebody_has_data(s)
        return verdicts.lease_present(cluster, None, fresh)
    return verdicts.holder_is_ours(item, (s.me, *s.others))


def _of_the_data(s: Snapshot) -> tuple[AgentError, ...]:
    if isinstance(s.server, Unknown):
        return (s.server.cause or postgres_silent(s.server),)
    found: list[AgentError] = []
    if isinstance(s.server, Server):
        found += verdicts.data_is_ours(HERE, s.server.system_identifier, _item(s))
    if s.half_rewound:
        found.append(half_rewound(HERE))
    return tuple(found)


def _item(s: Snapshot) -> LeaseItem | None:
    return s.lease.item if isinstance(s.lease, LeaseSeen) else None


def half_rewound(where: str) -> HalfRewoundDirectory:
    return HalfRewoundDirectory.about(
        f"data directory {where}",
        value="a rewind began to overwrite it and did not end",
        expected="a whole data directory",
        hint="The agent sets it aside and clones as soon as a primary serves.",
    )


def _store_silent(answer: Unknown) -> StoreUnreachable:
    return StoreUnreachable.about(
        "the store of the lease",
        value=answer.why,
        expected="an answer",
        hint="See 'The store is away' in docs/operations.md.",
    )


def postgres_silent(answer: Unknown) -> PostgresFailed:
    return PostgresFailed.about(
        "PostgreSQL of this node",
        value=answer.why,
        expected="an answer",
        hint="Look at `journalctl -u primacy-postgresql` and at the disk.",
    )
