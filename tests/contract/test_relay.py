"""The way round, over certificates and a real API: db1 reaches nothing of AWS, db2 carries (P4, R1)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from failover_agent.adapters.app import App
from failover_agent.adapters.clock import SystemClock
from failover_agent.adapters.dynamodb import DynamoLeaseStore
from failover_agent.adapters.peers import HttpPeers, client_context
from failover_agent.adapters.routes import Ec2RouteTables
from failover_agent.adapters.server import Doors
from failover_agent.adapters.systemd import looks
from failover_agent.core.model import (
    Absent,
    Holder,
    Landed,
    LeaseItem,
    Member,
    NodeReport,
    Refused,
    Server,
    ServerState,
    Unknown,
    Version,
    WriteOutcome,
)
from failover_agent.core.promises import Promise
from failover_agent.core.relay import RouteChange
from failover_agent.core.snapshot import Mine
from failover_agent.shell.journal import Journal
from failover_agent.shell.relay import Relay, RelayedRoutes, RelayedStore
from failover_agent.shell.threads import Threads
from tests.support.certificates import Authority
from tests.support.seals import SealsNothing

from .moto_server import TABLE, MotoServer, client, dynamodb_client

VIP = "172.16.52.1"
NOBODY = "http://127.0.0.1:9"
ADDRESSES = {"db1": "127.0.0.1", "db2": "127.0.0.2", "db3": "127.0.0.3"}
MEMBERS = tuple(Member(name, address, "a", f"i-{name}") for name, address in ADDRESSES.items())
ITEM = LeaseItem(
    "primacy", "7", Holder("db1", "i-db1", "n"), 4, "t1", 6.0, 1, 0, may_claim=("db1", "db2", "db3")
)


@dataclass
class Carrier(SealsNothing):
    """The agent of db2, as far as others go through it."""

    relay: Relay
    now: NodeReport
    promised: Promise | None = None

    def report(self) -> NodeReport:
        return self.now

    def promise(self, asked: Promise) -> str:
        self.promised = asked
        return ""

    def relay_write(self, asker: str, item: LeaseItem, only_if: Version) -> WriteOutcome:
        return self.relay.write(asker, item, only_if)

    def relay_targets(self, vip: str) -> Any:
        return self.relay.targets(vip)

    def relay_point(self, asker: str, change: RouteChange) -> Unknown | None:
        return self.relay.point(asker, change)

    def _no_question(self, *_: object) -> Any:
        raise AssertionError("no question of these tests")

    cluster = wake = grant_rejoin = request_switchover = request_failover = _no_question
    may_archive = may_restore = unfence = confirm_fenced = request_mode = request_pause = _no_question


@dataclass
class Way:
    """db1's cut off ports, db2's good ones, and what is needed to ask in another's name."""

    store: RelayedStore
    routes: RelayedRoutes
    good: DynamoLeaseStore
    carrier: Carrier
    table_id: str
    interfaces: tuple[str, str]
    peers_of: dict[str, HttpPeers]


@pytest.fixture(scope="module")
def server() -> Iterator[MotoServer]:
    with MotoServer() as running:
        yield running


def route_table(ec2: Any) -> tuple[str, tuple[str, str]]:
    vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
    subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.0.1.0/24")["Subnet"]["SubnetId"]
    table = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
    image = "ami-0d1ab0debaa000013"
    made = ec2.run_instances(ImageId=image, MinCount=2, MaxCount=2, SubnetId=subnet)["Instances"]
    first, second = (instance["NetworkInterfaces"][0]["NetworkInterfaceId"] for instance in made)
    return table, (first, second)


