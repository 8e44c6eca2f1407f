"""Promises, one rule at a time: what refuses one, what ends one, and what a holder may count on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from failover_agent.core.model import Holder, LeaseItem, SyncSet, TooNew, Unknown
from failover_agent.core.promises import (
    Given,
    MemberStanding,
    Promise,
    anybody_may_claim,
    ask_from,
    binds,
    carried_until,
    give,
    is_fresh_start,
    is_over,
    is_silence,
    promised_until,
    to_ask,
    why_not_promise,
)
from failover_agent.core.timings import CLOCK_RATE_ERROR, PROFILES
from failover_agent.errors import LeaseUnreadable, StoreTableMissing, StoreUnreachable

DB1 = Holder("db1", "i-1", "life 1")
ITEM = LeaseItem("c", "s1", DB1, 4, "t", 6.0, 1, 0, sync=SyncSet((), 0, 7), may_claim=("db1", "db2", "db3"))
ASKED = Promise("c", 4, DB1, 7, 6.0)
FREE = MemberStanding("c", holds=False, claiming=False, sealed=(0, 0), epoch=4, item=ITEM)


def test_a_member_with_nothing_of_its_own_promises() -> None:
    assert why_not_promise(ASKED, FREE, None) == ""


def test_a_member_that_knows_nothing_promises_too() -> None:
    """The store is away, and its agent has just begun."""
    assert why_not_promise(ASKED, MemberStanding("c", False, False, (0, 0), 0, None), None) == ""


def test_where_seals_count_a_new_life_promises_only_once_it_has_read_the_epoch() -> None:
    """It may have claimed by seals and acted while the holder's own right went on, and forgotten it."""
    early = replace(ASKED, early=True)
    knows_nothing = MemberStanding("c", False, False, (0, 0), 0, None, fresh=True)

    assert "has not read the lease since" in why_not_promise(early, knows_nothing, None)
    assert why_not_promise(early, replace(knows_nothing, epoch=4, item=ITEM), None) == ""
    assert why_not_promise(early, replace(knows_nothing, fresh=False), None) == ""
    assert why_not_promise(ASKED, knows_nothing, None) == ""


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"cluster": "d"}, "it belongs to cluster d"),
        ({"holds": True}, "it holds the lease itself"),
        ({"claiming": True}, "a claim of its own is under way"),
        ({"sealed": (4, 7)}, "it is sealed for epoch 4 version 7"),
        ({"sealed": (5, 1)}, "it is sealed for epoch 5 version 1"),
        ({"epoch": 5}, "the lease is at epoch 5"),
        ({"item": ITEM.but(holder=None)}, "epoch 4 was given away"),
        ({"item": ITEM.but(holder=Holder("db1", "i-9", "n"))}, "epoch 4 is held by db1 of i-9"),
    ],
)
def test_each_of_these_refuses(changes: dict[str, object], why: str) -> None:
    fields = {name: getattr(FREE, name) for name in MemberStanding.__dataclass_fields__}
    assert why_not_promise(ASKED, MemberStanding(**{**fields, **changes}), None) == why


def test_a_seal_of_an_earlier_version_does_not_refuse() -> None:
    assert why_not_promise(ASKED, MemberStanding("c", False, False, (4, 6), 4, ITEM), None) == ""


def test_the_next_life_of_the_same_holder_is_promised_too() -> None:
    asked = Promise("c", 4, Holder("db1", "i-1", "life 2"), 7, 6.0)
    assert why_not_promise(asked, FREE, give(ASKED, 100.0, None)) == ""


def test_whoever_promised_a_later_holder_refuses_an_earlier_one() -> None:
    later = give(Promise("c", 5, Holder("db3", "i-3", "n"), 8, 6.0), 100.0, None)
    assert why_not_promise(ASKED, FREE, later) == "it was asked for epoch 5 already"


