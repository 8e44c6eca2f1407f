"""The cluster as one node knows it, in the words of `failoverctl status --json`."""

from __future__ import annotations

import dataclasses

from failover_agent.core.lsn import show
from failover_agent.core.model import Heard, LeaseItem, Member, NodeReport, Server, ServerState, Unknown
from failover_agent.core.slots import NOTHING_TOLD, lost_by_promotion
from failover_agent.shell.body import Body
from failover_agent.shell.observe import Observer
from failover_agent.shell.routes import Router


def cluster_status(body: Body, observer: Observer, router: Router, mine: NodeReport) -> dict[str, object]:
    heard = body.ports.peers.reports()
    reports: dict[str, NodeReport | Unknown] = {body.me: mine}
    for member in body.settings.others:
        answer = heard.get(member.name, Unknown("not asked yet"))
        reports[member.name] = answer.report if isinstance(answer, Heard) else answer
    epoch = max(r.epoch for r in reports.values() if isinstance(r, NodeReport))
    holders = [r.name for r in reports.values() if isinstance(r, NodeReport) and r.holds_lease]
    members = sorted((body.settings.me, *body.settings.others), key=lambda m: m.name)
    end = _primary_end(reports)
    holder = holders[0] if len(holders) == 1 else ""
    kept = {r.name: r.kept for r in reports.values() if isinstance(r, NodeReport)}
    primary = kept.get(holder, NOTHING_TOLD)
    lost = {name: lost_by_promotion(primary, k) for name, k in kept.items() if name != holder}
    return {
        "cluster": body.settings.cluster,
        "epoch": epoch,
        "holder": holders[0] if len(holders) == 1 else observer.holder_name,
        "mode": observer.item.mode if observer.item else body.settings.mode,
        "paused": bool(observer.item and observer.item.paused),
        "paused_since": observer.item.paused if observer.item else "",
        "sync": _sync(observer.item, reports),
        "system_identifier": _system_identifier(reports),
        "version": body.settings.version,
        "lease": _lease(body, observer.item),
        "members": [
            _member(m, reports[m.name], end) | {"lost_logical_slots": list(lost.get(m.name, ()))}
            for m in members
        ],
        "endpoints": _endpoints(body, router, reports),
        "fencing": {
            "method": body.settings.fencing.method,
            "when_unanswered": body.settings.fencing.when_unanswered,
            "waits_for": [holder.name for holder in body.fencer.waits_for(body.keeper.mine())],
            "fenced": sorted(body.unfencer.fenced),
        },
    }


def _lease(body: Body, item: LeaseItem | None) -> dict[str, object] | None:
    """The item as this node last read or wrote it, and how this node keeps it if it is its own."""
    if item is None:
        return None
    return {
        "agent": item.agent,
        "schema_version": item.schema_version,
        "timeline": item.timeline,
        "lsn": show(item.lsn),
        "may_claim": list(item.may_claim),
        "carried_by": list(body.keeper.carried_by()),
        "renewed_through": body.renewed_through(),
    }


def _sync(item: LeaseItem | None, reports: dict[str, NodeReport | Unknown]) -> dict[str, object] | None:
    """Who vouches for commits, as the lease says, and how far the holder has come with it.

    `in_place` is None where the holder does not tell; None for the whole in mode async.
    """
    if item is None or item.mode == "async":
        return None
    told = [r.sync for r in reports.values() if isinstance(r, NodeReport) and r.sync is not None]
    progress = told[0] if len(told) == 1 else None
    return {
        "members": list(item.sync.members),
        "k": item.sync.k,
        "version": item.sync.version,
        "may_claim": list(item.may_claim),
        "in_place": progress.in_place if progress else None,
        "waiting_for": progress.waiting_for if progress else "",
        "commits_hang_for": list(progress.away) if progress else [],
        "sessions_waiting": progress.waiting if progress else None,
        "longest_wait_s": round(progress.longest_wait_s, 1) if progress else None,
    }


def _primary_end(reports: dict[str, NodeReport | Unknown]) -> int | None:
    ends = [
        r.server.received_lsn
        for r in reports.values()
        if isinstance(r, NodeReport)
        and isinstance(r.server, Server)
        and r.server.state is ServerState.PRIMARY
        and r.holds_lease
    ]
    return max(ends, default=None)


def _system_identifier(reports: dict[str, NodeReport | Unknown]) -> str:
    servers = [r.server for r in reports.values() if isinstance(r, NodeReport)]
    return next((s.system_identifier for s in servers if isinstance(s, Server) and s.system_identifier), "")


def _member(member: Member, report: NodeReport | Unknown, end: int | None) -> dict[str, object]:
    row: dict[str, object] = {"name": member.name, "az": member.az, "role": "unknown"}
    row |= {"state": "silent", "lag_bytes": None, "timeline": None, "version": ""}
    if isinstance(report, Unknown):
        return row | {"why": report.why}
    row |= {"version": report.version} | _health(report)
    server = report.server
    if isinstance(server, Unknown):
        return row | {"state": report.doing or "no answer from PostgreSQL", "why": server.why}
    known = server.state in (ServerState.PRIMARY, ServerState.STANDBY)
    lag = max(0, end - server.received_lsn) if known and end is not None and server.received_lsn else None
    return row | {
        "role": server.state.value,
        "state": _state(report, server),
        "lag_bytes": 0 if server.state is ServerState.PRIMARY else lag,
        "timeline": server.timeline or None,
        "upstream": server.upstream,
        "reads_open": report.reads_open,
    }


def _health(report: NodeReport) -> dict[str, object]:
    return {"alarms": sorted(report.health.alarms), "health": dataclasses.asdict(report.health)}


def _state(report: NodeReport, server: Server) -> str:
    if report.serving:
        return "running"
    if server.state is ServerState.STANDBY and server.streaming:
        return "streaming"
    if report.doing:
        return report.doing
    waits = {ServerState.PRIMARY: "not serving", ServerState.STANDBY: "not streaming"}
    return waits.get(server.state, server.state.value)


def _endpoints(
    body: Body, router: Router, reports: dict[str, NodeReport | Unknown]
) -> list[dict[str, object]]:
    names = {
        r.interface_id: name for name, r in reports.items() if isinstance(r, NodeReport) and r.interface_id
    }
    rows: list[dict[str, object]] = []
    for endpoint in body.settings.endpoints:
        seen = router.seen.get(endpoint.vip, Unknown("not looked at yet"))
        shown = {} if isinstance(seen, Unknown) else {t: names.get(i, i) for t, i in sorted(seen.items())}
        targets = set(shown.values())
        rows.append(
            {
                "name": endpoint.name,
                "vip": endpoint.vip,
                "port": endpoint.port,
                "target": targets.pop() if len(targets) == 1 else "",
                "tables": shown,
            }
        )
    return rows
