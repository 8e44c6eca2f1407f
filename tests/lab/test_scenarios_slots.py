"""Slots outlive a failover: the members' own on every node, and a logical one together with its consumer."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial

import pytest

from failover_agent.core.slots import slot_name
from rehearsal.cluster import Cluster
from rehearsal.steps import Stage, power_loss, result, wait_for_another
from rehearsal.waiting import wait_for

from .conftest import WISH
from .judgement import assert_safe

pytestmark = pytest.mark.lab

DATABASE = "app"  # the recorder's clients write here
READ_ON, LEFT = "read_on", "left_behind"  # made with failover = true, and without
SOON_S = 240.0  # a failover slot needs several rounds of a snapshot and its consumer's word
PEEK = "select lsn, data from pg_logical_slot_peek_changes('read_on', null, null, 'skip-empty-xacts', '1')"
ADVANCE = "select pg_replication_slot_advance('read_on', '{}')"
ROW = re.compile(r"INSERT: id\[bigint\]:(\d+) ")


@dataclass
class Consumer:
    """Change data capture as people build it: it confirms what it has, on whichever node is primary."""

    cluster: Cluster
    ids: set[int] = field(default_factory=set)

    def read(self, primary: str) -> None:
        told = self.cluster.ask(primary, PEEK, DATABASE).splitlines()
        self.ids.update(int(found[1]) for line in told if (found := ROW.search(line)))
        if told:
            last = told[-1].partition("|")[0]
            self.cluster.ask(primary, ADVANCE.format(last), DATABASE)

    def has(self, wanted: set[int], primary: str) -> bool:
        self.read(primary)
        return wanted <= self.ids


@pytest.fixture
def consumer(stage: Stage) -> Iterator[Consumer]:
    """Of two logical slots; they are gone everywhere afterwards."""
    cluster, primary = stage.cluster, stage.cluster.primary()
    for name, failover in ((READ_ON, "true"), (LEFT, "false")):
        make = f"pg_create_logical_replication_slot('{name}', 'test_decoding', false, false, {failover})"
        cluster.ask(primary, f"select {make}", DATABASE)
    yield Consumer(cluster)
    drop = (
        "select pg_drop_replication_slot(slot_name) from pg_replication_slots"
        " where slot_type = 'logical' and not synced"
    )
    for node in sorted(cluster.nodes(), key=lambda node: node != cluster.primary()):
        cluster.ask(node, drop, DATABASE)


def brought_over(stage: Stage, consumer: Consumer, primary: str, would_lose: list[str]) -> bool:
    """Every standby has all slots but these ready. A failover slot gets there as its consumer moves on."""
    cluster = stage.cluster
    cluster.ask(primary, "select pg_log_standby_snapshot()")  # a slot moves on from one of these to the next
    consumer.read(primary)
    for node in cluster.nodes():
        cluster.ask(node, "select pg_reload_conf() where pg_is_in_recovery()")  # the worker naps up to 30 s
    status = cluster.status_of(primary)  # who names what a switchover would lose
    members = status["members"] if status else []
    lost = [member["lost_logical_slots"] for member in members if member["state"] == "streaming"]
    return len(lost) == stage.nodes - 1 and all(names == would_lose for names in lost)


def wait_until_brought_over(stage: Stage, consumer: Consumer, would_lose: list[str]) -> None:
    """Until the primary says of every standby that these logical slots, and no others, are not on it."""
    primary = stage.cluster.primary()
    ready = partial(brought_over, stage, consumer, primary, would_lose)
    wait_for("the slot on every standby", ready, SOON_S, every_s=1)


def assert_without_a_gap(stage: Stage, consumer: Consumer, since: float) -> None:
    """Whatever clients were told since then reaches the consumer, and nothing that no node has."""
    primary = stage.cluster.primary()
    told = {ack.id for ack in stage.recorder.acks() if ack.sent > since}
    wait_for("all that was acknowledged", lambda: consumer.has(told, primary), SOON_S)
    assert consumer.ids <= stage.recorder.present()


def test_every_member_has_its_physical_slot_on_every_node(cluster: Cluster) -> None:
    cluster.wait_until_whole(WISH.nodes)
    for node in cluster.nodes():
        wanted = sorted(slot_name(other) for other in cluster.nodes() if other != node)
        wait_for(f"the slots on {node}", partial(has_slots, cluster, node, wanted), SOON_S)


def has_slots(cluster: Cluster, node: str, wanted: list[str]) -> bool:
    """Those and no other, all of use."""
    asked = "select slot_name from pg_replication_slots where wal_status <> 'lost' and slot_type = 'physical'"
    return sorted(cluster.ask(node, asked).split()) == wanted


def test_a_logical_slot_and_its_consumer_go_on_after_a_switchover_and_a_power_loss(
    stage: Stage, consumer: Consumer
) -> None:
    """The slot that asks for it is brought to the standbys; one that does not is named before it is lost."""
    cluster, old = stage.cluster, stage.cluster.primary()
    began = max(ack.received for ack in stage.recorder.acks())
    wait_until_brought_over(stage, consumer, would_lose=[LEFT])

    told = json.loads(cluster.switch_over(cluster.heir()))

    assert told["lost_logical_slots"] == [LEFT]
    wait_for_another(stage, old, began)
    assert_safe(result("switchover", stage, began, began, 0, may_lose_since=None))
    assert_without_a_gap(stage, consumer, began)
    cluster.wait_until_whole(WISH.nodes)
    wait_until_brought_over(stage, consumer, would_lose=[])

    step = power_loss(stage)

    assert_safe(step)
    assert_without_a_gap(stage, consumer, began)
    cluster.wait_until_whole(WISH.nodes)
