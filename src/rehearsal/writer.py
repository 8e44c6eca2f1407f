"""Writes unique ids as fast as asked and says of each what it was told.

Runs on an application host, which has psycopg and nothing of ours: the whole file is sent
there and started with `python3 -c`. It ends when its standard input ends.

Each stream is one client with one connection and at most one write on its way. `via` is a name
for the report, the rest a libpq connection string. A client without a connection makes several
attempts at a time and takes the first that comes (`attempts`); TCP gives up for it on a server
that does not even acknowledge packets, by what `service=writer` says (docs/clients.md). An id
without an answer is neither acknowledged nor lost.

Output, one JSON array per line:  [via, id, sent, received, node, timeline]
Times are seconds since 1970; all hosts of the lab share one clock.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import psycopg

from rehearsal.attempts import first_of

PREPARE_S, AGAIN_S = 30, 0.5

TABLE = "create table if not exists rehearsal (id bigint primary key, via text not null)"
WRITE = """
    insert into rehearsal (id, via) values (%s, %s)
    returning current_setting('cluster_name'),
              ('x' || left(pg_walfile_name(pg_current_wal_insert_lsn()), 8))::bit(32)::int
"""


Connection = psycopg.AsyncConnection[tuple[str, int]]


async def stream(via: str, dsn: str, interval_s: float, first_id: int) -> None:
    """Write first_id, first_id + 1, … until cancelled, one every `interval_s` at most."""
    next_id = first_id
    while True:
        connection = await first_of(lambda: connect(dsn), close, (psycopg.Error, OSError), interval_s)
        try:
            while True:
                tick = time.monotonic()
                next_id += 1
                await write(connection, via, next_id)
                await asyncio.sleep(max(0.0, interval_s - (time.monotonic() - tick)))
        except (psycopg.Error, OSError):
            close(connection)


async def connect(dsn: str) -> Connection:
    return await psycopg.AsyncConnection.connect(dsn, autocommit=True)


def close(connection: Connection) -> None:
    """At once, and without a word: the other side may not be there."""
    connection.pgconn.finish()


async def write(connection: Connection, via: str, row_id: int) -> None:
    sent = time.time()
    cursor = await connection.execute(WRITE, (row_id, via), prepare=True)
    row = await cursor.fetchone()
    received = time.time()
    if row is not None:
        print(json.dumps([via, row_id, sent, received, row[0], row[1]]), flush=True)


async def until_stdin_ends() -> None:
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)


async def main(streams: list[tuple[str, str, float, int]]) -> None:
    tasks = [asyncio.create_task(stream(*one)) for one in streams]
    await until_stdin_ends()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def prepare(dsn: str) -> None:
    """Tried again for a while: the door may be shut for a moment, as a primary's is that stood still."""
    until = time.monotonic() + PREPARE_S
    while True:
        try:
            with psycopg.connect(dsn, autocommit=True) as connection:
                connection.execute(TABLE)
            return
        except psycopg.OperationalError:
            if time.monotonic() >= until:
                raise
            time.sleep(AGAIN_S)  # nothing on this host is told when a door elsewhere opens


if __name__ == "__main__":
    wanted = [tuple(one) for one in json.loads(sys.argv[1])]
    prepare(wanted[0][1])
    asyncio.run(main(wanted))
