"""What of this server lies outside the promise that acknowledged commits are kept (PROTOCOL S8).

Reads what is written down: settings in files, of roles and of databases, and relations that no WAL describes.
What a running session has set for itself PostgreSQL shows to nobody but that session, and it counts no waits
that were cancelled; its log has a WARNING for each.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

import psycopg

from failover_agent.adapters.postgres.plan import SUPERUSER, PostgresPlan
from failover_agent.errors import PostgresFailed

TIMEOUT_S = 2

# In which order a later one wins over an earlier is PostgreSQL's business: whatever does not wait is named.
_IN_FILES = """
SELECT format('%s in %s', setting, sourcefile) FROM pg_file_settings
 WHERE name = 'synchronous_commit' AND applied AND lower(setting) IN ('local', 'off', 'false', 'no', '0')
 ORDER BY 1
"""
_OF_ROLES = """
SELECT format('%s for %s', split_part(c, '=', 2),
              concat_ws(' in ', CASE WHEN s.setrole <> 0 THEN 'role ' || pg_get_userbyid(s.setrole) END,
                        'database ' || d.datname))
  FROM pg_db_role_setting s LEFT JOIN pg_database d ON d.oid = s.setdatabase, unnest(s.setconfig) c
 WHERE lower(split_part(c, '=', 1)) = 'synchronous_commit'
   AND lower(split_part(c, '=', 2)) IN ('local', 'off', 'false', 'no', '0')
 ORDER BY 1
"""
_DATABASES = "SELECT datname FROM pg_database WHERE datallowconn ORDER BY datname"
_TABLES = """
SELECT count(*) FILTER (WHERE relpersistence = 'u'), count(*) FILTER (WHERE relpersistence = 't')
  FROM pg_class WHERE relkind IN ('r', 'm', 'S', 'p')
"""


@dataclass(frozen=True, slots=True)
class Outside:
    settings: tuple[str, ...]  # each as `local for role app in database shop`
    unlogged: int  # relations of all databases that were looked at
    temporary: int
    not_seen: tuple[str, ...] = ()  # databases that let nobody in, or did not answer


def outside(plan: PostgresPlan) -> Outside:
    """Raises PostgresFailed. Takes one session per database, one after the other; nothing is changed."""
    try:
        with contextlib.closing(_connect(plan, "postgres")) as connection:
            settings = tuple(str(row[0]) for q in (_IN_FILES, _OF_ROLES) for row in connection.execute(q))
            names = [str(row[0]) for row in connection.execute(_DATABASES)]
    except psycopg.Error as error:
        raise PostgresFailed(
            f"looking for sessions that do not wait: {str(error).strip()}", hint="See PostgreSQL's log."
        ) from error
    unlogged, temporary, not_seen = 0, 0, []
    for name in names:
        try:
            with contextlib.closing(_connect(plan, name)) as connection:
                row = connection.execute(_TABLES).fetchone() or (0, 0)
        except psycopg.Error:
            not_seen.append(name)
            continue
        unlogged, temporary = unlogged + int(row[0]), temporary + int(row[1])
    return Outside(settings, unlogged, temporary, tuple(not_seen))


def _connect(plan: PostgresPlan, database: str) -> psycopg.Connection[Any]:
    return psycopg.connect(
        host=str(plan.socket_dir),
        port=plan.port,
        user=SUPERUSER,
        dbname=database,
        application_name="failover-doctor",
        connect_timeout=TIMEOUT_S,
        options=f"-c statement_timeout={TIMEOUT_S * 1000} -c default_transaction_read_only=on",
        autocommit=True,
    )