@pytest.fixture
def way(server: MotoServer, tmp_path: Path) -> Iterator[Way]:
    server.empty()
    clock, journal, authority = SystemClock(), Journal(SystemClock().wall), Authority(tmp_path / "tls")
    ec2 = client("ec2", server.url)
    table_id, interfaces = route_table(ec2)
    good = DynamoLeaseStore(dynamodb_client(server.url), table=TABLE, cluster="primacy", request_timeout_s=30)
    cut = DynamoLeaseStore(dynamodb_client(NOBODY, 1), table=TABLE, cluster="primacy", request_timeout_s=1)
    good_routes = Ec2RouteTables(lambda: ec2, table_ids=[table_id], request_timeout_s=30)
    cut_routes = Ec2RouteTables(
        lambda: client("ec2", NOBODY, 1), table_ids=[table_id], request_timeout_s=0.25
    )
    report = NodeReport("db2", "a", "i-db2", Server(ServerState.STANDBY), 4, False, reaches_ec2=True)
    carrier = Carrier(Relay(good, good_routes, frozenset({VIP}), clock), report)
    with ExitStack() as stack:
        doors = Doors(App(carrier, ADDRESSES))
        cert, key = authority.certificate("db2", ADDRESSES["db2"])
        doors.open_https(ADDRESSES["db2"], 0, ca=authority.ca, cert=cert, key=key)
        stack.callback(doors.close)
        peers_of = {}
        for name in ("db1", "db3"):
            peers = HttpPeers(
                name,
                (MEMBERS[1],),
                port=doors.https_port(),
                context=client_context(authority.ca, *authority.certificate(name, ADDRESSES[name])),
                clock=clock,
                ask_s=0.2,
                request_timeout_s=30,
            )
            peers.start()
            stack.callback(peers.stop)
            peers_of[name] = peers
        mine = Mine(ITEM, clock.now() + 600, was_primary=True)
        assert any(not isinstance(peers_of["db1"].reports()["db2"], Unknown) for _ in looks(20, 0.1))
        yield Way(
            RelayedStore(cut, peers_of["db1"], Threads(), journal),
            RelayedRoutes(cut_routes, peers_of["db1"], clock, lambda: mine, journal),
            good,
            carrier,
            table_id,
            interfaces,
            peers_of,
        )


def test_a_renewal_lands_through_a_peer_as_it_was_sent(way: Way) -> None:
    way.good.write(ITEM, only_if=Absent())
    renewal = ITEM.but(token="t2", lsn=2**63 + 5)

    assert way.store.write(renewal, only_if=Version(4, "t1")) == Landed()
    assert way.good.read() == renewal
    assert way.store.through == "db2"


def test_a_refusal_comes_back_with_what_stands(way: Way) -> None:
    stands = ITEM.but(epoch=5, token="of another", holder=Holder("db3", "i-db3", "n"))
    way.good.write(stands, only_if=Absent())

    assert way.store.write(ITEM.but(token="t2"), only_if=Version(4, "t1")) == Refused(stands)


def test_a_claim_goes_by_no_other_way(way: Way) -> None:
    way.good.write(ITEM, only_if=Absent())
    claim = ITEM.but(epoch=5, token="t9")

    assert isinstance(way.store.write(claim, only_if=Version(4, "t1")), Unknown)
    assert isinstance(way.peers_of["db1"].relay_write("db2", claim, Version(4, "t1")), Unknown)
    assert way.good.read() == ITEM


def test_nobody_writes_in_anothers_name(way: Way) -> None:
    """db3 has a good certificate of this cluster, and it is not the holder's."""
    way.good.write(ITEM, only_if=Absent())

    answer = way.peers_of["db3"].relay_write("db2", ITEM.but(token="t2"), Version(4, "t1"))

    assert isinstance(answer, Unknown)
    assert way.good.read() == ITEM


def test_nobody_asks_for_a_promise_in_anothers_name(way: Way) -> None:
    promise = Promise("primacy", 4, Holder("db1", "i-db1", "n"), 0, 6.0)

    assert isinstance(way.peers_of["db3"].ask_promise("db2", promise), Unknown)
    assert way.carrier.promised is None
    assert way.peers_of["db1"].ask_promise("db2", promise) == ""
    assert way.carrier.promised == promise


def test_an_item_that_the_carrier_cannot_read_is_no_silence(way: Way) -> None:
    """P3: the condition was refused, so nothing may carry the holder on."""
    way.good.write(ITEM.but(token="t8", schema_version=99), only_if=Absent())

    answer = way.store.write(ITEM.but(token="t2"), only_if=Version(4, "t1"))

    assert isinstance(answer, Unknown)
    assert answer.cause is not None
    assert type(answer.cause).__name__ == "LeaseUnreadable"


def test_a_route_is_moved_and_seen_through_a_peer(way: Way) -> None:
    way.good.write(ITEM, only_if=Absent())
    first, second = way.interfaces

    assert way.routes.point(way.table_id, VIP, first) is None
    assert way.routes.targets(VIP) == {way.table_id: first}
    assert way.routes.point(way.table_id, VIP, second) is None
    assert way.routes.targets(VIP) == {way.table_id: second}


def test_a_route_stays_for_who_does_not_hold_the_lease_any_more(way: Way) -> None:
    moved_on = replace(ITEM, epoch=5, holder=Holder("db3", "i-db3", "n"), token="t9")
    way.good.write(moved_on, only_if=Absent())

    assert isinstance(way.routes.point(way.table_id, VIP, way.interfaces[0]), Unknown)
    assert way.routes.targets(VIP) == {way.table_id: ""}
