"""Timeline numbers that a promotion passes over, so that none which a lease named is begun twice (N2).

PostgreSQL takes the number after the last one that has a history file, counted up without a gap. A node
that never saw the primary's last timeline has no file for it and would begin its twin: the same number,
other rows, and neither streaming nor pg_rewind tells them apart. So the numbers are taken by history
files that name no parent. They stay as long as a later timeline does: a follower asks its primary for
every file in between, and cannot follow one that lacks it.
"""

from __future__ import annotations

import re

from failover_agent.adapters import files
from failover_agent.adapters.postgres import on_disk
from failover_agent.adapters.postgres.plan import PostgresPlan
from failover_agent.errors import PostgresFailed

MARK = "# Passed over by failover-agent: another node had this timeline, and nobody followed it.\n"
_HISTORY = re.compile(r"^([0-9A-F]{8})\.history$")


def pass_over(plan: PostgresPlan, above: int) -> None:
    """The next promotion here gets a number greater than `above`. Raises AgentError."""
    own = on_disk.read_control(plan).timeline
    try:
        for timeline in range(own + 1, above + 1):
            path = plan.wal_dir / f"{timeline:08X}.history"
            if not path.exists():
                files.write_durably(path, MARK, owner=plan.user)
    except OSError as error:
        raise _failed(plan, error) from error


def tell_archiver(plan: PostgresPlan) -> None:
    """Who restores from the archive meets the same gap. Raises PostgresFailed."""
    try:
        for timeline in _passed_over(plan):
            name = f"{timeline:08X}.history"
            done = plan.wal_dir / "archive_status" / f"{name}.done"
            if not done.exists():
                files.write_if_other(done.with_name(f"{name}.ready"), "", owner=plan.user)
    except OSError as error:
        raise _failed(plan, error) from error


def tidy(plan: PostgresPlan) -> None:
    """Before a start: a number passed over with nothing after it would keep PostgreSQL from starting.

    Raises PostgresFailed.
    """
    try:
        passed = _passed_over(plan)
        last = max(set(_with_history(plan)) - set(passed), default=0)
        for timeline in passed:
            if timeline > last:
                files.remove_durably(plan.wal_dir / f"{timeline:08X}.history")
    except OSError as error:
        raise _failed(plan, error) from error


def _passed_over(plan: PostgresPlan) -> list[int]:
    return [t for t in _with_history(plan) if (plan.wal_dir / f"{t:08X}.history").read_text() == MARK]


def _with_history(plan: PostgresPlan) -> list[int]:
    found = (_HISTORY.match(path.name) for path in plan.wal_dir.iterdir())
    return sorted(int(match.group(1), 16) for match in found if match)


def _failed(plan: PostgresPlan, error: OSError) -> PostgresFailed:
    return PostgresFailed(
        f"a timeline history in {plan.wal_dir} could not be changed: {error.strerror or error}",
        hint="Is its disk full, or mounted read-only?",
    )
