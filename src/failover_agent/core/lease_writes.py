"""What a holder or a claimant writes into the lease item (L1, S2)."""

from __future__ import annotations

from failover_agent.core.model import Holder, LeaseItem, Server, SyncSet


def renewal(old: LeaseItem, holder: Holder, token: str, ttl_s: float, server: Server) -> LeaseItem:
    """The same epoch once more; names the system as soon as there is one (L6)."""
    return old.but(
        holder=holder,
        token=token,
        ttl_s=ttl_s,
        system_identifier=old.system_identifier or server.system_identifier,
        timeline=max(old.timeline, server.timeline),
        lsn=server.received_lsn or old.lsn,
    )


def claim(
    cluster: str, old: LeaseItem | None, holder: Holder, token: str, ttl_s: float, server: Server
) -> LeaseItem:
    """The next epoch. Its sync set is empty: nobody vouches for it yet (S2)."""
    if old is None:
        return LeaseItem(cluster, "", holder, 1, token, ttl_s, timeline=0, lsn=0)
    return old.but(
        system_identifier=old.system_identifier or server.system_identifier,
        holder=holder,
        epoch=old.epoch + 1,
        token=token,
        ttl_s=ttl_s,
        timeline=max(old.timeline, server.timeline),
        lsn=server.received_lsn,
        sync=SyncSet(version=old.sync.version + 1),
        offered_to="",
    )


def release(old: LeaseItem, offered_to: str, token: str, server: Server) -> LeaseItem:
    """Nobody holds it; for one ttl only `offered_to` may claim (empty: anybody)."""
    return old.but(
        holder=None,
        token=token,
        offered_to=offered_to,
        timeline=max(old.timeline, server.timeline),
        lsn=server.received_lsn or old.lsn,
    )
