"""A node whose own network is unreachable: told apart from a store that is away, by what else is silent."""

from __future__ import annotations

from tests.unit.core.test_rules import DB1_STANDS_BY, MINE, NOW, following, serving

from failover_agent.core.model import Unknown
from failover_agent.core.rules import decide
from failover_agent.core.timings import PROFILES
from failover_agent.errors import RightMissing

LONG_AGO_S = PROFILES["balanced"].suspect_after_s + 1  # what was said then counts no more


def test_a_node_that_reaches_neither_the_store_nor_anybody_says_that_its_network_is_unreachable() -> None:
    """An answer that refuses came over a network that works; so did a member's word, until it is too old."""
    denied = RightMissing.about("dynamodb:GetItem", value="denied", expected="allowed", hint="h")
    alone = following.but(lease=Unknown("timed out"), heard=())

    assert (decide(alone).rule, decide(alone).actions) == ("cut-off", ())
    assert decide(alone.but(lease=Unknown("denied", cause=denied))).rule == "store-silent"
    assert decide(alone.but(heard=DB1_STANDS_BY)).rule == "store-silent"
    assert decide(alone.but(heard=DB1_STANDS_BY, now=NOW + LONG_AGO_S)).rule == "cut-off"
    assert decide(alone.but(others=(), lease=Unknown("timed out"))).rule == "store-silent", "it has no others"


def test_a_primary_that_is_cut_off_serves_until_its_lease_ends_and_says_so() -> None:
    cut_off = serving.but(unanswered=True, heard=())

    assert decide(cut_off).rule == "serve-cut-off"
    assert decide(cut_off).actions == decide(serving).actions
    assert decide(cut_off.but(heard=DB1_STANDS_BY)).rule == "serve"
    assert decide(cut_off.but(unanswered=False)).rule == "serve"
    ended = cut_off.but(now=MINE.valid_until, lease=Unknown("timed out"))
    assert decide(ended).rule == "fence"
