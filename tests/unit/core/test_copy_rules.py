"""A copy that is not consistent yet, and whose source is lost: started for the next primary, or cloned."""

from __future__ import annotations

from dataclasses import replace

from tests.unit.core.test_rules import DB1, PRIMARY, following, report

from failover_agent.core import snapshot as a
from failover_agent.core.model import Fork, LeaseSeen, Server, ServerState
from failover_agent.core.other_facts import ASTRAY_S
from failover_agent.core.rules import decide

NEEDS = 600
STARTING = Server(ServerState.STARTING, "s1", 2, upstream="db3", standby_signal=True)
ASTRAY = {"server": STARTING, "astray_s": ASTRAY_S}
BROKEN_OFF = Server(ServerState.STOPPED, "s1", 2, 550, standby_signal=True, whole_from=NEEDS)
waiting = following.but(**ASTRAY)


def led_from(fork: int) -> dict[str, object]:
    """db1 serves, on a line that left timeline 2 at `fork`."""
    history = (Fork(1, 400), Fork(2, fork))
    primary = replace(PRIMARY, timeline=3, received_lsn=900, history=history)
    lease = following.lease
    assert isinstance(lease, LeaseSeen)
    item = lease.item.but(timeline=3, history=history)
    return {"heard": (report(DB1, primary, holds=True),), "lease": replace(lease, item=item)}


stopped = following.but(server=replace(BROKEN_OFF, history=(Fork(1, 400),)), **led_from(NEEDS - 1))


def test_a_server_that_waits_for_wal_of_another_than_the_primary_is_stopped_after_a_while() -> None:
    assert decide(waiting.but(astray_s=ASTRAY_S - 0.1)).rule == "hold"
    assert decide(waiting).rule == "start-anew"
    assert decide(waiting).actions == (a.StopPostgres(),)


def test_a_server_that_starts_for_the_primary_is_never_stopped_however_long_it_takes() -> None:
    for_it = replace(STARTING, upstream="db1")

    assert decide(waiting.but(server=for_it)).rule == "hold"


def test_a_server_that_starts_for_nobody_is_stopped_only_while_another_node_serves() -> None:
    for_nobody = waiting.but(server=replace(STARTING, upstream=""))

    assert decide(for_nobody).rule == "start-anew"
    assert decide(for_nobody.but(heard=())).actions == ()


def test_a_copy_that_lacks_wal_which_the_primarys_line_never_had_is_cloned() -> None:
    assert decide(stopped).rule == "clone-incomplete"
    assert decide(stopped).actions == (a.Clone("db1", over_existing=True),)


def test_a_copy_that_gets_all_it_lacks_from_the_primary_just_returns() -> None:
    assert decide(stopped.but(**led_from(NEEDS))).actions == (a.StartStandby("db1"),)


def test_a_node_whose_own_wal_makes_it_consistent_is_rewound_and_not_cloned() -> None:
    whole = replace(BROKEN_OFF, received_lsn=NEEDS, history=(Fork(1, 400),))

    assert decide(stopped.but(server=whole)).rule == "rewind"


def test_a_copy_whose_own_end_was_not_read_is_not_cloned_for_that() -> None:
    unread = replace(BROKEN_OFF, received_lsn=0, history=(Fork(1, 400),))

    assert decide(stopped.but(server=unread)).rule == "rewind"


def test_a_copy_is_cloned_only_while_another_node_serves() -> None:
    assert a.Clone not in {type(x) for x in decide(stopped.but(heard=())).actions}
