"""Which WAL this node may put into the archive, and which it may take from there (N6).

Invariant: into the archive goes only what the holder of the lease wrote, and out of it comes only the
line that the holder is on: an old timeline up to the recorded fork, never past it. Otherwise a deposed
primary archives WAL beyond the fork, and a standby that has not heard of the fork yet replays it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from failover_agent.core.lsn import show
from failover_agent.core.model import Server
from failover_agent.core.snapshot import Mine

_SEGMENT = re.compile(r"([0-9A-F]{8})([0-9A-F]{8})([0-9A-F]{8})")
_PART_OF_ONE = re.compile(r"[0-9A-F]{24}(\.partial|\.[0-9A-F]{8}\.backup)")
_HISTORY = re.compile(r"([0-9A-F]{8})\.history")


@dataclass(frozen=True, slots=True)
class Line:
    """The timelines of the cluster's history, as the node that serves knows them."""

    timeline: int
    ends: tuple[tuple[int, int], ...]  # of its ancestors: timeline, where it was left

    def end_of(self, timeline: int) -> int | None:
        return dict(self.ends).get(timeline)


def line_of(server: Server) -> Line:
    return Line(server.timeline, tuple((fork.timeline, fork.lsn) for fork in server.history))


def why_not_archive(mine: Mine | None, name: str) -> str:
    """Empty when the file may be archived. `mine` is the lease while it is valid."""
    if not (_SEGMENT.fullmatch(name) or _PART_OF_ONE.fullmatch(name) or _HISTORY.fullmatch(name)):
        return f"{name!r} is no file of WAL"
    if mine is None:
        return "this node does not hold the lease"
    if not mine.was_primary and not _HISTORY.fullmatch(name):
        return f"this node was not seen as primary in epoch {mine.epoch} yet"
    return ""


def why_not_restore(line: Line | None, name: str, segment_bytes: int) -> str:
    """Empty when the file may be taken. `line` is None while no node serves, or none is heard."""
    if _PART_OF_ONE.fullmatch(name):
        return ""
    segment, history = _SEGMENT.fullmatch(name), _HISTORY.fullmatch(name)
    if not segment and not history:
        return f"{name!r} is no file of WAL"
    if line is None:
        return "no node serves, so nobody can say where the old timelines end"
    timeline = int(name[:8], 16)
    if timeline == line.timeline:
        return ""
    fork = line.end_of(timeline)
    if fork is None:
        return (
            f"timeline {timeline} is not in the history of timeline {line.timeline}, on which the primary is"
        )
    if segment and (end := _end(segment, segment_bytes)) > fork:
        return f"it reaches up to {show(end)}, and timeline {timeline} was left at {show(fork)}"
    return ""


def _end(segment: re.Match[str], segment_bytes: int) -> int:
    high, low = int(segment[2], 16), int(segment[3], 16)
    return (high << 32) + (low + 1) * segment_bytes
