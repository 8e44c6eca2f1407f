"""What happens around a cluster: routes change late, hosts reboot, the firewall is flushed."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import pytest

from rehearsal.aws import client
from rehearsal.cluster import Cluster
from rehearsal.hurts import api_fault
from rehearsal.lab import Lab
from rehearsal.recorder import Recorder
from rehearsal.steps import Stage, StepResult, result, switchover
from rehearsal.waiting import wait_for

from .conftest import WISH
from .judgement import assert_safe

pytestmark = pytest.mark.lab

LATE_S = 40  # longer than a switchover takes, also on a busy machine
SOON_S = 60.0
BOOT_S = 240.0  # a graceful stop alone may take a minute

# What the API's history notes beside a change of a route.
LATE, LANDED = "late-routes", "landed late"
HISTORY = 10_000  # calls: a cluster makes seven a second


def test_a_late_route_change_of_a_deposed_holder_is_repaired(stage: Stage) -> None:
    """R1: ReplaceRoute takes no condition, so the old holder's may be in force after the new one's.

    Method: a stranger moves one table's route. The holder repairs it, but its change comes late, when it
    is the holder no more. It may try more than once meanwhile, and each of its changes comes late.
    """
    cluster, lab, tables = stage.cluster, stage.cluster.lab, Tables(stage.cluster)
    old = cluster.primary()
    new = cluster.heir()
    began = time.time()
    with api_fault(lab, "late-routes", str(LATE_S), undo="late-routes 0"):
        tables.point_one_at(new)
        wait_for(f"a late repair by {old}", lambda: tables.changes(old, began, LATE), SOON_S)

    step = switchover(stage, to=new)
    opened_at = step.began_at + step.phases["opened"]
    landed = wait_for(f"{old}'s late changes", lambda: tables.all_landed(old, began), LATE_S + SOON_S)
    assert landed[-1] > opened_at, f"every change of {old} landed while it was the holder"
    wait_for(f"a repair for {new}", lambda: tables.repaired(new, landed[-1]), SOON_S)
    wait_for(f"every route at {new}", lambda: tables.targets() == {tables.interface(new)}, SOON_S)

    assert_safe(step)
    assert_safe(result("late_route", stage, step.began_at, time.time(), 0.0, may_lose_since=None))
    assert cluster.wait_until_whole(WISH.nodes)["holder"] == new


class Tables:
    """The route tables, by the API's own word: what a node says of them may be seconds old."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster, self._ec2 = cluster, client(cluster.lab)
        status = cluster.status()
        assert status is not None
        self._vip = f"{status['endpoints'][0]['vip']}/32"

    def _with_vip(self) -> dict[str, str]:
        """Target of the virtual address by table."""
        return {
            table["RouteTableId"]: route.get("NetworkInterfaceId", "")
            for table in self._ec2.describe_route_tables()["RouteTables"]
            for route in table["Routes"]
            if route.get("DestinationCidrBlock") == self._vip
        }

    def targets(self) -> set[str]:
        return set(self._with_vip().values())

    def interface(self, node: str) -> str:
        address = {"Name": "private-ip-address", "Values": [self._cluster.nodes()[node]]}
        (found,) = self._ec2.describe_network_interfaces(Filters=[address])["NetworkInterfaces"]
        return str(found["NetworkInterfaceId"])

    def point_one_at(self, node: str) -> None:
        self._ec2.replace_route(
            RouteTableId=min(self._with_vip()),
            DestinationCidrBlock=self._vip,
            NetworkInterfaceId=self.interface(node),
        )

    def changes(self, node: str, since: float, fault: str) -> list[float] | None:
        """When `node`'s changes of routes after `since` were noted with this fault; None before the first."""
        instance = self._cluster.lab.instance_id(node)  # the address is that of its NAT instance
        found = [
            float(entry["at"])
            for entry in self._since(since)
            if entry["who"].startswith(f"{instance}/") and entry["fault"] == fault
        ]
        return sorted(found) or None

    def repaired(self, node: str, since: float) -> bool:
        """Whether a route was pointed at `node` in time: by itself, or by another that it asked to."""
        mine = self.interface(node)
        changes = (e for e in self._since(since) if not e["fault"])
        return any(entry["parameters"].get("NetworkInterfaceId") == mine for entry in changes)

    def _since(self, moment: float) -> list[dict[str, Any]]:
        """All changes of routes after `moment`, of anybody."""
        return [
            entry
            for entry in self._cluster.lab.history(HISTORY)
            if (entry["action"], entry["status"]) == ("ReplaceRoute", 200) and entry["at"] > moment
        ]

    def all_landed(self, node: str, since: float) -> list[float] | None:
        """When `node`'s late changes came into force; None while one of them is still to come."""
        answered, landed = self.changes(node, since, LATE) or [], self.changes(node, since, LANDED)
        return landed if landed and len(landed) == len(answered) else None


