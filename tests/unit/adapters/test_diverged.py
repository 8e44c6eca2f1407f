"""What pg_waldump's lines amount to. The lines are PostgreSQL 17's own."""

from __future__ import annotations

from failover_agent.adapters.postgres.diverged import summarise

INSERT = (
    "rmgr: Heap        len (rec/tot):     59/    59, tx:        {tx}, lsn: 0/03000110, prev 0/030000D8,"
    " desc: INSERT off: 1, flags: 0x00, blkref #0: rel 1663/5/{node} blk 0"
)
LOCK = INSERT.replace("INSERT off: 1", "LOCK xmax: 7, off: 1")
INDEX = INSERT.replace("rmgr: Heap ", "rmgr: Btree").replace("INSERT off", "INSERT_LEAF off")
COMMIT = (
    "rmgr: Transaction len (rec/tot):     34/    34, tx:        {tx}, lsn: 0/03000150, prev 0/03000110,"
    " desc: COMMIT 2025-11-21 09:00:00.000000 UTC"
)
ABORT = COMMIT.replace("COMMIT", "ABORT")


def test_committed_transactions_and_changed_rows_are_counted_by_table() -> None:
    lines = [
        INSERT.format(tx=7, node=16384),
        INSERT.format(tx=7, node=16384).replace("INSERT", "HOT_UPDATE"),
        COMMIT.format(tx=7),
        INSERT.format(tx=8, node=16390),
        COMMIT.format(tx=8),
    ]
    summary = summarise(lines)

    assert summary.transactions == 2
    assert summary.rows == {(5, 16384): 2, (5, 16390): 1}


def test_aborts_locks_and_index_entries_are_no_lost_rows() -> None:
    summary = summarise([ABORT.format(tx=7), LOCK.format(tx=8, node=1), INDEX.format(tx=8, node=2), "noise"])

    assert summary.transactions == 0
    assert summary.rows == {}
