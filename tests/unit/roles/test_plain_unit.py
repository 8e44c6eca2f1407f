"""The unit that a server keeps when Primacy is removed."""

from __future__ import annotations

from tests.unit.roles.programs import ROLES, load

plain = load("remove", "plain")
OURS = (ROLES / "postgresql/templates/primacy-postgresql.service.j2").read_text()


def test_it_needs_neither_gate_nor_agent_and_starts_at_boot() -> None:
    text = plain.plain_unit(OURS)

    assert "failover" not in text
    assert "ExecCondition" not in text
    assert "WantedBy=multi-user.target" in text
    assert "Restart=on-failure" in text


def test_it_keeps_the_server_its_data_and_its_bounds() -> None:
    text = plain.plain_unit(OURS)

    kept = ("ExecStart=", "RequiresMountsFor=", "User=", "NoNewPrivileges=", "OOMScoreAdjust=", "KillSignal=")
    for line in OURS.splitlines():
        if line.startswith(kept):
            assert line in text.splitlines()


def test_a_second_time_changes_nothing() -> None:
    once = plain.plain_unit(OURS)

    assert plain.plain_unit(once) == once
