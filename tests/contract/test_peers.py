"""What every Peers promises, between three members: db1 asks, db2 and db3 answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from failover_agent.adapters.app import App
from failover_agent.adapters.clock import SystemClock
from failover_agent.adapters.peers import HttpPeers, client_context
from failover_agent.adapters.server import Doors
from failover_agent.core.model import Fork, Heard, Member, NodeReport, Server, ServerState, Unknown
from failover_agent.ports import Clock, Peers
from tests.support.certificates import Authority
from tests.support.machine import HandClock, NodePeers
from tests.support.seals import SealsNothing

ME = "db1"
ADDRESSES = {"db1": "127.0.0.1", "db2": "127.0.0.2", "db3": "127.0.0.3"}
MEMBERS = {name: Member(name, address, f"az-{name}", f"i-{name}") for name, address in ADDRESSES.items()}
REQUEST_S = 2.0  # generous: what is asserted is what comes, not how fast
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
    outcome: dict[str, object] = field(default_factory=lambda: {"ok": True, "target": "db3"})
    asked: list[tuple[str, str]] = field(default_factory=list)
    woken: threading.Event = field(default_factory=threading.Event)

    def report(self) -> NodeReport:
        return self.now

    def cluster(self) -> dict[str, object]:
        raise AssertionError("no question of these tests")

    def wake(self) -> None:
        self.woken.set()

    def may_archive(self, name: str) -> dict[str, object]:  # noqa: ARG002  # as the port has it
        raise AssertionError("no question of these tests")

    def may_restore(self, name: str, segment_bytes: int) -> dict[str, object]:  # noqa: ARG002  # likewise
        raise AssertionError("no question of these tests")

    def grant_rejoin(self, name: str) -> bool:
        self.asked.append(("rejoin", name))
        return self.grants

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
            poll_s=0.05,
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
    until = clock.now() + 20
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
    assert set(ring.peers.reports()) == {"db2", "db3"}
    assert soon(lambda: all(isinstance(heard, Heard) for heard in ring.peers.reports().values()))
    assert {name: heard.report.name for name, heard in ring.peers.reports().items()} == {  # type: ignore[union-attr]
        "db2": "db2",
        "db3": "db3",
    }


def test_a_silent_member_becomes_unknown_and_says_nothing_for_the_others(ring: Ring) -> None:
    assert soon(lambda: isinstance(ring.peers.reports()["db2"], Heard))

    ring.silence("db2")

    assert isinstance(ring.peers.ask("db2"), Unknown)
    # What it said last may count for a moment, and then no longer.
    assert soon(lambda: isinstance(ring.peers.reports()["db2"], Unknown))
    assert isinstance(ring.peers.reports()["db3"], Heard)


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


def test_a_wake_arrives_and_one_that_cannot_disturbs_nobody(ring: Ring) -> None:
    ring.peers.wake("db2")
    assert soon(ring.agents["db2"].woken.is_set)
    assert not ring.agents["db3"].woken.is_set()

    ring.silence("db3")
    ring.peers.wake("db3")
    ring.peers.publish(ring.agents[ME].now)
    assert not ring.agents["db3"].woken.is_set()