def test_a_promise_counts_from_the_receipt_for_one_ttl_of_the_slowest_clock() -> None:
    given = give(ASKED, 100.0, None)
    end = 100.0 + 6.0 * (1 + CLOCK_RATE_ERROR)

    assert binds(given, end - 0.001)
    assert not binds(given, end)


def test_a_second_promise_never_shortens_the_first() -> None:
    long = give(Promise("c", 4, DB1, 7, 20.0), 100.0, None)
    assert give(ASKED, 101.0, long).until == long.until


@pytest.mark.parametrize(
    ("item", "over"),
    [
        (ITEM, False),
        (ITEM.but(token="another", sync=SyncSet((), 0, 9)), False),
        (ITEM.but(epoch=3, holder=None), False),
        (ITEM.but(epoch=5, holder=Holder("db2", "i-2", "n")), True),
        (ITEM.but(holder=None), True),
    ],
)
def test_only_a_later_epoch_or_the_holders_own_release_ends_it_early(item: LeaseItem, over: bool) -> None:
    assert is_over(Given(ASKED, 106.0), item) is over


def test_after_a_start_the_longer_ttl_counts() -> None:
    """Its earlier life may have promised for the item's ttl, which is not what it is configured with now."""
    assert is_fresh_start(100.0, 105.9, 6.0, None)
    assert not is_fresh_start(100.0, 106.1, 6.0, None)
    assert is_fresh_start(100.0, 119.9, 6.0, ITEM.but(ttl_s=20.0))


def test_of_whom_promises_are_needed() -> None:
    assert to_ask(ITEM, ITEM, "db1") == ("db2", "db3")
    assert to_ask(ITEM, ITEM.but(may_claim=("db1", "db2", "db4")), "db1") == ("db2", "db3", "db4")
    assert to_ask(ITEM, ITEM.but(may_claim=()), "db1") == ()
    assert to_ask(ITEM.but(may_claim=("db1",), mode="quorum"), ITEM, "db1") == ("db2", "db3")
    alone = ITEM.but(may_claim=("db1",), mode="quorum")
    assert to_ask(alone, alone, "db1") == ()


def test_one_name_alone_locks_nobody_out_in_mode_async() -> None:
    """→ an older agent's claim leaves its own name there; it dies, and nobody might claim for ever."""
    assert anybody_may_claim(ITEM.but(may_claim=("db2",)))
    assert not anybody_may_claim(ITEM.but(may_claim=("db2",), mode="quorum"))
    assert not anybody_may_claim(ITEM)


def test_the_oldest_question_counts_and_every_promise_is_needed() -> None:
    promised = {"db2": promised_until(100.0, 6.0, 1.0), "db3": promised_until(101.0, 6.0, 1.0)}

    assert carried_until(promised, ("db2", "db3")) == 105.0
    assert carried_until(promised, ("db2", "db4")) is None
    assert carried_until(promised, ()) is None


@pytest.mark.parametrize("profile", sorted(PROFILES))
def test_questions_begin_when_there_is_time_for_them_and_not_at_the_first_silence(profile: str) -> None:
    t = PROFILES[profile]
    landed_for = t.ttl_s - t.margin_s
    begin = ask_from(landed_for, t.beat_s, t.request_timeout_s)

    assert begin >= t.beat_s, "a renewal that is answered asks nobody"
    assert landed_for - begin >= 3 * t.request_timeout_s


def test_an_answer_is_no_silence() -> None:
    def unknown(kind: type[StoreUnreachable | StoreTableMissing | LeaseUnreadable]) -> Unknown:
        return Unknown("", kind.about("x", value="", expected="", hint="h"))

    assert is_silence(Unknown("timed out"))
    assert is_silence(unknown(StoreUnreachable))
    assert not is_silence(unknown(StoreTableMissing))
    assert not is_silence(unknown(LeaseUnreadable))
    assert not is_silence(TooNew("of schema version 9"))
