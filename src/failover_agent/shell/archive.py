"""Answers PostgreSQL's question about one file of WAL from what this node knows right now (N6)."""

from __future__ import annotations

from failover_agent.core.archive import Line, line_of, why_not_archive, why_not_restore
from failover_agent.core.model import Server, ServerState
from failover_agent.shell.body import Body


def may_archive(body: Body, name: str) -> dict[str, object]:
    return _answer(why_not_archive(body.keeper.alone(), name))


def may_restore(body: Body, name: str, segment_bytes: int) -> dict[str, object]:
    return _answer(why_not_restore(_line(body), name, segment_bytes))


def _answer(why: str) -> dict[str, object]:
    return {"may": not why, "why": why}


def _line(body: Body) -> Line | None:
    """Of the node that holds the lease, as it said itself lately; None where nobody says so, or two do."""
    now, limit_s = body.ports.clock.now(), body.settings.timings.suspect_after_s
    serving = [
        heard.report.server
        for heard in body.fresh_heard()
        if heard.report.holds_lease and now - heard.at <= limit_s
    ]
    lines = [line_of(s) for s in serving if isinstance(s, Server) and s.state is ServerState.PRIMARY]
    return lines[0] if len(lines) == 1 and body.keeper.mine() is None else None
