"""A configuration is taken whole or refused with the key, the value and the reason."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from failover_agent.config import Config, load, parse
from failover_agent.core.fencing import Fencing
from failover_agent.errors import ConfigRefused

GOOD: dict[str, Any] = {
    "cluster": "primacy",
    "node": "db1",
    "instance": {"id": "i-1", "interface_id": "eni-1", "az": "eu-central-1a"},
    "store": {"table": "primacy", "region": "eu-central-1"},
    "ec2": {"region": "eu-central-1", "route_table_ids": ["rtb-1"]},
    "endpoints": [{"name": "writer", "vip": "172.16.52.1"}],
    "members": [
        {"name": "db1", "address": "10.0.11.10", "az": "eu-central-1a", "instance_id": "i-1"},
        {"name": "db2", "address": "10.0.12.10", "az": "eu-central-1b", "instance_id": "i-2"},
    ],
    "postgres": {
        "version": 17,
        "bin_dir": "/usr/lib/postgresql/17/bin",
        "data_dir": "/srv/postgresql/17/main",
        "config_file": "/etc/primacy/postgresql/postgresql.conf",
        "agent_config_file": "/etc/primacy/postgresql/agent.conf",
    },
    "tls": {"ca": "/c", "cert": "/d", "key": "/e"},
    "secrets": {"replication": "/f", "rewind": "/g", "bootstrap_token": "/h"},
}


def but(path: str, value: object) -> dict[str, Any]:
    """GOOD, differing in one key."""
    plain = copy.deepcopy(GOOD)
    *way, last = path.split(".")
    part: Any = plain
    for step in way:
        part = part[int(step)] if step.isdigit() else part[step]
    part[last] = value
    return plain


def test_the_healthy_whole_is_taken() -> None:
    config = parse(GOOD, where="test")

    assert isinstance(config, Config)
    assert (config.me.name, config.mode, config.stack) == ("db1", "async", "pgpool")
    assert config.timing().ttl_s == 6


@pytest.mark.parametrize("mode", ["async", "quorum", "strict"])
def test_every_mode_is_taken(mode: str) -> None:
    config = parse(but("mode", mode), where="test")

    assert (config.mode, config.leave_after_s) == (mode, 10)


def test_nobody_is_fenced_unless_a_method_is_set() -> None:
    plain, stops = (
        parse(plain, where="test") for plain in (GOOD, but("fencing", {"method": "stop-instance"}))
    )

    assert not plain.fence_policy().on
    assert stops.fence_policy() == Fencing("stop-instance", "promote", 60.0, "person")


@pytest.mark.parametrize(
    ("fencing", "named"),
    [
        ({"method": "reboot"}, "fencing.method"),
        ({"method": "isolate"}, "acl_id"),
        ({"method": "stop-instance", "acl_id": "acl-1"}, "acl_id"),
        ({"method": "isolate", "acl_id": "acl-1", "undo": "automatic"}, "undo automatic"),
        ({"method": "stop-instance", "timeout_s": 0}, "fencing.timeout_s"),
        ({"method": "stop-instance", "when_unanswered": "hope"}, "fencing.when_unanswered"),
    ],
)
def test_a_fencing_that_cannot_work_is_refused(fencing: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigRefused, match=named):
        parse(but("fencing", fencing), where="test")


def test_single_timings_lie_over_the_profile() -> None:
    timing = parse(but("timings", {"ttl_s": 8}), where="test").timing()

    assert (timing.ttl_s, timing.beat_s) == (8, 1)


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ("leave_after_s", 0, "leave_after_s"),
        ("stack", "pacemaker", "pacemaker"),
        ("mode", "asnyc", "asnyc"),
        ("prioritty", 3, "prioritty"),
        ("postgres.prot", 3, "postgres.prot"),
        ("node", "db9", "db9"),
        ("instance.id", "i-9", "i-9"),
        ("endpoints.0.vip", "172.16.52.256", "172.16.52.256"),
        ("members.1.name", "db1", "db1"),
        ("members.1.address", "10.0.11.10", "10.0.11.10"),
        ("postgres.replication_port", 5432, "5432"),
        ("postgres.port", 70000, "70000"),
        ("timings", {"margin_s": 0.1}, "margin_s 0.1 is below"),
        ("timings", {"ttl_s": 2}, "ttl_s 2 is below"),
        ("timings", {"beat_s": float("nan")}, "timings.beat_s"),
        ("lag_limit_bytes", -1, "-1"),
        ("liveness", {"stuck_after_s": 6}, "stuck_after_s 6 is below 6.5"),
        ("liveness", {"storage_hung_after_s": 4}, "storage_hung_after_s 4 is below 4.5"),
        ("liveness", {"ballast_bytes": -1}, "liveness.ballast_bytes"),
        ("state_dir", "/srv/postgresql/17/state", "lies on the data volume"),
    ],
)
def test_what_is_wrong_is_refused_and_named(path: str, value: object, named: str) -> None:
    with pytest.raises(ConfigRefused) as refused:
        parse(but(path, value), where="agent.yml")

    assert named in refused.value.args[0]
    assert refused.value.hint
    if path != "stack" and value not in ("quorum", "strict"):
        assert "agent.yml" in refused.value.object
        assert refused.value.value
        assert refused.value.expected


@pytest.mark.parametrize("plain", [None, [], "text", 3])
def test_a_file_without_settings_is_refused(plain: object) -> None:
    with pytest.raises(ConfigRefused):
        parse(plain, where="agent.yml")


@pytest.mark.parametrize(
    ("why", "remedy"),
    [
        (PermissionError(13, "Permission denied"), "as root"),
        (FileNotFoundError(2, "No such file"), "playbook"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_what_helps(
    monkeypatch: pytest.MonkeyPatch, why: OSError, remedy: str
) -> None:
    def refuse(_path: Path) -> str:
        raise why

    monkeypatch.setattr(Path, "read_text", refuse)

    with pytest.raises(ConfigRefused, match=f"agent.yml cannot be read: {why.strerror}") as refused:
        load(Path("/etc/failover-agent/agent.yml"))

    assert remedy in refused.value.hint
