"""Replication slots on real servers: kept on every node, bounded, and never in the way of streaming."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from failover_agent.adapters.clock import SystemClock
from failover_agent.core.model import ServerState
from failover_agent.core.slots import (
    CreateSlot,
    DropSlot,
    SlotsSeen,
    lost_by_promotion,
    plan,
    slot_name,
)

from .namespaces import entered
from .postgres_nodes import Node, look, two_nodes, until

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

SEGMENT = 16 << 20
SMALL = (
    "wal_keep_size=0\nmax_slot_wal_keep_size=48MB\nmin_wal_size=32MB\nmax_wal_size=32MB\nwal_level=logical\n"
    "autovacuum=off\n"  # its workers commit, and commits are counted here
)


@pytest.fixture(scope="module")
def nodes() -> Iterator[tuple[Node, Node]]:
    """A primary and its standby; what WAL they keep beyond checkpoints they keep by slots alone."""
    # Not pytest's own directory: PostgreSQL's user must be able to walk into it.
    with tempfile.TemporaryDirectory(prefix="pg-slots-") as place:
        Path(place).chmod(0o755)
        with two_nodes(Path(place)) as (db1, db2):
            for node in (db1, db2):
                written = node.plan.config_file.read_text()
                node.plan.config_file.write_text(written.replace("include_if", f"{SMALL}include_if"))
            db1.postgres.init(quiet)
            db1.postgres.start_primary()
            with entered(db2.namespace):
                db2.postgres.clone("db1", quiet)
            db2.postgres.start_standby("db1")
            yield db1, db2


@pytest.fixture
def pair(nodes: tuple[Node, Node]) -> tuple[Node, Node]:
    """The primary of this moment and its standby, which streams by no slot."""
    primary, standby = sorted(nodes, key=lambda node: look(node).state is ServerState.STANDBY)
    standby.postgres.follow(primary.name)
    until(lambda: look(standby).streaming and look(standby).received_lsn >= look(primary).received_lsn)
    return primary, standby


def quiet(_line: str) -> None: ...


def slots(node: Node) -> SlotsSeen:
    seen = node.postgres.slots()
    assert isinstance(seen, SlotsSeen), seen
    return seen


def keep(node: Node, other: Node) -> None:
    """One pass of the agent of `node`, to whom `other` is the other member."""
    seen = slots(node)
    told = None if seen.primary else slots(other).kept
    node.postgres.change_slots(plan(seen, [other.name], "" if seen.primary else other.name, told))


def streams_by_its_slot(standby: Node, primary: Node) -> bool:
    slot = slots(primary).kept.of(standby.name)
    return look(standby).streaming and slot is not None and slot.active


def fill(node: Node, segments: int) -> None:
    """WAL by whole segments, and a checkpoint, which removes what nobody keeps."""
    for _ in range(segments):
        node.sql("SELECT pg_logical_emit_message(false, 'fill', 'x')")
        node.sql("SELECT pg_switch_wal()")
    node.sql("CHECKPOINT")


def segments_on_disk(node: Node) -> int:
    return len([p for p in node.plan.wal_dir.iterdir() if len(p.name) == 24])


def test_slots_are_on_both_nodes_and_live_through_a_switchover(pair: tuple[Node, Node]) -> None:
    primary, standby = pair
    keep(primary, standby)
    keep(standby, primary)
    assert (slots(primary).primary, slots(standby).primary) == (True, False)
    assert slots(primary).kept.of(standby.name), "there before anybody streams by it"

    standby.postgres.follow(primary.name, slot_name(standby.name))
    until(lambda: streams_by_its_slot(standby, primary))
    assert look(standby).slot == slot_name(standby.name)

    # Everything that a promotion needs is there already.
    primary.postgres.stop(10)
    assert standby.postgres.promote(60, SystemClock().now() + 60, above=1) == 2
    here = slots(standby)
    assert here.primary
    slot = here.kept.of(primary.name)
    assert slot is not None
    assert 0 < slot.lsn <= look(standby).history[-1].lsn, "the old primary's WAL from before the fork is kept"
    fill(standby, 1)
    primary.postgres.start_standby(standby.name)
    until(lambda: look(primary).streaming)
    primary.postgres.follow(standby.name, slot_name(primary.name))
    until(lambda: streams_by_its_slot(primary, standby))
    keep(primary, standby)
    keep(standby, primary)
    assert {s.name for s in slots(primary).kept.slots} == {slot_name(standby.name)}
    assert {s.name for s in slots(standby).kept.slots} == {slot_name(primary.name)}


def test_a_standby_moves_its_slots_along_and_a_missing_slot_only_costs_a_moment(
    pair: tuple[Node, Node],
) -> None:
    primary, standby = pair
    keep(primary, standby)
    keep(standby, primary)
    first = slots(standby).kept.of(primary.name)
    fill(primary, 3)
    until(lambda: look(standby).replayed_lsn >= look(primary).received_lsn)
    standby.sql("CHECKPOINT")  # a restart point
    keep(standby, primary)
    then = slots(standby).kept.of(primary.name)
    assert first is not None
    assert then is not None
    assert then.lsn >= first.lsn + 2 * SEGMENT

    # standby streams without its slot: it is moved to what standby has flushed.
    keep(primary, standby)
    slot = slots(primary).kept.of(standby.name)
    assert slot is not None
    assert slot.lsn >= look(primary).received_lsn - SEGMENT

    # A slot that is not there stops streaming; without it, and with one made anew, it goes on.
    standby.postgres.follow(primary.name, "primacy_nobody")
    until(lambda: not look(standby).streaming)
    assert look(standby).slot == "primacy_nobody"
    standby.postgres.follow(primary.name)
    until(lambda: look(standby).streaming)
    standby.postgres.follow(primary.name, slot_name(standby.name))
    until(lambda: streams_by_its_slot(standby, primary))

    # A restart streams by none, whatever the files said.
    standby.postgres.stop(10)
    standby.postgres.start_standby(primary.name)
    until(lambda: look(standby).streaming)
    assert look(standby).slot == ""


def test_wal_is_kept_by_slots_up_to_the_cap_and_what_is_gone_is_told(pair: tuple[Node, Node]) -> None:
    primary, standby = pair
    keep(primary, standby)
    standby.postgres.follow(primary.name, slot_name(standby.name))
    until(lambda: streams_by_its_slot(standby, primary))
    standby.postgres.stop(10)

    # Away for less than the cap: every byte is there.
    fill(primary, 2)
    assert slots(primary).kept.oldest_wal <= db2_needs(standby)
    standby.postgres.start_standby(primary.name)
    until(lambda: look(standby).streaming and look(standby).received_lsn >= look(primary).received_lsn)

    # For more: the slot is invalidated, the disk does not fill, and the primary says that it cannot serve.
    standby.postgres.stop(10)
    needs = db2_needs(standby)
    for _ in range(4):
        fill(primary, 4)
    assert segments_on_disk(primary) <= 10
    lost = next(s for s in slots(primary).kept.slots if s.name == slot_name(standby.name))
    assert lost.lost
    assert slots(primary).kept.of(standby.name) is None
    assert slots(primary).kept.oldest_wal > needs
    assert plan(slots(primary), [standby.name], "", None) == (
        DropSlot(slot_name(standby.name)),
        CreateSlot(slot_name(standby.name)),
    )
    keep(primary, standby)
    assert slots(primary).kept.of(standby.name) is not None
    assert plan(slots(primary), [standby.name], "", None) == ()

    # standby starts and cannot stream; a clone brings it back, its old directory is kept.
    standby.postgres.start_standby(primary.name)
    until(lambda: waits_for_gone_wal(standby, primary))
    standby.postgres.stop(10)
    with entered(standby.namespace):
        standby.postgres.clone(primary.name, quiet)
    assert list(standby.plan.data_dir.parent.glob("main.kept-*"))
    standby.postgres.start_standby(primary.name)
    until(lambda: look(standby).streaming)
    standby.postgres.follow(primary.name, slot_name(standby.name))
    until(lambda: streams_by_its_slot(standby, primary))
    assert slots(standby).kept.slots == (), "a copy brings no slots along"


def waits_for_gone_wal(standby: Node, primary: Node) -> bool:
    """A receiver calls itself streaming for the moment until the primary has refused what it asks for."""
    seen = look(standby)
    return not seen.streaming and 0 < seen.received_lsn < slots(primary).kept.oldest_wal


def db2_needs(node: Node) -> int:
    end = node.postgres.wal_end()
    assert isinstance(end, int), end
    return end


def test_looking_at_slots_counts_as_a_session_and_not_as_a_commit_beyond_it(pair: tuple[Node, Node]) -> None:
    """N4: what the agent does all the time must not look like a client that commits."""
    primary, _standby = pair
    count = "SELECT sum(xact_commit)::bigint FROM pg_stat_database"
    before = primary.sql(count)[0][0]

    for _ in range(4):
        slots(primary)
        primary.postgres.change_slots((CreateSlot("primacy_x"),))
        primary.postgres.change_slots((DropSlot("primacy_x"),))

    sessions = 4 * 3 + 2  # PostgreSQL commits one transaction to begin each; two are the test's own
    assert primary.sql(count)[0][0] <= before + sessions + 1


def test_logical_slots_that_a_promotion_would_lose_are_seen(pair: tuple[Node, Node]) -> None:
    primary, standby = pair
    keep(primary, standby)
    primary.sql("SELECT pg_create_logical_replication_slot('cdc', 'test_decoding')")

    seen = slots(primary)
    assert [s.name for s in seen.kept.slots if s.logical] == ["cdc"]
    assert lost_by_promotion(seen.kept, slots(standby).kept) == ("cdc",)
    for others in ([standby.name], []):
        assert DropSlot("cdc") not in plan(seen, others, "", None), "people's slots are left alone"
    primary.sql("SELECT pg_drop_replication_slot('cdc')")
