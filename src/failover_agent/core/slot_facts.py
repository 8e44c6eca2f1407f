"""The named facts of `rules` about slots and the WAL that the primary keeps. As in `facts`."""

from __future__ import annotations

from failover_agent.core.model import Server
from failover_agent.core.other_facts import serving_holder
from failover_agent.core.snapshot import Snapshot

SLOT_DOUBT_S = 2.0  # how long a standby tries to stream by its slot before it goes on without
SLOT_TAKEN_S = 15.0  # three times what a walsender waits for a silent standby (wal_sender_timeout)
WAL_GONE_S = 60.0  # an archive's next segment may take this long, and so may a conflict that holds up replay


def the_primary_has_my_slot(s: Snapshot) -> bool:
    """By its own word, and nobody streams by it: a walsender that missed my going would refuse me."""
    holder = serving_holder(s)
    if holder is None or not isinstance(s.server, Server) or not s.server.streaming:
        return False
    slot = holder.kept.of(s.me.name)
    return not s.server.slot and slot is not None and not slot.active


def my_slot_may_stop_me(s: Snapshot) -> bool:
    """Unless a walsender of mine holds it that has not noticed my going: it is waited for.

    → beside that one a second, without a slot, would be counted as another standby's acknowledgement.
    """
    if not isinstance(s.server, Server) or not s.server.slot or s.server.streaming:
        return False
    holder = serving_holder(s)
    slot = holder.kept.of(s.me.name) if holder else None
    taken = slot is not None and slot.active
    return s.unstreamed_s >= (SLOT_TAKEN_S if taken else SLOT_DOUBT_S)


def the_wal_i_need_is_gone(s: Snapshot) -> bool:
    """From the primary, by its own word; and nothing has come from an archive either, for a while."""
    holder = serving_holder(s)
    if holder is None or not isinstance(s.server, Server) or s.unmoved_s < WAL_GONE_S:
        return False
    return 0 < s.server.received_lsn < holder.kept.oldest_wal
