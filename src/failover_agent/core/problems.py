"""What of one moment a person should know or repair, by class and fields.

The same facts that stop the rules (`foreign-data`, `lease-missing`, `store-silent`, `blind`, …), said so
that a program can tell them apart. Pure.
"""

from __future__ import annotations

from failover_agent.core import facts, liveness, logical_loss, other_facts, pausing, verdicts
from failover_agent.core.model import LeaseItem, Server, SyncProgress, Unknown
from failover_agent.core.snapshot import Snapshot
from failover_agent.errors import (
    AgentError,
    CommitsWait,
    HalfRewoundDirectory,
    NetworkUnreachable,
    NodeAlarm,
    PostgresFailed,
    ReplayHeld,
    StoreUnreachable,
    SyncSetAwaited,
)

HERE = "of this node"


def problems(s: Snapshot, cluster: str) -> tuple[AgentError, ...]:
    """Empty when nothing of this moment needs a person."""
    at_risk = logical_loss.errors(logical_loss.logical_slots_at_risk(s))
    here = (*_of_the_data(s), *_of_the_sync_set(s), *_alarms(s))
    return (*_of_the_lease(s, cluster), *pausing.problem(s), *here, *at_risk)


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
    if other_facts.nobody_answers(s) and (
        facts.my_read_has_no_answer(s) or facts.my_renewal_has_no_answer(s)
    ):
        return (_unreachable(s),)
    if isinstance(s.lease, Unknown):
        return (s.lease.cause or _store_silent(s.lease),)
    item = s.item()
    if item is None:
        fresh = s.bootstrap_token and not other_facts.somebody_has_data(s)
        return verdicts.lease_present(cluster, None, fresh)
    return verdicts.holder_is_ours(item, (s.me, *s.others))


def _of_the_data(s: Snapshot) -> tuple[AgentError, ...]:
    if isinstance(s.server, Unknown):
        return (s.server.cause or postgres_silent(s.server),)
    found: list[AgentError] = []
    if isinstance(s.server, Server):
        found += verdicts.data_is_ours(HERE, s.server.system_identifier, s.item())
        if s.server.held:
            found.append(_replay_held(s.server.held))
    if s.half_rewound:
        found.append(half_rewound(HERE))
    return tuple(found)


def _replay_held(why: str) -> ReplayHeld:
    return ReplayHeld.about(
        f"replay {HERE}",
        value=f"paused by PostgreSQL: {why}",
        expected="settings no lower than the primary's",
        hint="`systemctl stop primacy-postgresql` here: the agent starts it again, as the primary has it.",
    )


def _of_the_sync_set(s: Snapshot) -> tuple[AgentError, ...]:
    """Only the holder can tell."""
    if s.mine is None or s.mine.item.mode == "async" or not facts.i_am_primary(s):
        return ()
    if facts.the_sync_set_is_awaited(s):
        return (_sync_set_awaited(s.mine.item, s.sync.waiting_for),)
    return (_commits_hang(s.mine.item, s.sync),) if s.sync.away else ()


def _sync_set_awaited(item: LeaseItem, waiting_for: str) -> SyncSetAwaited:
    return SyncSetAwaited.about(
        f"sync set of epoch {item.epoch}, mode {item.mode}",
        value=f"waiting for {waiting_for}",
        expected="enough standbys that vouch for every commit, before clients are let in",
        hint="Bring the named standbys back; in mode quorum fewer are enough (`failoverctl config --mode`).",
    )


def _commits_hang(item: LeaseItem, sync: SyncProgress) -> CommitsWait:
    told = f"; {sync.waiting} sessions wait, one for {sync.longest_wait_s:.0f} s" if sync.waiting else ""
    leaves = "; who stays away leaves the set after leave_after_s" if item.mode == "quorum" else ""
    return CommitsWait.about(
        f"commits, which wait for any {item.sync.k} of {', '.join(item.sync.members)}",
        value=f"they hang: {', '.join(sync.away)} not streaming{told}",
        expected=f"{item.sync.k} that stream",
        hint=f"Bring one back{leaves}. `failoverctl config --mode async` lets commits go unprotected.",
    )


def half_rewound(where: str) -> HalfRewoundDirectory:
    return HalfRewoundDirectory.about(
        f"data directory {where}",
        value="a rewind began to overwrite it and did not end",
        expected="a whole data directory",
        hint="The agent sets it aside and clones as soon as a primary serves.",
    )


def _unreachable(s: Snapshot) -> NetworkUnreachable:
    return NetworkUnreachable.about(
        f"network {HERE}",
        value=f"neither the store nor {', '.join(m.name for m in s.others)} answers",
        expected="an answer of any of them",
        hint="Look at this host's interface and security group, its subnet's network ACL and route table.",
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
