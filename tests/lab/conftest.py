"""One cluster for all scenarios: they leave it whole, so each can begin with it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from rehearsal.cluster import Cluster, Wish
from rehearsal.errors import RehearsalError
from rehearsal.lab import Lab
from rehearsal.recorder import Recorder
from rehearsal.steps import Stage

from .vpc_world import World

# Never the name of a cluster that somebody works with: the tests remove it.
LAB = os.environ.get("EC2_LAB_OF_TESTS", "scenarios")
WISH = Wish(nodes=3)  # so the mode is quorum, as by default


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    lab = Lab(LAB)
    cluster = Cluster(lab)
    try:
        lab.down()  # what a killed run of the tests left is no fresh cluster
        lab.up(sys.stderr)
        cluster.play("site.yml", WISH, print, tmp_path_factory.mktemp("site") / "site.log")
        cluster.wait_until_whole(WISH.nodes)
        yield cluster
    except RehearsalError:  # of the building: a failed test does not come by here
        print(evidence(lab))
        raise
    finally:
        lab.down()


@pytest.fixture
def stage(cluster: Cluster) -> Iterator[Stage]:
    """The cluster, whole, with clients writing."""
    cluster.wait_until_whole(WISH.nodes)
    with Recorder(cluster.lab, cluster.app, cluster.nodes()) as recorder:
        yield Stage(cluster, recorder, WISH.nodes, print, WISH.profile, cluster.mode())


@pytest.fixture(scope="module")
def region() -> Iterator[World]:
    """A VPC without machines, for tests of packets."""
    made = World(f"vpctest{os.getpid()}")
    yield made
    made.close()


@pytest.fixture
def world(region: World) -> Iterator[World]:
    """The same, as it was made."""
    yield region
    region.restore()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The playbooks that end the shared cluster come after whatever else lives on it."""
    for item in items:
        if "cluster" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.shared)
    items.sort(key=lambda item: item.path.name == "test_playbooks.py")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    fixtures = getattr(item, "funcargs", {})
    if report.failed and call.when == "call" and ("stage" in fixtures or "cluster" in fixtures):
        report.sections.append(("what the nodes and the API said", evidence(Lab(LAB))))
    return report


def evidence(lab: Lab) -> str:
    """Whatever can still be had: one host that does not answer must not hide what the others say."""
    if not lab.is_up():
        return f"the lab {lab.name} is not up"
    parts = [lab.call("status", check=False), lab.call("hosts", check=False)]
    for node in lab.running("db"):
        words = ("journalctl", "-u", "failover-agent", "-u", "primacy-postgresql", "-n", "150", "--no-pager")
        parts.append(f"--- {node}\n" + said(lab, node, "failoverctl", "status") + said(lab, node, *words))
    history = Path("/run/ec2-lab") / lab.name / "api-history.jsonl"
    if history.exists():
        parts.append("--- API\n" + "\n".join(history.read_text().splitlines()[-80:]))
    return "\n".join(parts)


def said(lab: Lab, node: str, *words: str) -> str:
    try:
        return lab.execute(node, *words, check=False)
    except subprocess.TimeoutExpired as late:
        return f"{node}: {late}\n"
