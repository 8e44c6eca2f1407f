"""Whether our roles may log in where the agent needs them to, and by which error they are refused.

libpq tells a refused login only in words; the server's are untranslated, because initdb sets its
messages to C.UTF-8.
"""

from __future__ import annotations

from pathlib import Path

from psycopg import pq

from failover_agent.adapters.postgres import settings
from failover_agent.adapters.postgres.plan import REPLICATOR, REWINDER, PostgresPlan
from failover_agent.errors import LoginRefused, PasswordRefused

_OTHER = {REPLICATOR: ("replication=yes", b"IDENTIFY_SYSTEM"), REWINDER: ("dbname=postgres", b"SELECT 1")}


def prove_login(plan: PostgresPlan, upstream: str, role: str) -> None:
    """Log in at another member as the agent's programs do. Raises LoginRefused; never says a password."""
    secret = secret_of(plan, role)
    more, statement = _OTHER[role]
    base = plan.conninfo(upstream, user=role, application_name=f"doctor-{plan.node}")
    password = settings.read_secret(secret).replace("\\", "\\\\").replace("'", "\\'")
    connection = pq.PGconn.connect(f"{base} {more} passfile=/dev/null password='{password}'".encode())
    try:
        if connection.status != pq.ConnStatus.OK:
            raise refused(role, upstream, secret, connection.get_error_message())
        result = connection.exec_(statement)
        if result.status != pq.ExecStatus.TUPLES_OK:
            raise refused(role, upstream, secret, result.get_error_message())
    finally:
        connection.finish()


def secret_of(plan: PostgresPlan, role: str) -> Path:
    return plan.replication_secret if role == REPLICATOR else plan.rewind_secret


def refused(role: str, upstream: str, secret: Path, words: str) -> LoginRefused:
    """The error that the server's or libpq's words amount to."""
    line = " ".join(words.split())
    if "password authentication failed" in line:
        return PasswordRefused.about(
            f"password of role {role} in {secret}",
            value=f"refused by {upstream}",
            expected="the password that the primary knows",
            hint=f"Run playbooks/site.yml: it brings every node the same secret. If the role's was changed by"
            f" hand: ALTER ROLE {role} PASSWORD on the primary.",
        )
    return LoginRefused.about(
        f"login of role {role} at {upstream}",
        value=line or "refused without a word",
        expected="let in over the replication port",
        hint=f"Is PostgreSQL up on {upstream}; does its pg_hba.conf name this role and this node's address;"
        " is the role still there, with its rights?",
    )


def is_wrong_password(words: str) -> bool:
    return "password authentication failed" in words
