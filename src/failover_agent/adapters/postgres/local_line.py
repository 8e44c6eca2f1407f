"""How much WAL a standby has on its own disk, replayed or not, and on which timeline.

PostgreSQL tells neither: its control file names the timeline of the last restartpoint, and after a restart
it knows of no WAL beyond what it has replayed.
"""

from __future__ import annotations

from pathlib import Path

from failover_agent.adapters import programs
from failover_agent.adapters.postgres import on_disk
from failover_agent.adapters.postgres.plan import PostgresPlan
from failover_agent.core.model import Unknown
from failover_agent.errors import DataDirectoryRefused


def line_end(plan: PostgresPlan) -> on_disk.Flushed | Unknown:
    """Where recovery of this directory would end by its local WAL alone, and on which timeline.

    The control file may name a timeline that was left minutes ago: it learns of another by a restartpoint.
    → a standby was restarted soon after a failover, and counted as all it had what it had replayed so far.
    """
    try:
        control = on_disk.read_control(plan)
        newest, ended_at = _newest_line(plan.wal_dir, control.timeline)
        end = 0
        for timeline in (newest, *sorted(ended_at, reverse=True)):
            here = on_disk.end_on(plan, control, timeline)
            end = max(end, min(here, ended_at.get(timeline, here)))
            began_at = max((lsn for past, lsn in ended_at.items() if past < timeline), default=0)
            if end >= began_at or timeline <= control.timeline:
                break  # else what lies on the timeline before, up to where it was left
    except (DataDirectoryRefused, OSError, programs.TookTooLong) as error:
        return Unknown(f"the local WAL cannot be read: {error}")
    return on_disk.Flushed(newest, end) if end else Unknown(f"no readable WAL in {plan.wal_dir}")


def _newest_line(wal_dir: Path, timeline: int) -> tuple[int, dict[int, int]]:
    """The timeline a recovery that begins on `timeline` ends on, and where those before it ended.

    As PostgreSQL finds `latest` (timeline.c, findNewestTimeLine): the last number with a history file,
    counted up without a gap. One that does not come from `timeline` is no line of this directory: another
    node's, or a number passed over (`timelines`).
    """
    newest, past, number = timeline, on_disk.read_history(wal_dir, timeline), timeline + 1
    while (wal_dir / f"{number:08X}.history").exists():
        history = on_disk.read_history(wal_dir, number)
        if any(fork.timeline == timeline for fork in history):
            newest, past = number, history
        number += 1
    return newest, {fork.timeline: fork.lsn for fork in past}
