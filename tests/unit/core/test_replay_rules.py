"""Who claimed the lease replays what it received before it is promoted, as long as replay gets on."""

from __future__ import annotations

from dataclasses import replace

from tests.unit.core.test_rules import MINE, NOW, STANDBY, following

from failover_agent.core import snapshot as a
from failover_agent.core.facts import REPLAY_FIRST_BYTES, REPLAY_STILL_S
from failover_agent.core.fencing import Fencing
from failover_agent.core.model import Holder, LeaseSeen
from failover_agent.core.rules import decide
from failover_agent.core.snapshot import Mine

END = 1 << 30
BEHIND = replace(
    STANDBY, received_lsn=END, replayed_lsn=END - REPLAY_FIRST_BYTES - 1, streaming=False, upstream=""
)
CLAIMED = Mine(MINE.item, NOW + 3, was_primary=False)
claimed = following.but(server=BEHIND, mine=CLAIMED, lease=LeaseSeen(CLAIMED.item, NOW, NOW), heard=())


def test_who_has_much_to_replay_is_promoted_when_little_is_left() -> None:
    little = claimed.but(server=replace(BEHIND, replayed_lsn=END - REPLAY_FIRST_BYTES))

    assert decide(claimed).rule == "await-replay"
    assert decide(claimed).actions == ()
    assert decide(little).rule == "promote"


def test_replay_that_stands_still_is_left_to_the_promotion() -> None:
    assert decide(claimed.but(replay_still_s=REPLAY_STILL_S - 0.1)).rule == "await-replay"
    assert decide(claimed.but(replay_still_s=REPLAY_STILL_S)).rule == "promote"


def test_replay_that_only_a_promotion_lets_go_on_is_not_waited_for() -> None:
    paused = claimed.but(server=replace(BEHIND, replay_waits=True))
    held = claimed.but(server=replace(BEHIND, held="max_connections is 1, the primary's 2"))

    assert decide(paused).rule == decide(held).rule == "promote"


def test_while_replay_is_waited_for_nothing_more_is_taken_from_the_old_primary() -> None:
    streams = claimed.but(server=replace(BEHIND, streaming=True, upstream="db1"))

    assert decide(streams).rule == "await-replay"
    assert decide(streams).actions == (a.Follow(""),)


def test_replay_is_waited_for_only_where_the_lease_is_mine() -> None:
    assert decide(claimed.but(now=CLAIMED.valid_until)).rule != "await-replay"
    assert decide(following.but(server=replace(BEHIND, streaming=True, upstream="db1"))).rule == "following"


def test_the_old_holder_is_fenced_while_its_wal_is_replayed() -> None:
    unfenced = Mine(MINE.item.but(unfenced=(Holder("db1", "i-1", "n1"),)), NOW + 3, was_primary=False)

    assert decide(claimed.but(mine=unfenced, fencing=Fencing("stop-instance", "wait"))).rule == "fence-first"
