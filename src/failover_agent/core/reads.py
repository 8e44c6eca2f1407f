"""Until when a standby's clients may read on PostgreSQL's port (PROTOCOL G6).

Invariant: no deadline is ever given to a node that holds the lease, claims it, or is not in recovery.
Where something is not known, nothing is prolonged: what was granted ends by itself.
"""

from __future__ import annotations

from failover_agent.core import facts as f
from failover_agent.core.model import LeaseSeen, Server, Unknown
from failover_agent.core.snapshot import Snapshot


def reads_until(s: Snapshot) -> float | Unknown | None:
    """The deadline (CLOCK_BOOTTIME); None: nobody may read; Unknown: neither prolong nor end.

    A standby begins to serve readers when it streams from the holder, and goes on while the lease
    stays in that epoch: a primary's death does not end reads, its successor's epoch does.
    """
    if f.slept_longer_than_the_lease(s) or s.mine is not None or s.claiming or s.half_rewound or s.job:
        return None
    if isinstance(s.server, Unknown):
        return s.server
    if not f.i_am_a_standby(s) or s.lease is None:
        return None
    if isinstance(s.lease, Unknown):
        return s.lease
    if f.my_data_is_foreign(s) or not _follows(s.server, s.lease, s.reading_epoch):
        return None
    # read_at is the receipt, at most a request timeout after the sending, which the margin covers (L5).
    return s.lease.read_at + s.lease.item.ttl_s - s.timings.margin_s


def _follows(server: Server, lease: LeaseSeen, reading_epoch: int) -> bool:
    if reading_epoch == lease.item.epoch:
        return True
    holder = lease.item.holder
    return holder is not None and server.streaming and server.upstream == holder.name
