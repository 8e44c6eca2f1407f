"""What the WAL that only a deposed primary has holds: transactions, tables touched, bytes.

Read from pg_waldump over the kept copy, so that a person can tell what a failover in async mode cost.
Invariant: a report never stands in the way of a rejoin; what cannot be told is left out and said.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from failover_agent.adapters import programs
from failover_agent.adapters.postgres import on_disk
from failover_agent.adapters.postgres.on_disk import Control
from failover_agent.adapters.postgres.plan import PostgresPlan
from failover_agent.core import lsn

WALDUMP_TIMEOUT_S = 60.0
CATALOG_TIMEOUT_S = 30.0
MOST_DATABASES = 8  # each costs a start of a single-user server

_COMMIT = re.compile(r"^rmgr: Transaction .* tx:\s*(\d+),.* desc: COMMIT(?:_PREPARED)?\b")
_ROW = re.compile(r"^rmgr: (?:Heap2?) .* desc: (?:INSERT|UPDATE|HOT_UPDATE|DELETE|MULTI_INSERT|TRUNCATE)\b")
_RELATION = re.compile(r"blkref #\d+: rel (\d+)/(\d+)/(\d+)")
_VALUE = re.compile(r'^\s*\d+: (\w+) = "(.*)"\s*\(typeid')

Relation = tuple[int, int]  # database, relfilenode


@dataclass(frozen=True, slots=True)
class Summary:
    transactions: int
    rows: Mapping[Relation, int]  # changes of rows, by table


def summarise(lines: Iterable[str]) -> Summary:
    """Of pg_waldump's lines: transactions that committed, and changes of rows by table."""
    committed: set[str] = set()
    rows: Counter[Relation] = Counter()
    for line in lines:
        if found := _COMMIT.search(line):
            committed.add(found.group(1))
        elif _ROW.search(line) and (relation := _RELATION.search(line)):
            rows[int(relation.group(2)), int(relation.group(3))] += 1
    return Summary(len(committed), dict(rows))


def report(plan: PostgresPlan, place: Path, control: Control, fork: int, end: int) -> dict[str, object]:
    """As JSON values, for the note beside the kept WAL in `place`. `fork` 0: not known."""
    if not fork:
        return {"unreadable": "the fork is not known, so nothing can be told apart"}
    told: dict[str, object] = {"from": lsn.show(fork), "bytes": max(0, end - fork)}
    try:
        kept = [
            s
            for s in on_disk.written_segments(place, control.segment_bytes)
            if s.timeline == control.timeline
        ]
        first = on_disk.segment_name(control.timeline, fork, control.segment_bytes)
        if first not in (s.path.name for s in kept):
            return told | {"unreadable": f"{first}, in which the fork lies, is not in {place}"}
        lines = on_disk.waldump(plan, place, fork, first, kept[-1].path.name, timeout_s=WALDUMP_TIMEOUT_S)
    except (programs.TookTooLong, OSError) as error:
        return told | {"unreadable": str(error)}
    summary = summarise(lines)
    names = _names(plan, {database for database, _ in summary.rows})
    tables = [
        {"table": names.get(relation, f"{relation[0]}/{relation[1]}"), "rows": count}
        for relation, count in sorted(summary.rows.items(), key=lambda item: -item[1])
        if not names.get(relation, "").startswith("pg_catalog.") and relation[0] != 0
    ]
    return told | {"transactions": summary.transactions, "tables": tables}


def _names(plan: PostgresPlan, databases: set[int]) -> dict[Relation, str]:
    """Of tables by database and relfilenode, as the catalogs of the stopped server say; {} if they do not."""
    found: dict[Relation, str] = {}
    known = _rows(plan, "template1", "SELECT oid::text AS a, datname::text AS b FROM pg_database")
    for oid, name in known[:MOST_DATABASES]:
        if int(oid) in databases:
            query = (
                "SELECT pg_relation_filenode(c.oid)::text AS a, n.nspname || '.' || c.relname AS b"
                " FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
                " WHERE c.relkind IN ('r', 't', 'm') AND pg_relation_filenode(c.oid) IS NOT NULL"
            )
            found |= {
                (int(oid), int(node)): table if table.startswith("pg_catalog.") else f"{name}.{table}"
                for node, table in _rows(plan, name, query)
            }
    return found


def _rows(plan: PostgresPlan, database: str, query: str) -> list[tuple[str, str]]:
    """Pairs (a, b), from a server without a socket: nobody else can be there."""
    argv = (
        plan.program("postgres"),
        "--single",
        "-D",
        str(plan.data_dir),
        "-c",
        f"config_file={plan.config_file}",
        database,
    )
    try:
        done = programs.run(argv, stdin=query + "\n", timeout_s=CATALOG_TIMEOUT_S, user=plan.user)
    except (programs.TookTooLong, OSError):
        return []
    values = [found.group(2) for line in done.out.splitlines() if (found := _VALUE.search(line))]
    return list(zip(values[::2], values[1::2], strict=False))
