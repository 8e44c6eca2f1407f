"""What every Peers promises, between three members: db1 asks, db2 and db3 answer."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from failover_agent.adapters.app import App
from failover_agent.adapters.clock import SystemClock
from failover_agent.adapters.peers import SWITCHOVER_TIMEOUT_S, HttpPeers, client_context
from failover_agent.adapters.server import Doors
from failover_agent.core.model import (
    Fork,
    Heard,
    Holder,
    Landed,
    LeaseItem,
    Member,
    Mode,
    NodeReport,
    Refused,
    Server,
    ServerState,
    SyncProgress,
    SyncSet,
    Unknown,
    Version,
    WriteOutcome,
)
from failover_agent.core.promises import Promise
from failover_agent.core.relay import RouteChange
from failover_agent.errors import PeerRefused
from failover_agent.ports import Clock, Peers
from tests.support.certificates import Authority
from tests.support.machine import HandClock
from tests.support.seals import SealsNothing
from tests.support.ways import NodePeers

ME = "db1"
ADDRESSES = {"db1": "127.0.0.1", "db2": "127.0.0.2", "db3": "127.0.0.3"}
MEMBERS = {name: Member(name, address, f"az-{name}", f"i-{name}") for name, address in ADDRESSES.items()}
REQUEST_S = 6.0  # generous: what is asserted is what comes, not how fast
STREAMING = Server(
    ServerState.STANDBY,
    system_identifier="7312345678901234567",
    timeline=3,
    received_lsn=2**63 + 5,
    replayed_lsn=2**63,
    streaming=True,
    upstream="db1",
    history=(Fork(1, 50), Fork(2, 2**62)),
    replicas=("db3",),
)


@dataclass
class StubAgent(SealsNothing):
    """The agent of one member: says what it is told to, keeps what it was asked."""

    now: NodeReport
    grants: bool = True
    carried: dict[str, WriteOutcome] = field(default_factory=dict)
    outcome: dict[str, object] = field(default_factory=lambda: {"ok": True, "target": "db3"})
    asked: list[tuple[str, str]] = field(default_factory=list)
    woken: threading.Event = field(default_factory=threading.Event)

    def report(self) -> NodeReport:
        return self.now

    def cluster(self) -> dict[str, object]:
        raise AssertionError("no question of these tests")

    def wake(self) -> None:
        self.woken.set()

    def unfence(self, name: str) -> dict[str, object]:
        raise NotImplementedError

    def confirm_fenced(self, name: str) -> dict[str, object]:
        raise NotImplementedError

    def may_archive(self, name: str) -> dict[str, object]:  # noqa: ARG002  # as the port has it
        raise AssertionError("no question of these tests")

    def may_restore(self, name: str, segment_bytes: int) -> dict[str, object]:  # noqa: ARG002  # likewise
        raise AssertionError("no question of these tests")

    def promise(self, asked: Promise) -> str:
        self.asked.append(("promise", asked.holder.name))
        return "" if self.grants else "it is sealed"

    def relay_write(self, asker: str, item: LeaseItem, only_if: Version) -> WriteOutcome:
        if asker != item.last_holder:
            raise PeerRefused("not carried", hint="It is a test.")
        return self.carried.get(only_if.token, Unknown("the store is away here, too"))

    def relay_targets(self, vip: str) -> Mapping[str, str] | Unknown:
        return {"rtb-1": vip} if self.grants else Unknown("no answer of EC2")

    def relay_point(self, asker: str, change: RouteChange) -> Unknown | None:
        if not self.grants:
            raise PeerRefused(f"the route stays: {asker}", hint="It is a test.")
        return None if change.within_s > 1 else Unknown("no answer of EC2")

    def grant_rejoin(self, name: str) -> bool:
        self.asked.append(("rejoin", name))
        return self.grants

    def request_mode(self, mode: Mode) -> dict[str, object]:
        self.asked.append(("mode", mode))
        return self.outcome

    def request_pause(self, pause: bool) -> dict[str, object]:
        self.asked.append(("pause", str(pause)))
        return self.outcome

    def request_failover(self, to: str, accept_loss: bool) -> dict[str, object]:
        return {"ok": True, "target": to, "done": accept_loss}

    def request_switchover(self, to: str) -> dict[str, object]:
        self.asked.append(("switchover", to))
        return self.outcome


@dataclass
class Ring:
    """The three members; `silence` makes one unreachable for good."""

    peers: Peers
    agents: dict[str, StubAgent]
    clock: Clock
    silence: Callable[[str], None]


def stub_agents() -> dict[str, StubAgent]:
    return {
        name: StubAgent(NodeReport(name, member.az, member.instance_id, STREAMING, 7, holds_lease=False))
        for name, member in MEMBERS.items()
    }


@dataclass
class SmallWorld:
    """As much of a world as NodePeers asks for."""

    nodes: dict[str, Any]
    clock: HandClock
    silent: set[str] = field(default_factory=set)

    def can_talk(self, one: str, other: str) -> bool:
        return not {one, other} & self.silent


@dataclass
class StubNode:
    agent: StubAgent


def in_memory() -> Ring:
    agents = stub_agents()
    world = SmallWorld({name: StubNode(agent) for name, agent in agents.items()}, HandClock())
    peers = NodePeers(world, ME)  # type: ignore[arg-type]  # of a world it needs only these three parts
    return Ring(peers, agents, world.clock, world.silent.add)


def over_https(place: Path) -> Iterator[Ring]:
    authority, agents, clock = Authority(place), stub_agents(), SystemClock()
    doors: dict[str, Doors] = {}
    with ExitStack() as stack:
        port = 0
        for name in ("db2", "db3"):
            cert, key = authority.certificate(name, ADDRESSES[name])
            doors[name] = Doors(App(agents[name], MEMBERS))
            doors[name].open_https(ADDRESSES[name], port, ca=authority.ca, cert=cert, key=key)
            stack.callback(doors[name].close)
            port = doors[name].https_port()
        peers = HttpPeers(
            ME,
            tuple(member for name, member in MEMBERS.items() if name != ME),
            port=port,
            context=client_context(authority.ca, *authority.certificate(ME, ADDRESSES[ME])),
            clock=clock,
            ask_s=0.05,
            request_timeout_s=REQUEST_S,
        )
        peers.start()
        stack.callback(peers.stop)
        yield Ring(peers, agents, clock, lambda name: doors[name].close())


@pytest.fixture(params=["memory", "https"])
def ring(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Ring]:
    if request.param == "memory":
        yield in_memory()
    else:
        yield from over_https(tmp_path / "tls")


def soon(fact: Callable[[], bool]) -> bool:
    """Whether it comes true: what a member said may be on its way."""
    clock = SystemClock()
    until = clock.now() + 60
    while not (true := fact()) and clock.now() < until:
        clock.wait(threading.Event(), 0.02)
    return true


UNKNOWN_SERVER = Unknown("it does not answer")
REPORTS = {
    "a standby": {},
    "a primary that serves": {
        "server": replace(STREAMING, state=ServerState.PRIMARY, upstream="", streaming=False),
        "holds_lease": True,
        "serving": True,
        "epoch": 8,
    },
    "a silent PostgreSQL": {"server": UNKNOWN_SERVER},
    "a stopped one": {"server": Server(ServerState.STOPPED, "7", 2, 99, clean=True, standby_signal=True)},
    "a busy one": {"doing": "clone 42 %", "nofailover": True, "priority": 3, "reads_store": False},
    "a holder's whose commits hang": {"sync": SyncProgress(False, "db3 to flush", ("db3",))},
    "a reader's": {"reaches_ec2": True, "reads_open": True, "version": "1.2.3", "interface_id": "eni-2"},
}


@pytest.mark.parametrize("case", REPORTS)
def test_a_report_arrives_as_it_was_given(ring: Ring, case: str) -> None:
    given = replace(ring.agents["db2"].now, **REPORTS[case])  # type: ignore[arg-type]
    ring.agents["db2"].now = given

    answer = ring.peers.ask("db2")

    assert isinstance(answer, Heard), answer
    assert answer.report == given


def test_an_answer_is_newer_than_the_question(ring: Ring) -> None:
    before = ring.clock.now()
    ring.peers.ask("db2")
    ring.agents["db2"].now = replace(ring.agents["db2"].now, epoch=9)

    answer = ring.peers.ask("db2")

    assert isinstance(answer, Heard), answer
    assert answer.report.epoch == 9
    assert before <= answer.at <= ring.clock.now()


def test_reports_name_every_other_member_and_never_us(ring: Ring) -> None:
    def told() -> dict[str, str]:
        heard = ring.peers.reports()
        return {name: said.report.name for name, said in heard.items() if isinstance(said, Heard)}

    assert set(ring.peers.reports()) == {"db2", "db3"}
    assert soon(lambda: told() == {"db2": "db2", "db3": "db3"})


def test_a_silent_member_becomes_unknown_and_says_nothing_for_the_others(ring: Ring) -> None:
    assert soon(lambda: isinstance(ring.peers.reports()["db2"], Heard))

    ring.silence("db2")

    assert isinstance(ring.peers.ask("db2"), Unknown)
    # What it said last may count for a moment, and then no longer.
    assert soon(lambda: isinstance(ring.peers.reports()["db2"], Unknown))
    assert soon(lambda: isinstance(ring.peers.reports()["db3"], Heard))


def test_who_is_no_member_is_unknown(ring: Ring) -> None:
    assert isinstance(ring.peers.ask("db9"), Unknown)
    assert isinstance(ring.peers.ask_rejoin("db9"), Unknown)
    assert isinstance(ring.peers.order_switchover("db9", "db2"), Unknown)
    ring.peers.wake("db9")


@pytest.mark.parametrize("granted", [True, False])
def test_the_slot_is_asked_for_in_our_own_name_and_no_is_not_silence(ring: Ring, granted: bool) -> None:
    ring.agents["db2"].grants = granted

    assert ring.peers.ask_rejoin("db2") is granted
    assert ring.agents["db2"].asked == [("rejoin", ME)]

    ring.silence("db2")
    assert isinstance(ring.peers.ask_rejoin("db2"), Unknown)


@pytest.mark.parametrize(
    "outcome", [{"ok": True, "target": "db3"}, {"ok": False, "why": "no", "hint": "wait"}]
)
def test_an_order_is_passed_on_once_and_its_answer_comes_back(ring: Ring, outcome: dict[str, object]) -> None:
    ring.agents["db2"].outcome = outcome

    assert ring.peers.order_switchover("db2", "db3") == outcome
    assert ring.agents["db2"].asked == [("switchover", "db3")]
    assert ring.agents["db3"].asked == []

    ring.silence("db2")
    assert isinstance(ring.peers.order_switchover("db2", "db3"), Unknown)
    assert len(ring.agents["db2"].asked) == 1


def test_an_order_to_a_member_that_takes_no_connection_is_answered_soon(tmp_path: Path) -> None:
    """A member without power: the kernel here takes the connection in its place, and nobody speaks TLS."""
    authority, clock = Authority(tmp_path), SystemClock()
    with socket.create_server((ADDRESSES["db2"], 0)) as deaf:
        peers = HttpPeers(
            ME,
            (MEMBERS["db2"],),
            port=deaf.getsockname()[1],
            context=client_context(authority.ca, *authority.certificate(ME, ADDRESSES[ME])),
            clock=clock,
            ask_s=0.05,
            request_timeout_s=REQUEST_S,
        )
        began = clock.now()
        assert isinstance(peers.order_switchover("db2", "db3"), Unknown)
        assert clock.now() - began < SWITCHOVER_TIMEOUT_S / 2


def test_an_order_to_switch_the_mode_is_passed_on_and_its_answer_comes_back(ring: Ring) -> None:
    ring.agents["db2"].outcome = {"ok": True, "mode": "quorum", "changed": True}

    assert ring.peers.order_mode("db2", "quorum") == ring.agents["db2"].outcome
    assert ring.agents["db2"].asked == [("mode", "quorum")]
    ring.silence("db2")
    assert isinstance(ring.peers.order_mode("db2", "quorum"), Unknown)


@pytest.mark.parametrize("pause", [True, False])
def test_an_order_to_pause_or_resume_is_passed_on_and_its_answer_comes_back(ring: Ring, pause: bool) -> None:
    ring.agents["db2"].outcome = {"ok": True, "paused": pause, "changed": True}

    assert ring.peers.order_pause("db2", pause) == ring.agents["db2"].outcome
    assert ring.agents["db2"].asked == [("pause", str(pause))]
    ring.silence("db2")
    assert isinstance(ring.peers.order_pause("db2", pause), Unknown)


HOLDER = Holder(ME, f"i-{ME}", "nonce")
ITEM = LeaseItem(
    "primacy", "7", HOLDER, 7, "t1", 6.5, 3, 2**63 + 5, SyncSet(("db2",), 1, 9, ("x",)), (ME, "db2")
)


@pytest.mark.parametrize("granted", [True, False])
def test_a_promise_is_a_yes_and_nothing_else_is(ring: Ring, granted: bool) -> None:
    ring.agents["db2"].grants = granted
    promise = Promise("primacy", 7, HOLDER, 9, 6.5)

    assert ring.peers.ask_promise("db2", promise) == ("" if granted else "it is sealed")
    assert ring.agents["db2"].asked == [("promise", ME)]

    ring.silence("db2")
    assert isinstance(ring.peers.ask_promise("db2", promise), Unknown)
    assert isinstance(ring.peers.ask_promise("db9", promise), Unknown)


@pytest.mark.parametrize("outcome", [Landed(), Refused(None), Refused(ITEM.but(epoch=8, token="t9"))])
def test_what_came_of_a_carried_write_comes_back_whole(ring: Ring, outcome: WriteOutcome) -> None:
    ring.agents["db2"].carried = {"t0": outcome}

    assert ring.peers.relay_write("db2", ITEM, Version(7, "t0")) == outcome


def test_a_write_that_was_not_carried_is_unknown(ring: Ring) -> None:
    of_another = ITEM.but(holder=Holder("db3", "i-db3", "n"))

    assert isinstance(ring.peers.relay_write("db2", ITEM, Version(7, "t0")), Unknown)
    assert isinstance(ring.peers.relay_write("db2", of_another, Version(7, "t0")), Unknown)
    ring.silence("db2")
    assert isinstance(ring.peers.relay_write("db2", ITEM, Version(7, "t0")), Unknown)


@pytest.mark.parametrize("granted", [True, False])
def test_routes_are_seen_and_changed_through_a_peer_or_unknown(ring: Ring, granted: bool) -> None:
    ring.agents["db2"].grants = granted
    change = RouteChange("rtb-1", "172.16.52.1", "eni-1", 7, within_s=3.0)

    shown, done = ring.peers.relay_targets("db2", change.vip), ring.peers.relay_point("db2", change)

    assert isinstance(shown, Unknown) if not granted else shown == {"rtb-1": change.vip}
    assert isinstance(done, Unknown) if not granted else done is None
    assert isinstance(ring.peers.relay_point("db2", replace(change, within_s=0.5)), Unknown)


def test_a_wake_arrives_and_one_that_cannot_disturbs_nobody(ring: Ring) -> None:
    ring.peers.wake("db2")
    assert soon(ring.agents["db2"].woken.is_set)
    assert not ring.agents["db3"].woken.is_set()

    ring.silence("db3")
    ring.peers.wake("db3")
    ring.peers.publish(ring.agents[ME].now)
    assert not ring.agents["db3"].woken.is_set()
