"""What a holder or a claimant writes into the lease item (L1, S2)."""

from __future__ import annotations

from dataclasses import replace

from failover_agent.core.fencing import unfenced_after_claim
from failover_agent.core.model import LEASE_SCHEMA_VERSION, Fork, Holder, LeaseItem, Mode, Server, SyncSet

FORKS_KEPT = 8  # a candidate further behind than so many timelines has too little WAL anyway


def renewal(
    old: LeaseItem,
    holder: Holder,
    token: str,
    ttl_s: float,
    server: Server,
    agent: str = "",
    members: tuple[str, ...] = (),
    *,
    suspect_after_s: float,
) -> LeaseItem:
    """The same epoch once more; names the system as soon as there is one (L6).

    `members`: who may claim in mode async; empty: anybody.
    """
    return _open_to(old, members).but(
        holder=holder,
        token=token,
        ttl_s=ttl_s,
        suspect_after_s=suspect_after_s,
        system_identifier=old.system_identifier or server.system_identifier,
        timeline=max(old.timeline, server.timeline),
        history=_history(old, server),
        lsn=server.received_lsn or old.lsn,
        agent=agent,
    )


def _open_to(old: LeaseItem, members: tuple[str, ...]) -> LeaseItem:
    """Who may claim stands in the item, under version, and only its holder changes it (P2).

    → a new db4 registers where the holder cannot see it, and claims while db2 and db3 keep their promises.
    """
    if old.mode != "async" or old.sync.members or old.may_claim == members:
        return old
    return old.but(may_claim=members, sync=replace(old.sync, version=old.sync.version + 1))


def claim(
    cluster: str,
    old: LeaseItem | None,
    holder: Holder,
    token: str,
    ttl_s: float,
    server: Server,
    agent: str = "",
    mode: Mode = "async",
    *,
    suspect_after_s: float,
    fences: bool = False,
) -> LeaseItem:
    """The next epoch. Its sync set is empty: nobody vouches for it yet (S2).

    `mode` is what a new cluster begins with; one that exists goes on in the mode of its item.
    `fences`: whom it takes the lease from is named until it is fenced.
    A pause goes on until a person ends it.
    """
    if old is None:
        first = _first(cluster, holder, token, ttl_s, server, agent, mode)
        return first.but(suspect_after_s=suspect_after_s)
    return old.but(
        system_identifier=old.system_identifier or server.system_identifier,
        holder=holder,
        epoch=old.epoch + 1,
        token=token,
        ttl_s=ttl_s,
        suspect_after_s=suspect_after_s,
        timeline=max(old.timeline, server.timeline),
        history=_history(old, server),
        lsn=server.received_lsn,
        agent=agent,
        sync=SyncSet(version=old.sync.version + 1),
        # Where seals count, only the claimant may come back until others vouch for its commits (S2).
        may_claim=claimants(old.mode, holder.name, (), old.may_claim),
        schema_version=schema_version(old.mode, old.paused),
        offered_to="",
        released_by="",
        unfenced=unfenced_after_claim(old, holder) if fences else (),
    )


def _first(
    cluster: str, holder: Holder, token: str, ttl_s: float, server: Server, agent: str, mode: Mode
) -> LeaseItem:
    """Empty where there is no data yet; data that is adopted has its name and its past already (L6)."""
    return LeaseItem(
        cluster,
        server.system_identifier,
        holder,
        1,
        token,
        ttl_s,
        timeline=server.timeline,
        lsn=server.received_lsn,
        history=server.history[-FORKS_KEPT:],
        agent=agent,
        mode=mode,
        may_claim=claimants(mode, holder.name),
        schema_version=schema_version(mode),
    )


def release(
    old: LeaseItem, offered_to: str, token: str, server: Server, *, data_lost: bool = False
) -> LeaseItem:
    """Nobody holds it; for one ttl only `offered_to` may claim (empty: anybody who else may).

    S, k and who may claim stay: members vouch for the same commits as before. Only who lost its data
    vouches for nothing any more.
    """
    gone = old.holder.name if old.holder and data_lost else ""
    return old.but(
        holder=None,
        token=token,
        offered_to=offered_to,
        released_by=old.last_holder,
        may_claim=tuple(name for name in old.may_claim if name != gone),
        timeline=max(old.timeline, server.timeline),
        history=_history(old, server),
        lsn=server.received_lsn or old.lsn,
    )


def claimants(
    mode: Mode, holder: str, members: tuple[str, ...] = (), before: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """Who may claim after `holder` while `members` vouch for its commits (S2).

    In mode async nobody vouches: who might claim `before` still may, and nobody else (P2).
    """
    return before if mode == "async" else (holder, *members)


def switched(old: LeaseItem, mode: Mode, holder: str) -> tuple[SyncSet, tuple[str, ...]]:
    """The sync set, and who may claim, of the write that switches to `mode` (S3).

    From async, and to it, nobody vouches for anything; between the others the same members go on.
    """
    version = old.sync.version + 1
    if "async" in (old.mode, mode):
        return SyncSet(version=version), claimants(mode, holder)
    return replace(old.sync, version=version), old.may_claim


def with_pause(old: LeaseItem, since: str) -> LeaseItem:
    """Paused since then; empty: no more. Nothing else of what the item says changes."""
    return old.but(paused=since, schema_version=schema_version(old.mode, since))


def schema_version(mode: Mode, paused: str = "") -> int:
    """An agent that knows no modes, or no pause, must not judge, or claim, where not everybody may.

    It would also drop, with its next renewal, what it does not know.
    """
    if paused:
        return LEASE_SCHEMA_VERSION
    return 1 if mode == "async" else 2


def _history(old: LeaseItem, server: Server) -> tuple[Fork, ...]:
    """Of the timeline that is written: never another's."""
    if server.timeline == max(old.timeline, server.timeline) and server.history:
        return server.history[-FORKS_KEPT:]
    return old.history if old.timeline >= server.timeline else ()
