"""What a holder or a claimant writes into the lease item (L1, S2)."""

from __future__ import annotations

from failover_agent.core.model import Fork, Holder, LeaseItem, Server, SyncSet

FORKS_KEPT = 8  # a candidate further behind than so many timelines has too little WAL anyway


def renewal(
    old: LeaseItem, holder: Holder, token: str, ttl_s: float, server: Server, agent: str = ""
) -> LeaseItem:
    """The same epoch once more; names the system as soon as there is one (L6)."""
    return old.but(
        holder=holder,
        token=token,
        ttl_s=ttl_s,
        system_identifier=old.system_identifier or server.system_identifier,
        timeline=max(old.timeline, server.timeline),
        history=_history(old, server),
        lsn=server.received_lsn or old.lsn,
        agent=agent,
    )


def claim(
    cluster: str,
    old: LeaseItem | None,
    holder: Holder,
    token: str,
    ttl_s: float,
    server: Server,
    agent: str = "",
) -> LeaseItem:
    """The next epoch. Its sync set is empty: nobody vouches for it yet (S2)."""
    if old is None:
        # Empty where there is no data yet; data that is adopted has its name and its past already (L6).
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
        )
    return old.but(
        system_identifier=old.system_identifier or server.system_identifier,
        holder=holder,
        epoch=old.epoch + 1,
        token=token,
        ttl_s=ttl_s,
        timeline=max(old.timeline, server.timeline),
        history=_history(old, server),
        lsn=server.received_lsn,
        agent=agent,
        sync=SyncSet(version=old.sync.version + 1),
        # Where seals count, only the claimant may come back until others vouch for its commits (S2).
        may_claim=(holder.name,) if old.may_claim else (),
        offered_to="",
    )


def release(old: LeaseItem, offered_to: str, token: str, server: Server) -> LeaseItem:
    """Nobody holds it; for one ttl only `offered_to` may claim (empty: anybody)."""
    return old.but(
        holder=None,
        token=token,
        offered_to=offered_to,
        timeline=max(old.timeline, server.timeline),
        history=_history(old, server),
        lsn=server.received_lsn or old.lsn,
    )


def _history(old: LeaseItem, server: Server) -> tuple[Fork, ...]:
    """Of the timeline that is written: never another's."""
    if server.timeline == max(old.timeline, server.timeline) and server.history:
        return server.history[-FORKS_KEPT:]
    return old.history if old.timeline >= server.timeline else ()
