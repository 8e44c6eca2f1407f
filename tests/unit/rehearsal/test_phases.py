"""The phases of a takeover as a report tells them, where a journal may tell of more than one."""

from __future__ import annotations

from rehearsal.history import Ack
from rehearsal.phases import Phase, first_after_opening, parse, since_fault

FAULT_AT = 100.0
TAKEOVER = [
    Phase("db2", "detected", 102.0, 4),
    Phase("db2", "claimed", 102.2, 5),
    Phase("db2", "promoted", 102.4, 5),
    Phase("db2", "opened", 102.5, 5),
    Phase("db2", "routed", 102.7, 5),
]


def ack(node: str, received: float, via: str = "writer") -> Ack:
    return Ack(via, 1, received - 0.01, received, node, 1)


def test_phases_are_seconds_since_the_fault_in_their_order() -> None:
    told = since_fault(TAKEOVER, FAULT_AT, 103.0)

    assert told == {
        "detected": 2.0,
        "claimed": 2.2,
        "promoted": 2.4,
        "opened": 2.5,
        "routed": 2.7,
        "first_write": 3.0,
    }


def test_a_victim_that_opened_its_gate_once_more_is_not_taken_for_its_successor() -> None:
    again = Phase("db1", "opened", 101.0, 4)

    assert since_fault([again, *TAKEOVER], FAULT_AT, 103.0) == since_fault(TAKEOVER, FAULT_AT, 103.0)


def test_a_restart_in_place_has_an_opening_and_no_claim() -> None:
    assert since_fault([Phase("db1", "opened", 101.0, 4)], FAULT_AT, 101.2) == {
        "opened": 1.0,
        "first_write": 1.2,
    }


def test_the_first_write_is_of_whoever_opened_last_and_comes_through_the_virtual_address() -> None:
    acks = [ack("db1", 102.9), ack("db2", 102.55, via="db2"), ack("db2", 102.8), ack("db2", 104.0)]

    assert first_after_opening(TAKEOVER, acks, FAULT_AT) == 102.8
    assert first_after_opening(TAKEOVER[:3], acks, FAULT_AT) is None
    assert first_after_opening(TAKEOVER, acks, 102.6) is None, "that opening was before"


def test_only_phases_are_read_from_a_journal() -> None:
    line = '{"MESSAGE": "event=phase name=opened epoch=20 at=1796009389.2441"}'

    assert parse("db1", line) == Phase("db1", "opened", 1796009389.2441, 20)
    assert parse("db1", '{"MESSAGE": "event=decision rule=serve"}') is None
