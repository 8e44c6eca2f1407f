"""A data directory that exists, made ready to be a cluster's first; with real PostgreSQL programs."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from failover_agent.adapters.postgres import PostgresPlan, adopt, on_disk
from failover_agent.errors import DataDirectoryRefused

from .postgres_nodes import USER, newest_bin_dir

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]


@pytest.fixture
def plan() -> Iterator[PostgresPlan]:
    bin_dir = newest_bin_dir()
    with tempfile.TemporaryDirectory(prefix="pg-adopt-") as name:
        place = Path(name)
        shutil.chown(place, USER, USER)
        for secret in ("replication", "rewind"):
            (place / secret).write_text(f"{secret} secret\n")
        data_dir = place / "main"
        as_postgres(bin_dir / "initdb", "-D", str(data_dir), "-U", USER, "-A", "peer")
        yield PostgresPlan(
            node="db1",
            version=int(bin_dir.parts[4]),
            bin_dir=bin_dir,
            data_dir=data_dir,
            config_file=data_dir / "postgresql.conf",
            agent_config_file=place / "agent.conf",
            user=USER,
            socket_dir=place,
            port=5432,
            replication_port=5433,
            members={},
            tls_ca=place / "ca.crt",
            replication_secret=place / "replication",
            rewind_secret=place / "rewind",
            run_dir=place,
            state_dir=place,
        )


def as_postgres(program: Path, *words: str, stdin: str = "") -> str:
    done = subprocess.run(
        ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--init-groups", str(program), *words),
        input=stdin,
        capture_output=True,
        text=True,
        cwd="/",
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def single_user(plan: PostgresPlan, statement: str) -> str:
    postgres = plan.bin_dir / "postgres"
    return as_postgres(postgres, "--single", "-D", str(plan.data_dir), "postgres", stdin=f"{statement};\n")


def identifier(plan: PostgresPlan) -> str:
    return on_disk.read_control(plan).system_identifier


def test_it_gets_the_clusters_roles_keeps_its_own_and_starts_as_a_standby_from_now_on(
    plan: PostgresPlan,
) -> None:
    single_user(plan, "CREATE TABLE precious AS SELECT generate_series(1, 40) AS n")
    single_user(plan, "CREATE ROLE replicator NOLOGIN")

    adopt.prepare(plan, identifier(plan))
    adopt.prepare(plan, identifier(plan))  # a run that was interrupted begins anew

    assert plan.standby_signal.exists()
    plan.standby_signal.unlink()  # only so that single-user mode may look
    roles = single_user(
        plan, "SELECT count(*) AS n FROM pg_authid WHERE rolcanlogin AND rolpassword IS NOT NULL"
    )
    assert 'n = "2"' in roles
    may = "SELECT rolreplication AS may FROM pg_authid WHERE rolname = 'replicator'"
    assert 'may = "t"' in single_user(plan, may)
    assert 'n = "40"' in single_user(plan, "SELECT count(*) AS n FROM precious")


def test_an_attempt_that_lost_its_power_is_taken_up_again(plan: PostgresPlan) -> None:
    single_user(plan, "CREATE TABLE precious AS SELECT 1 AS n")
    own = f"-c listen_addresses='' -k {plan.socket_dir}"
    as_postgres(
        plan.bin_dir / "pg_ctl", "-D", str(plan.data_dir), "-o", own, "-l", "/dev/null", "-w", "start"
    )
    plan.data_dir.with_name("main.adopting").write_text(identifier(plan))  # as left by the attempt
    as_postgres(plan.bin_dir / "pg_ctl", "-D", str(plan.data_dir), "-m", "immediate", "-w", "stop")

    adopt.prepare(plan, identifier(plan))

    assert plan.standby_signal.exists()
    assert on_disk.read_control(plan).clean


def test_settings_of_alter_system_are_kept_aside_and_rule_no_more(plan: PostgresPlan) -> None:
    auto = plan.data_dir / "postgresql.auto.conf"
    auto.write_text("# a comment\nsynchronous_standby_names = 'nobody'\n")

    adopt.prepare(plan, identifier(plan))
    adopt.prepare(plan, identifier(plan))

    assert "synchronous_standby_names" not in auto.read_text()
    kept = list(plan.data_dir.parent.glob("main.adopted-*.postgresql.auto.conf"))
    assert [path.read_text() for path in kept] == ["# a comment\nsynchronous_standby_names = 'nobody'\n"]


def test_other_data_than_was_named_is_refused_and_left_as_it_is(plan: PostgresPlan) -> None:
    with pytest.raises(DataDirectoryRefused):
        adopt.prepare(plan, "1")

    assert not plan.standby_signal.exists()


def test_data_that_was_not_shut_down_is_refused_and_left_as_it_is(plan: PostgresPlan) -> None:
    pg_ctl = plan.bin_dir / "pg_ctl"
    own = f"-c listen_addresses='' -k {plan.socket_dir}"
    as_postgres(pg_ctl, "-D", str(plan.data_dir), "-o", own, "-l", "/dev/null", "-w", "start")
    try:
        with pytest.raises(DataDirectoryRefused):
            adopt.prepare(plan, identifier(plan))
    finally:
        as_postgres(pg_ctl, "-D", str(plan.data_dir), "-m", "immediate", "-w", "stop")
    with pytest.raises(DataDirectoryRefused):
        adopt.prepare(plan, identifier(plan))

    assert not plan.standby_signal.exists()
