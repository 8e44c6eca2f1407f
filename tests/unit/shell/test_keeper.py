# ruff: noqa: ARG002  # the arguments are the ports'
"""The arithmetic of the lease: whatever the network does, rights never overlap (L3, L4)."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.machine import HandClock, KernelGate, Pages
from tests.support.memory import MemoryLeaseStore

from failover_agent.core.model import (
    Absent,
    Holder,
    LeaseItem,
    LeaseSeen,
    Server,
    ServerState,
    Timings,
    Unknown,
    Version,
    WriteOutcome,
)
from failover_agent.core.suspicion import expires_at
from failover_agent.core.timings import CLOCK_RATE_ERROR, PROFILES
from failover_agent.errors import GateFailed
from failover_agent.shell.journal import Journal
from failover_agent.shell.keeper import Keeper
from failover_agent.shell.lease_memory import Identity

BALANCED = PROFILES["balanced"]


@dataclass
class Link:
    """A way to the store on which a request and its answer take time, or never arrive."""

    clock: HandClock
    store: MemoryLeaseStore = field(default_factory=MemoryLeaseStore)
    plan: list[tuple[float, float, str]] = field(default_factory=list)  # there, back, fate
    landed_at: dict[str, float] = field(default_factory=dict)  # token → when the store first took it
    zombies: list[tuple[float, LeaseItem, Absent | Version]] = field(default_factory=list)

    def read(self) -> LeaseItem | Unknown | None:
        return self.store.read()

    def write(self, item: LeaseItem, *, only_if: Absent | Version) -> WriteOutcome:
        there, back, fate = self.plan.pop(0) if self.plan else (0.01, 0.01, "answered")
        self.clock.time += there
        if fate == "lost":
            return Unknown("lost on the way")
        if fate == "late":  # arrives after the caller has given up on the answer
            self.zombies.append((self.clock.time + back, item, only_if))
            return Unknown("timed out")
        self.deliver_zombies()
        outcome = self._take(item, only_if)
        self.clock.time += back
        return Unknown("answer lost") if fate == "answer lost" else outcome

    def deliver_zombies(self) -> None:
        due = [z for z in self.zombies if z[0] <= self.clock.time]
        self.zombies = [z for z in self.zombies if z[0] > self.clock.time]
        for _, item, only_if in due:
            self._take(item, only_if)

    def _take(self, item: LeaseItem, only_if: Absent | Version) -> WriteOutcome:
        outcome = self.store.write(item, only_if=only_if)
        if self.store.read() == item:
            self.landed_at.setdefault(item.token, self.clock.time)
        return outcome

    def note(self, key: str, value: object) -> Unknown | None:
        return None

    def notes(self, prefix: str) -> dict[str, dict[str, str]] | Unknown:
        return {}


class Setup:
    def __init__(self, timings: Timings = BALANCED, life: int = 1, before: Setup | None = None) -> None:
        self.clock: HandClock = before.clock if before else HandClock()
        self.link: Link = before.link if before else Link(self.clock)
        self.gate: KernelGate = before.gate if before else KernelGate(self.clock)
        self.notes: Pages = before.notes if before else Pages()
        self.said: list[str] = []
        self.reasons: list[object] = []
        numbers = iter(range(1, 10_000))
        self.keeper = Keeper(
            Identity("c", Holder("db1", "i-1", f"life {life}"), "boot"),
            timings,
            store=self.link,
            gate=self.gate,
            clock=self.clock,
            notes=self.notes,
            fresh_token=lambda: f"{life}.{next(numbers)}",
            journal=Journal(self.clock.wall, self._hear),
            changed=lambda: None,
            kill=lambda: None,
        )

    def _hear(self, event: str, values: dict[str, object]) -> None:
        self.said.append(event)
        self.reasons.append(values.get("why"))

    def hold(self) -> Keeper:
        self.keeper.claim(None)
        self.keeper.was_primary()
        self.keeper.serve(1)
        assert self.keeper.mine() is not None
        return self.keeper

    def challenger_may_act_at(self) -> float:
        """The soonest a challenger, with the fastest allowed clock, may take the present token for missed."""
        item = self.link.store.read()
        assert isinstance(item, LeaseItem)
        landed = self.link.landed_at[item.token]
        seen = LeaseSeen(item, token_seen_at=landed, read_at=landed)
        return landed + (expires_at(seen) - landed) * (1 - CLOCK_RATE_ERROR)


trips = st.tuples(
    st.floats(0, 2, allow_nan=False),
    st.floats(0, 2, allow_nan=False),
    st.sampled_from(["answered", "answered", "lost", "answer lost", "late"]),
)


@settings(print_blob=True, deadline=None, max_examples=300)
@given(st.lists(trips, max_size=25), st.lists(st.floats(0, 8, allow_nan=False), min_size=5, max_size=40))
def test_the_holders_right_ends_before_any_challengers_begins(
    plan: list[tuple[float, float, str]], pauses: list[float]
) -> None:
    s = Setup()
    keeper = s.hold()
    s.link.plan = plan
    for pause in pauses:
        s.clock.time += pause
        s.link.deliver_zombies()
        keeper.round()
        mine = keeper.mine()
        if mine is not None:
            assert mine.valid_until < s.challenger_may_act_at()
        if s.gate.is_open():
            assert s.gate.openings[-1].end < s.challenger_may_act_at()


@settings(print_blob=True, deadline=None, max_examples=200)
@given(
    st.sampled_from(["fast", "balanced"]),
    st.lists(trips, max_size=10),
    st.lists(st.floats(0, 3, allow_nan=False), min_size=3, max_size=15),
)
def test_a_shorter_ttl_in_the_next_life_binds_before_the_store_may_show_it(
    profile: str, plan: list[tuple[float, float, str]], pauses: list[float]
) -> None:
    first = Setup(PROFILES["patient"])
    first.hold()
    s = Setup(PROFILES[profile], life=2, before=first)
    assert s.keeper.adopt()
    s.keeper.serve(1)
    s.link.plan = plan
    for pause in pauses:
        s.keeper.round()
        if (mine := s.keeper.mine()) is not None:
            assert mine.valid_until < s.challenger_may_act_at()
        if s.gate.is_open():
            assert s.gate.openings[-1].end < s.challenger_may_act_at()
        s.clock.time += pause
        s.link.deliver_zombies()


def test_a_life_with_a_margin_as_long_as_the_ttl_of_the_last_one_renews_and_counts_only_its_own() -> None:
    """As fast becomes patient: nothing is left of the old ttl to measure the first renewal by."""
    fast, patient = PROFILES["fast"], PROFILES["patient"]
    assert fast.ttl_s == patient.margin_s
    first = Setup(fast)
    first.hold().renew_now()
    first.keeper.leave(for_good=False)
    s = Setup(patient, life=2, before=first)
    assert s.keeper.adopt()

    s.keeper.round()
    assert s.keeper.renewals().count == 0
    assert s.keeper.holds(1)
    s.clock.time += patient.beat_s
    s.keeper.round()
    assert s.keeper.renewals().count == 1


def test_validity_counts_from_the_first_sending_not_from_the_retry() -> None:
    s = Setup()
    keeper = s.hold()
    s.clock.time += 1
    sent = s.clock.time
    s.link.plan = [(0.1, 0.1, "answer lost")]
    keeper.round()
    s.clock.time += 1
    keeper.round()

    mine = keeper.mine()
    assert mine is not None
    assert mine.valid_until == sent + BALANCED.ttl_s - BALANCED.margin_s


def test_a_retry_carries_the_same_token_and_a_renewal_a_fresh_one() -> None:
    s = Setup()
    keeper = s.hold()
    tokens = []
    for fate in ("lost", "lost", "answered", "answered"):
        s.clock.time += 1
        s.link.plan = [(0.01, 0.01, fate)]
        keeper.round()
        page = s.notes.pages["lease"]["pending"]
        assert isinstance(page, dict)
        tokens.append(page["token"])

    assert tokens[0] == tokens[1] == tokens[2] != tokens[3]


def test_the_note_stands_before_the_token_leaves() -> None:
    s = Setup()
    keeper = s.hold()
    write = s.link.write
    seen: list[bool] = []

    def watching(item: LeaseItem, *, only_if: Absent | Version) -> WriteOutcome:
        pending = s.notes.pages["lease"]["pending"]
        seen.append(isinstance(pending, dict) and pending["token"] == item.token)
        return write(item, only_if=only_if)

    s.link.write = watching  # type: ignore[method-assign]
    s.clock.time += 1
    keeper.round()

    assert seen == [True]


def test_a_refused_renewal_shuts_the_gate_at_once() -> None:
    s = Setup()
    keeper = s.hold()
    item = s.link.store.read()
    assert isinstance(item, LeaseItem)
    s.link.store.write(item.but(token="another"), only_if=Version(item.epoch, item.token))
    s.clock.time += 1
    keeper.round()

    assert keeper.mine() is None
    assert not s.gate.is_open()


def test_silence_extends_nothing_and_ends_the_lease() -> None:
    s = Setup()
    keeper = s.hold()
    s.link.store.silence("away")
    for _ in range(100):
        s.clock.time += 0.1
        keeper.round()

    assert keeper.mine() is None
    assert "lease-lost" in s.said
    assert not s.gate.is_open()


def test_a_keeper_that_slept_longer_than_the_ttl_drops_before_it_renews() -> None:
    s = Setup()
    keeper = s.hold()
    s.clock.time += BALANCED.ttl_s + 0.1
    keeper.round()

    assert keeper.mine() is None
    assert any("slept" in str(why) for why in s.reasons)


def test_a_gate_that_cannot_be_renewed_costs_the_lease() -> None:
    s = Setup()
    keeper = s.hold()

    def refuse(deadline: float) -> None:
        raise GateFailed("nft said no", hint="It is a test.")

    s.gate.open_until = refuse  # type: ignore[method-assign]
    for _ in range(100):
        s.clock.time += 0.1
        keeper.round()

    assert keeper.mine() is None


def test_the_gate_opens_only_for_the_epoch_it_was_asked_for_and_never_after_a_loss() -> None:
    s = Setup()
    s.keeper.claim(None)
    s.keeper.serve(2)
    assert not s.gate.is_open()
    s.keeper.serve(1)
    assert s.gate.is_open()
    s.keeper.drop("a test")
    s.keeper.serve(1)
    assert not s.gate.is_open()


def test_an_ambiguous_claim_is_settled_by_the_rounds() -> None:
    s = Setup()
    s.link.plan = [(0.01, 0.01, "answer lost")]
    s.keeper.claim(None)
    assert s.keeper.mine() is None
    assert s.keeper.claiming()

    s.clock.time += 0.2
    s.keeper.round()

    assert s.keeper.holds(1)


def test_a_release_settles_an_unsettled_renewal_first() -> None:
    s = Setup()
    keeper = s.hold()
    s.clock.time += 1
    s.link.plan = [(0.01, 0.01, "answer lost")]
    keeper.round()

    assert keeper.release("db2")

    item = s.link.store.read()
    assert isinstance(item, LeaseItem)
    assert (item.holder, item.offered_to, item.epoch) == (None, "db2", 1)
    assert not s.gate.is_open()


def test_the_next_life_retries_the_unsettled_write_and_then_brings_its_own_nonce() -> None:
    first = Setup()
    keeper = first.hold()
    first.clock.time += 1
    first.link.plan = [(0.01, 0.01, "answer lost")]
    keeper.round()

    second = Setup(life=2, before=first)
    assert second.keeper.adopt()
    second.keeper.know(Server(ServerState.PRIMARY, "s1", 1, 77))
    second.keeper.round()
    second.clock.time += 1.1
    second.keeper.round()

    item = second.link.store.read()
    assert isinstance(item, LeaseItem)
    assert item.holder == Holder("db1", "i-1", "life 2")
    assert (item.epoch, item.lsn) == (1, 77)
    mine = second.keeper.mine()
    assert mine is not None
    assert mine.was_primary


def test_a_gate_changed_by_a_stranger_is_put_back_and_open_again() -> None:
    s = Setup()
    keeper = s.hold()
    s.gate.intact = lambda: False  # type: ignore[method-assign]

    keeper.check_gate()

    assert "gate-disturbed" in s.said
    assert s.gate.is_open()
    assert len(s.gate.openings) == 2


def test_a_life_that_comes_late_goes_on_only_from_its_own_last_token() -> None:
    first = Setup()
    first.hold()
    first.clock.time += 60
    item = first.link.store.read()
    assert isinstance(item, LeaseItem)

    second = Setup(life=2, before=first).keeper
    assert second.adopt()
    mine = second.mine()
    assert mine is not None
    assert mine.was_primary

    stranger = item.but(token="of another process")
    now_there = first.link.store.read()
    assert isinstance(now_there, LeaseItem)
    first.link.store.write(stranger, only_if=Version(now_there.epoch, now_there.token))
    first.clock.time += 60
    assert not Setup(life=3, before=first).keeper.adopt()
    assert first.link.store.read() == stranger
