"""How a node comes back under a primary: follow it, or rewind first.

A timeline history says where each timeline ended. Two servers share their WAL up to the
end of the last timeline they have in common; a node that wrote beyond that point has
diverged and must be rewound. Same reasoning as pg_rewind's findCommonAncestorTimeline.
"""

from __future__ import annotations

from enum import Enum

from failover_agent.core.model import Fork, Server


class Way(Enum):
    FOLLOW = "follow"
    REWIND = "rewind"


def choose_way(mine: Server, my_end: int, primary: Server) -> Way:
    """What this node must do to follow `primary`; `my_end` is the end of its own WAL, 0 when unknown.

    Not knowing asks for the rewind: pg_rewind looks for itself and does nothing where nothing is to do.
    """
    if not my_end or not mine.timeline or not primary.timeline:
        return Way.REWIND
    shared_timeline, shared_until = last_shared(mine, primary)
    if shared_timeline != mine.timeline:
        return Way.REWIND
    if shared_timeline == primary.timeline:
        return Way.FOLLOW  # its position in the report is older than now: no bound to compare with
    return Way.FOLLOW if my_end <= shared_until else Way.REWIND


def last_shared(mine: Server, primary: Server) -> tuple[int, int]:
    """The last timeline both have, and where the first of the two left it (0, 0: none in common)."""
    shared = (0, 0)
    for ours, theirs in zip(_line(mine, primary), _line(primary, mine), strict=False):
        if ours.timeline != theirs.timeline:
            break
        ends = [fork.lsn for fork in (ours, theirs) if fork.lsn]
        shared = (ours.timeline, min(ends, default=0))
        if ours.lsn != theirs.lsn:
            break  # one of them left this timeline earlier: nothing after it is common
    return shared


def _line(server: Server, other: Server) -> tuple[Fork, ...]:
    """Its history and the timeline it is on, which has not ended (0).

    A node whose history file is not there (yet) is taken to have the other's past: streaming
    from it would fetch exactly that file, and PostgreSQL refuses what does not fit.
    """
    past = server.history
    if not past and server.timeline > 1:
        past = tuple(fork for fork in other.history if fork.timeline < server.timeline)
    return (*past, Fork(server.timeline, 0))
