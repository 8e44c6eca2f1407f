"""Which answers of a server are signs of life."""

from __future__ import annotations

import pytest

from failover_agent.adapters.probe_session import _is_an_answer

PSQL = 'psql: error: connection to server on socket "/run/postgresql/.s.PGSQL.5432" failed: '


@pytest.mark.parametrize(
    ("words", "alive"),
    [
        (PSQL + "FATAL:  sorry, too many clients already", True),
        (
            PSQL + "FATAL:  remaining connection slots are reserved for roles with the SUPERUSER attribute",
            True,
        ),
        (PSQL + 'FATAL:  Peer authentication failed for user "postgres"', True),
        ("ERROR:  canceling statement due to statement timeout", True),
        (PSQL + "FATAL:  the database system is shutting down", False),
        (PSQL + "FATAL:  the database system is starting up", False),
        (PSQL + "FATAL:  the database system is not yet accepting connections", False),
        ("FATAL:  terminating connection due to administrator command", False),
        (PSQL + "Connection refused", False),
        (PSQL + "server closed the connection unexpectedly", False),
        ("", False),
    ],
)
def test_a_server_that_refuses_is_alive_unless_it_is_on_its_way(words: str, alive: bool) -> None:
    assert _is_an_answer(words) is alive
