"""Mistakes of the inventory are refused by name before anything is changed, by the role itself."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
FINE: dict[str, Any] = {
    "primacy_cluster": "primacy",
    "primacy_profile": "balanced",
    "primacy_node_count": 2,
    "primacy_fencing": {},
    "failover_agent_timings": {},
    "postgresql_version": 17,
    "primacy_azs": ["eu-central-1a", "eu-central-1b"],
    "primacy_vpc_cidr": "10.0.0.0/16",
    "primacy_private_cidrs": ["10.0.11.0/24", "10.0.12.0/24"],
    "primacy_public_cidrs": ["10.0.1.0/24", "10.0.2.0/24"],
    "primacy_endpoints": [{"name": "writer", "vip": "172.16.52.1"}],
}
READER = {"name": "reader", "vip": "172.16.52.2"}
WRITER = FINE["primacy_endpoints"][0]
# The mistakes about networks, counts and stacks are molecule's (molecule/preflight).
MISTAKES: list[tuple[str, str, dict[str, Any]]] = [
    ("timings", "TimingsImpossible", {"failover_agent_timings": {"margin_s": 0.1}}),
    ("timings", "TimingsImpossible", {"primacy_profile": "patient", "failover_agent_timings": {"ttl_s": 6}}),
    ("timings", "PostgresVersionMissing", {"postgresql_version": 12}),
    ("fencing", "FencingMissing", {"primacy_fencing": {"method": "reboot"}}),
    ("fencing", "FencingMissing", {"primacy_fencing": {"method": "stop-instance", "timeout": 5}}),
    ("fencing", "IsolateNeedsSubnets", {"primacy_fencing": {"method": "isolate"}}),
    (
        "fencing",
        "IsolateNeedsAPerson",
        {"primacy_fencing": {"method": "isolate", "undo": "automatic"}, "primacy_node_count": 1},
    ),
    ("names", "BadClusterName", {"primacy_cluster": "Blue Team"}),
    ("names", "BadEndpointName", {"primacy_endpoints": [{**WRITER, "name": "the writer"}]}),
    ("names", "EndpointTwice", {"primacy_endpoints": [WRITER, {**READER, "name": "writer"}]}),
    ("names", "EndpointTwice", {"primacy_endpoints": [WRITER, {**READER, "vip": WRITER["vip"]}]}),
    ("network", "VirtualIpInsideVpc", {"primacy_endpoints": [{"name": "writer", "vip": "10.0.255.1"}]}),
]
PLAY = """
- hosts: localhost
  gather_facts: false
  tasks:
    - ansible.builtin.include_tasks: case.yml
      loop: "{{ cases }}"
      loop_control: {loop_var: asked}
"""
CASE = """
- vars: %s
  block:
    - ansible.builtin.include_role: {name: preflight, tasks_from: "{{ asked.tasks }}"}
    - ansible.builtin.copy: {content: passed, dest: "{{ asked.told }}", mode: "0600"}
  rescue:
    - ansible.builtin.copy:
        content: "{{ ansible_failed_result | to_json }}"
        dest: "{{ asked.told }}"
        mode: "0600"
"""


def asked(cases: list[dict[str, Any]], place: Path) -> list[str]:
    """What the role says to each case, in one play."""
    answers = [place / f"{i}.txt" for i in range(len(cases))]
    told = [
        {**FINE, "tasks": "main", **case, "told": str(answer)}
        for case, answer in zip(cases, answers, strict=True)
    ]
    (place / "play.yml").write_text(PLAY)
    (place / "case.yml").write_text(CASE % json.dumps({name: f"{{{{ asked.{name} }}}}" for name in FINE}))
    (place / "cases.json").write_text(json.dumps({"cases": told}))
    playbook = str(Path(sys.executable).parent / "ansible-playbook")
    done = subprocess.run(
        (playbook, "-i", "localhost,", "-c", "local", "-e", f"@{place}/cases.json", str(place / "play.yml")),
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_FORCE_COLOR": "0", "ANSIBLE_ROLES_PATH": str(ROOT / "roles")},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
    return [answer.read_text() for answer in answers]


def test_each_mistake_is_refused_by_its_name_and_the_whole_passes(tmp_path: Path) -> None:
    whole, *answers = asked([{}, *({"tasks": tasks, **change} for tasks, _, change in MISTAKES)], tmp_path)

    assert whole == "passed"
    for (_, name, change), answer in zip(MISTAKES, answers, strict=True):
        assert f"{name}:" in answer, change
        assert "HINT:" in answer


@pytest.fixture(scope="module")
def timings() -> ModuleType:
    spec = importlib.util.spec_from_file_location("timings", ROOT / "playbooks/filter_plugins/timings.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("overrides", "profile", "named"),
    [
        ({}, "fast", ""),
        ({"ttl_s": 8}, "balanced", ""),
        ({"ttl_s": "8"}, "balanced", ""),
        ({"ttl_s": 3.4}, "balanced", "ttl_s 3.4 is below 3.5 = beat_s 1"),
        ({"ttl_s": "six"}, "balanced", "six"),
        ({"ttl": 6}, "balanced", "there is no timing ttl"),
    ],
)
def test_timings_are_judged_as_the_agent_judges_them(
    timings: ModuleType, overrides: dict[str, object], profile: str, named: str
) -> None:
    complaints = timings.timings_complaints(overrides, profile)

    assert bool(complaints) is bool(named)
    assert named in "".join(complaints)
