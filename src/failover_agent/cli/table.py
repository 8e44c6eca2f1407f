"""The cluster's status as people read it."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

_GOOD = frozenset({"running", "streaming"})


def show(cluster: dict[str, Any], console: Console) -> None:
    holder = cluster.get("holder") or "nobody"
    console.print(
        f"cluster [bold]{cluster['cluster']}[/], mode {cluster['mode']}, epoch {cluster['epoch']},"
        f" lease held by [bold]{holder}[/]{_written_by(cluster.get('lease'))}"
    )
    if cluster.get("paused"):
        console.print(f"[yellow]failover is paused since {cluster.get('paused_since')}[/]")
    if cluster.get("sync"):
        console.print(sync_line(cluster))
    console.print(_members(cluster["members"]))
    console.print(_endpoints(cluster["endpoints"]))
    for member in cluster["members"]:
        if alarms := member.get("alarms"):
            console.print(f"[red]{member['name']}: {', '.join(alarms)}[/]")
    show_problems(cluster.get("problems", []), console)


def sync_line(cluster: dict[str, Any]) -> str:
    """Who must have a commit before it is acknowledged, and whether that is in force."""
    sync = cluster.get("sync")
    if not sync:
        return "commits wait for no standby: a failover may lose the last ones"
    who = f"any {sync['k']} of {', '.join(sync['members'])}" if sync["k"] else "no standby: there is none"
    line = f"commits wait for {who} (version {sync['version']})"
    if sync["commits_hang_for"]:
        return f"{line}[red]; they hang until enough are back of {', '.join(sync['commits_hang_for'])}[/]"
    if sync["in_place"] is None:
        return f"{line}; the holder does not tell how far it is"
    waiting_for = escape(sync["waiting_for"])
    return f"{line}[yellow]; waiting for {waiting_for}[/]" if waiting_for else line


def not_read_yet(mode: str) -> str:
    """In place of `sync_line`, which would tell of a mode that holds no more."""
    return (
        f"[yellow]this node has not read that in the store yet, and still shows mode {mode};[/]"
        " `failoverctl config` tells whom commits wait for once it has"
    )


def pause_told(outcome: dict[str, Any]) -> str:
    """What holds now, and what did before."""
    if outcome.get("paused"):
        was = "it was not before" if outcome.get("changed") else "already"
        return f"failover is paused since {outcome.get('since')}; {was}"
    before = outcome.get("before_since")
    was = f"it was paused since {before}" if outcome.get("changed") else "it was not before either"
    return f"failover is not paused; {was}"


def show_problems(problems: list[dict[str, str]], console: Console) -> None:
    """Each with what was found and what to do; nothing where there is none."""
    for problem in problems:
        console.print(f"\n[red]{problem['error']}[/]", escape(problem["message"]), soft_wrap=True)
        console.print("  →", escape(problem["remedy"]), soft_wrap=True)


def _members(members: list[dict[str, Any]]) -> Table:
    table = Table("node", "az", "role", "state", "lag", "timeline", "agent", box=None, pad_edge=False)
    for member in members:
        state = str(member["state"])
        colour = "green" if state in _GOOD else "yellow"
        table.add_row(
            str(member["name"]),
            str(member["az"]),
            str(member["role"]),
            f"[{colour}]{state}[/]",
            _bytes(member.get("lag_bytes")),
            _or_dash(member.get("timeline")),
            _or_dash(member.get("version")),
        )
    return table


def _written_by(lease: dict[str, Any] | None) -> str:
    return f", written by agent {lease['agent']}" if lease and lease.get("agent") else ""


def _endpoints(endpoints: list[dict[str, Any]]) -> Table:
    table = Table("endpoint", "vip", "port", "leads to", "route tables", box=None, pad_edge=False)
    for endpoint in endpoints:
        tables = endpoint.get("tables") or {}
        shown = ", ".join(f"{name} → {target or 'nowhere'}" for name, target in sorted(tables.items()))
        table.add_row(
            str(endpoint["name"]),
            str(endpoint["vip"]),
            str(endpoint["port"]),
            _or_dash(endpoint.get("target")),
            shown or "-",
        )
    return table


def _bytes(count: object) -> str:
    if not isinstance(count, int):
        return "-"
    for unit, size in (("GiB", 1 << 30), ("MiB", 1 << 20), ("kiB", 1 << 10)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count} B"


def _or_dash(value: object) -> str:
    return "-" if value in (None, "") else str(value)
