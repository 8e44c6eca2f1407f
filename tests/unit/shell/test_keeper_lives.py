"""What one life of the agent leaves to the next must never be more than the store may still grant."""

from __future__ import annotations

import threading

from tests.unit.shell.test_keeper import Setup

from failover_agent.core.model import Absent, LeaseItem, Unknown, Version, WriteOutcome
from failover_agent.core.timings import PROFILES


def test_nothing_is_left_to_adopt_once_a_release_may_have_landed() -> None:
    """The release lands, its answer is lost, the agent dies: the heir serves, the next life must not."""
    first = Setup()
    keeper = first.hold()
    left_at_release: list[object] = []
    write = first.link.write

    def watch(item: LeaseItem, *, only_if: Absent | Version) -> WriteOutcome:
        if item.holder is None:
            left_at_release.append(first.notes.load("lease"))
            write(item, only_if=only_if)
            return Unknown("the answer is lost, and the agent dies now")
        return write(item, only_if=only_if)

    first.link.write = watch  # type: ignore[method-assign]  # the one seam between keeper and store
    keeper.release("db2")

    assert left_at_release[0] is None
    assert Setup(life=2, before=first).keeper.adopt() is False


def test_a_shorter_ttl_shuts_a_gate_that_only_the_earlier_life_knew_to_be_open() -> None:
    """The next life renews before its first decision: it does not serve yet, the kernel's gate does."""
    patient = Setup(PROFILES["patient"])
    patient.hold()
    balanced = Setup(PROFILES["balanced"], life=2, before=patient)
    patient.clock.time += 1.5

    assert balanced.keeper.adopt()
    balanced.keeper.round()

    seen = balanced.link.store.read()
    assert isinstance(seen, LeaseItem)
    assert not balanced.gate.is_open()


def test_nobody_opens_the_gate_between_its_shutting_and_the_forgetting_of_the_lease() -> None:
    setup = Setup()
    keeper = setup.hold()
    setup.clock.time += 1
    shut = keeper.gate.shut
    rival = threading.Thread(target=lambda: keeper.serve(1))

    def shut_and_let_the_loop_in() -> None:
        shut()
        rival.start()
        rival.join(timeout=0.2)  # it must wait for the lock, so this runs its time

    keeper.gate.shut = shut_and_let_the_loop_in  # type: ignore[method-assign]
    keeper.drop("refused")
    rival.join(timeout=60)

    assert not rival.is_alive()
    assert not setup.gate.is_open()
    assert keeper.serving_epoch() == 0


def test_who_leaves_on_purpose_leaves_the_renewal_that_has_just_landed() -> None:
    """→ the note was from before it: the next life, back in good time, gave the lease up as ended."""
    timings = PROFILES["balanced"]
    first = Setup()
    keeper = first.hold()
    noted_until = keeper.mine()
    first.clock.time += timings.beat_s
    keeper.leave(for_good=True)
    renewed = keeper.mine()
    assert noted_until is not None
    assert renewed is not None

    first.clock.time = noted_until.valid_until + 0.1
    first.link.plan = [(0.01, 0.01, "lost")] * 4  # the store says nothing at that moment
    second = Setup(life=2, before=first)

    assert second.keeper.adopt()
    second.keeper.round()
    mine = second.keeper.mine()
    assert mine is not None
    assert mine.valid_until == renewed.valid_until > noted_until.valid_until


def test_a_lease_that_another_thread_drops_while_its_renewal_is_made_is_not_renewed() -> None:
    """→ the loop had slept longer than the lease and dropped it: the keeper's thread died of that."""
    setup = Setup()
    keeper = setup.hold()
    landed = dict(setup.link.landed_at)

    def drop_first() -> str:
        keeper.drop("slept longer than the lease")
        return "a token that must not leave"

    keeper._desk.fresh_token = drop_first
    setup.clock.time += PROFILES["balanced"].beat_s
    keeper.round()

    assert keeper.mine() is None
    assert not keeper.unsettled()
    assert setup.link.landed_at == landed


def test_an_answer_that_comes_after_the_lease_was_dropped_does_not_bring_it_back() -> None:
    """N7: what a long sleep made this life give up stays given up."""
    setup = Setup()
    keeper = setup.hold()
    write = setup.link.write

    def slow(item: LeaseItem, *, only_if: Absent | Version) -> WriteOutcome:
        outcome = write(item, only_if=only_if)
        keeper.drop("slept longer than the lease")
        return outcome

    setup.link.write = slow  # type: ignore[method-assign]
    setup.clock.time += PROFILES["balanced"].beat_s
    keeper.round()

    assert setup.link.landed_at, "it did land"
    assert keeper.mine() is None
    assert not keeper.unsettled()
    assert not keeper.alone()
