"""What PostgreSQL is told: no password in it, nothing an odd name could break out of."""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import replace
from pathlib import Path

import pytest

from failover_agent.adapters.postgres.make import scram_verifier
from failover_agent.adapters.postgres.plan import PostgresPlan
from failover_agent.adapters.postgres.settings import agent_config, quoted, written_upstream
from failover_agent.errors import PostgresFailed

PLAN = PostgresPlan(
    node="db2",
    version=17,
    bin_dir=Path("/bin"),
    data_dir=Path("/srv/main"),
    config_file=Path("/etc/postgresql.conf"),
    agent_config_file=Path("/etc/agent.conf"),
    user="postgres",
    socket_dir=Path("/run/postgresql"),
    port=5432,
    replication_port=5433,
    members={"db1": "10.0.11.10", "db2": "10.0.12.10"},
    tls_ca=Path("/etc/ca.crt"),
    replication_secret=Path("/etc/replication"),
    rewind_secret=Path("/etc/rewind"),
    run_dir=Path("/run/failover-agent"),
    state_dir=Path("/var/lib/failover-agent"),
)


def test_a_standby_calls_its_upstream_by_the_replication_port_over_verified_tls() -> None:
    text = agent_config(PLAN, "db1")

    for part in ("host=10.0.11.10", "port=5433", "application_name=db2", "sslmode=verify-ca", "passfile="):
        assert part in text
    assert "password=" not in text


def test_nobody_is_followed_and_nobody_waited_for_unless_said() -> None:
    text = agent_config(PLAN, "")

    assert "primary_conninfo = ''\n" in text
    assert "synchronous_standby_names = ''\n" in text


def test_what_a_server_was_told_to_follow_is_read_back(tmp_path: Path) -> None:
    plan = replace(PLAN, agent_config_file=tmp_path / "agent.conf")
    assert written_upstream(plan) == ""

    for upstream, address in (("db1", "host=10.0.11.10"), ("", "")):
        plan.agent_config_file.write_text(agent_config(plan, upstream))
        assert written_upstream(plan).startswith(address)
    assert written_upstream(plan) == ""


def test_a_stranger_cannot_be_followed() -> None:
    with pytest.raises(PostgresFailed):
        agent_config(PLAN, "db9")


def test_quotes_and_backslashes_stay_inside_the_quotes() -> None:
    assert quoted("a'b\\c") == "a''b\\\\c"


def test_a_verifier_lets_the_password_in_and_does_not_show_it() -> None:
    """Method: the server's check of RFC 5802, with a client key made from the password anew."""
    verifier = scram_verifier("pass word", salt=b"0123456789abcdef")

    scheme, first, second = verifier.split("$")
    iterations, salt = first.split(":")
    stored, server = (base64.b64decode(part) for part in second.split(":"))
    salted = hashlib.pbkdf2_hmac("sha256", b"pass word", base64.b64decode(salt), int(iterations))
    assert scheme == "SCRAM-SHA-256"
    assert hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest() == stored
    assert hmac.digest(salted, b"Server Key", "sha256") == server
    assert "pass word" not in verifier
    with pytest.raises(PostgresFailed):
        scram_verifier("pässword")