def test_all_nat_instances_and_then_node_after_node_may_be_rebooted(cluster: Cluster) -> None:
    """NAT instances and standbys cost nobody anything, the primary a failover at most."""
    cluster.wait_until_whole(WISH.nodes)
    with Recorder(cluster.lab, cluster.app, cluster.nodes()) as recorder:
        stage = Stage(cluster, recorder, WISH.nodes, print, WISH.profile, cluster.mode())
        primary = cluster.primary()
        standbys = [node for node in cluster.nodes() if node != primary]
        for hosts in (cluster.lab.running("nat"), *([node] for node in (*standbys, primary))):
            began = time.time()
            reboot(cluster.lab, hosts)
            step = settled_after(stage, ", ".join(hosts), began)
            assert_safe(step)
            assert step.lost == 0
            if hosts != [primary]:
                assert cluster.primary() == primary, f"{hosts} rebooted, and the primary moved"
    reboot(cluster.lab, [cluster.app])
    with Recorder(cluster.lab, cluster.app, cluster.nodes()):
        assert cluster.wait_until_whole(WISH.nodes)


def settled_after(stage: Stage, what: str, began: float) -> StepResult:
    """The cluster whole again, with clients writing."""
    stage.cluster.wait_until_whole(WISH.nodes)
    now = time.time()
    wait_for("a write", lambda: stage.recorder.acked_since(now), SOON_S)
    return result(what, stage, began, now, now - began, may_lose_since=began)


def reboot(lab: Lab, hosts: list[str]) -> None:
    """By the API, as a person or a maintenance event would; returns when all are up anew."""
    before = {host: boot_id(lab, host) for host in hosts}
    client(lab).reboot_instances(InstanceIds=[lab.instance_id(host) for host in hosts])
    for host, old in before.items():
        wait_for(f"{host} to be another boot", partial(is_another_boot, lab, host, old), BOOT_S)
        wait_for(f"{host} to be up", partial(is_up, lab, host), BOOT_S)


def is_another_boot(lab: Lab, host: str, old: str) -> bool:
    return boot_id(lab, host) not in ("", old)


def boot_id(lab: Lab, host: str) -> str:
    """Empty while it does not answer."""
    return lab.execute(host, "cat", "/proc/sys/kernel/random/boot_id", check=False).strip()


def is_up(lab: Lab, host: str) -> bool:
    state = lab.execute(host, "systemctl", "is-system-running", check=False).strip()
    return state in ("running", "degraded")


@pytest.mark.parametrize("role", ["primary", "standby"])
def test_a_flushed_firewall_is_noticed_and_put_back_and_nobody_else_answers(stage: Stage, role: str) -> None:
    """G5: `nft flush ruleset` opens every gate there is; the agent shuts it, then serves on."""
    cluster, lab = stage.cluster, stage.cluster.lab
    primary = cluster.primary()
    node = primary if role == "primary" else next(n for n in cluster.nodes() if n != primary)
    table = lab.execute(node, "nft", "list", "tables")
    began = time.time()

    lab.execute(node, "nft", "flush", "ruleset")

    wait_for("the agent to notice", lambda: disturbed_since(lab, node, began), SOON_S)
    wait_for("the table's return", lambda: lab.execute(node, "nft", "list", "tables") == table, SOON_S)
    step = settled_after(stage, node, began)
    assert_safe(step)
    assert step.lost == 0
    assert cluster.primary() == primary
    writers = {ack.node for ack in stage.recorder.acks() if ack.received > began}
    assert writers == {primary}


def disturbed_since(lab: Lab, node: str, since: float) -> bool:
    words = ("journalctl", "-u", "failover-agent", "-o", "cat", "--no-pager", f"--since=@{int(since)}")
    return "gate-disturbed" in lab.execute(node, *words)
