"""No role without a scenario, no scenario that leaves out what makes it worth having."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[3]
BASE = ROOT / ".config/molecule/config.yml"
# These two change what a whole cluster is; playbooks/hosts.yml and remove.yml run them on lab clusters.
ON_WHOLE_CLUSTERS = {"adopt", "remove"}
ROLES = sorted({path.name for path in (ROOT / "roles").iterdir() if path.is_dir()} - ON_WHOLE_CLUSTERS)
SCENARIOS = sorted(path.parent.name for path in (ROOT / "molecule").glob("*/molecule.yml"))
CHECKED = "../shared/tasks/checked.yml"


def settings(scenario: str) -> dict[str, Any]:
    """The scenario's own, on top of what all share; Molecule merges them the same way."""
    base: dict[str, Any] = yaml.safe_load(BASE.read_text())
    own: dict[str, Any] = yaml.safe_load((ROOT / "molecule" / scenario / "molecule.yml").read_text())
    sequences = {**base["scenario"], **own.get("scenario", {})}
    return {**base, **own, "scenario": sequences}


def presumed(scenario: str) -> list[str]:
    """Names of the scenarios it stands on, in order."""
    names: str = settings(scenario)["ansible"]["env"]["PRIMACY_MOLECULE_PRESUMES"]
    return names.split()


def order() -> list[str]:
    """As `./run test roles` has it."""
    listed = re.search(r"^SCENARIOS=\(([^)]*)\)", (ROOT / "run").read_text(), re.MULTILINE)
    assert listed, "./run names no scenarios"
    return listed[1].split()


@pytest.mark.parametrize("role", ROLES)
def test_every_role_has_a_scenario_that_runs_it(role: str) -> None:
    converge = ROOT / "molecule" / role / "converge.yml"

    assert role in SCENARIOS, f"molecule/{role} is missing"
    assert re.search(rf"\brole: {role}$", converge.read_text(), re.MULTILINE), (
        f"{converge} does not run {role}"
    )


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_scenario_checks_a_fresh_host_repeats_itself_checks_again_and_looks(scenario: str) -> None:
    sequence = settings(scenario)["scenario"]["test_sequence"]
    wanted = ["check", "converge", "idempotence", "check", "verify"]

    assert [step for step in sequence if step in wanted] == wanted
    for playbook in ("converge.yml", "verify.yml"):
        assert (ROOT / "molecule" / scenario / playbook).is_file(), f"Molecule would skip {playbook}"


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_scenario_refuses_a_check_run_that_would_change_what_converged(scenario: str) -> None:
    """Molecule's check succeeds whatever it would change; the shared tasks look at what it said."""
    (first, *_) = yaml.safe_load((ROOT / "molecule" / scenario / "verify.yml").read_text())

    assert first["tasks"][0].get("ansible.builtin.include_tasks") == CHECKED


def test_all_scenarios_run_in_one_lab_each_after_those_it_presumes() -> None:
    assert sorted(order()) == SCENARIOS
    for scenario in SCENARIOS:
        assert settings(scenario)["shared_state"] is True
        before = order()[: order().index(scenario)]
        assert [name for name in before if name in presumed(scenario)] == presumed(scenario), scenario
