"""What speaks against making a server's data a cluster's first: from a sound whole, one thing changed."""

from __future__ import annotations

from typing import Any

import pytest
from tests.unit.roles.programs import load

program = load("adopt", "inspect_server")

WISH = {"path": "/data", "version": 17, "extension_packages": [], "begun": False, "stop": True}
DATA = {
    "path": "/data",
    "version": "17",
    "readable": True,
    "system_identifier": "7431",
    "wal_level": "replica",
    "wal_log_hints": False,
    "checksums": True,
    "standby": False,
    "tablespaces": [],
    "owner": "postgres",
}
RUN = {"pid": 7, "unit": "postgresql@17-main.service", "socket": "/run/postgresql"}
TOLD: dict[str, Any] = {"superuser": 1, "in_recovery": False, "logical_slots": [], "settings": {}}


def against(
    wish: dict[str, Any] | None = None,
    data: dict[str, Any] | None = None,
    told: dict[str, Any] | None = None,
    run: dict[str, Any] | None = RUN,
) -> list[str]:
    found = program.problems(
        WISH | (wish or {}), DATA | (data or {}), run, TOLD | (told or {}) if run else {}
    )
    assert all(each["remedy"] for each in found)
    return [each["what"] for each in found]


def test_nothing_speaks_against_a_sound_server_that_may_be_stopped() -> None:
    assert against() == []


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"data": {"version": "15"}}, "15"),
        ({"data": {"readable": False}}, "control file"),
        ({"data": {"standby": True}}, "standby"),
        ({"told": {"in_recovery": True}}, "standby"),
        ({"data": {"wal_level": "minimal"}}, "minimal"),
        ({"data": {"checksums": False}}, "wal_log_hints"),
        ({"data": {"tablespaces": ["/fast"]}}, "/fast"),
        ({"data": {"owner": "pgsql"}}, "pgsql"),
        ({"told": {"superuser": 0}}, "superuser"),
        ({"told": {"logical_slots": ["cdc"]}}, "cdc"),
        ({"told": {"settings": {"shared_preload_libraries": "pg_cron"}}}, "pg_cron"),
        ({"wish": {"stop": False}}, "postgresql@17-main.service"),
        ({"run": None}, "does not run"),
    ],
)
def test_each_thing_that_is_wrong_is_named_alone(changed: dict[str, Any], named: str) -> None:
    (what,) = against(**changed)

    assert named in what


def test_hint_bits_in_the_wal_stand_in_for_checksums_and_packages_for_what_is_preloaded() -> None:
    assert against(data={"checksums": False, "wal_log_hints": True}) == []
    preloads = {"settings": {"shared_preload_libraries": "pg_cron"}}
    assert against(wish={"extension_packages": ["postgresql-17-cron"]}, told=preloads) == []


def test_a_run_that_was_cut_short_after_the_server_was_stopped_may_go_on() -> None:
    assert against(wish={"begun": True}, run=None) == []
    assert against(wish={"begun": True}, data={"version": "15"}, run=None) != []


def test_settings_are_carried_over_less_what_is_the_clusters_to_decide() -> None:
    theirs = {
        "work_mem": "7168",
        "shared_buffers": "131072",
        "port": "5432",
        "synchronous_standby_names": "old",
        "ssl_cert_file": "/etc/x",
        "max_wal_senders": "10",
        "max_replication_slots": "40",
    }

    assert program.carried(theirs, ["port"]) == {
        "max_replication_slots": "40",
        "shared_buffers": "131072",
        "work_mem": "7168",
    }
