"""What every LeaseStore promises, over each implementation (PROTOCOL L1 to L4)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from failover_agent.adapters.clock import SystemClock
from failover_agent.adapters.dynamodb import DynamoLeaseStore
from failover_agent.core.model import (
    Absent,
    Holder,
    Landed,
    LeaseItem,
    Refused,
    SyncSet,
    Unknown,
    Version,
)
from failover_agent.ports import LeaseStore
from tests.support.memory import MemoryLeaseStore

from .moto_server import TABLE, MotoServer, dynamodb_client

ME = Holder("db1", "i-1", "nonce-1")
SOCKET_S = 60.0
FULL = LeaseItem(
    cluster="primacy",
    system_identifier="7312345678901234567",
    holder=ME,
    epoch=7,
    token="t1",
    ttl_s=6.5,
    timeline=3,
    lsn=2**63 + 5,
    sync=SyncSet(("db2", "db3"), 1, 9),
    may_claim=("db1", "db2", "db3"),
    claim_needs="majority",
    offered_to="db2",
    mode="quorum",
    released_by="db2",
    unfenced=(Holder("db3", "i-3", "nonce-3"), Holder("db4", "i-4", "nonce-4")),
    paused="2026-11-29T14:52:29Z",
    suspect_after_s=2.5,
)


@pytest.fixture(scope="module")
def server() -> Iterator[MotoServer]:
    with MotoServer() as running:
        yield running


@pytest.fixture(params=["memory", "dynamodb"])
def store(request: pytest.FixtureRequest) -> LeaseStore:
    if request.param == "memory":
        return MemoryLeaseStore()
    server: MotoServer = request.getfixturevalue("server")
    server.empty()
    return DynamoLeaseStore(dynamodb_client(server.url), table=TABLE, cluster="primacy", request_timeout_s=30)


def test_no_item_is_none_and_not_unknown(store: LeaseStore) -> None:
    assert store.read() is None


def test_what_was_written_is_read_back_in_every_field(store: LeaseStore) -> None:
    released = FULL.but(holder=None, sync=SyncSet(), may_claim=(), offered_to="", token="t2", paused="")

    assert store.write(FULL, only_if=Absent()) == Landed()
    assert store.read() == FULL
    assert store.write(released, only_if=Version(7, "t1")) == Landed()
    assert store.read() == released


def test_the_first_item_is_written_once(store: LeaseStore) -> None:
    assert store.write(FULL, only_if=Absent()) == Landed()
    assert store.write(FULL.but(token="t2"), only_if=Absent()) == Refused(FULL)
    assert store.read() == FULL


@pytest.mark.parametrize("stale", [Version(7, "t0"), Version(6, "t1"), Version(8, "t1")])
def test_a_write_that_names_another_epoch_or_token_is_refused_and_shown_what_stands(
    store: LeaseStore, stale: Version
) -> None:
    store.write(FULL, only_if=Absent())

    assert store.write(FULL.but(epoch=8, token="t9"), only_if=stale) == Refused(FULL)
    assert store.read() == FULL


def test_a_versioned_write_to_nothing_is_refused_with_nothing(store: LeaseStore) -> None:
    assert store.write(FULL, only_if=Version(7, "t1")) == Refused(None)
    assert store.read() is None


def test_the_retry_of_a_write_that_landed_is_refused_and_shows_our_own_token(store: LeaseStore) -> None:
    """L3: how a holder learns that an ambiguous write had landed."""
    store.write(FULL, only_if=Absent())
    renewal = FULL.but(token="t2")
    assert store.write(renewal, only_if=Version(7, "t1")) == Landed()

    assert store.write(renewal, only_if=Version(7, "t1")) == Refused(renewal)


@pytest.mark.parametrize("round_", range(20))
def test_of_eight_racing_claims_exactly_one_lands(store: LeaseStore, round_: int) -> None:
    store.write(FULL, only_if=Absent())
    start = threading.Barrier(8)

    def claim(number: int) -> object:
        mine = FULL.but(epoch=8, token=f"claim-{number}", holder=Holder(f"db{number}", "i", "n"))
        start.wait()
        return store.write(mine, only_if=Version(7, "t1"))

    with ThreadPoolExecutor(8) as pool:
        outcomes = list(pool.map(claim, range(8)))

    winner = store.read()
    assert [o for o in outcomes if o == Landed()] == [Landed()]
    assert isinstance(winner, LeaseItem)
    assert outcomes[int(winner.token.removeprefix("claim-"))] == Landed()
    assert all(o == Refused(winner) for o in outcomes if o != Landed())


def test_notes_stand_beside_the_lease_and_the_last_writer_wins(store: LeaseStore) -> None:
    store.write(FULL, only_if=Absent())
    assert store.note("member#db1", {"address": "10.0.11.10", "empty": ""}) is None
    store.note("member#db2", {"address": "10.0.12.10"})
    store.note("history#7", {"lsn": "1"})
    store.note("member#db1", {"address": "10.0.11.99"})

    assert store.notes("member#") == {
        "member#db1": {"address": "10.0.11.99"},
        "member#db2": {"address": "10.0.12.10"},
    }
    everything = store.notes("")
    assert not isinstance(everything, Unknown)
    assert set(everything) == {"member#db1", "member#db2", "history#7"}
    assert store.read() == FULL


def test_clusters_share_a_table_without_seeing_each_other(server: MotoServer) -> None:
    server.empty()
    ours, theirs = (
        DynamoLeaseStore(dynamodb_client(server.url), table=TABLE, cluster=name, request_timeout_s=30)
        for name in ("primacy", "other")
    )

    ours.write(FULL, only_if=Absent())
    ours.note("member#db1", {})

    assert theirs.read() is None
    assert theirs.notes("") == {}


def every_call(store: LeaseStore) -> list[Callable[[], object]]:
    return [
        store.read,
        lambda: store.write(FULL, only_if=Absent()),
        lambda: store.note("member#db1", {}),
        lambda: store.notes("member#"),
    ]


def test_a_store_that_is_silent_is_unknown_and_never_none() -> None:
    store = MemoryLeaseStore()
    store.silence("cut off")

    assert [call() for call in every_call(store)] == [Unknown("cut off")] * 4


@pytest.mark.parametrize("way", ["silent", "refusing", "no such name"])
def test_an_unreachable_endpoint_is_unknown_within_the_request_timeout(way: str) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as deaf:
        port = deaf.getsockname()[1]
        if way == "refusing":
            deaf.close()
        url = "http://dynamodb.invalid:1" if way == "no such name" else f"http://127.0.0.1:{port}"
        store = DynamoLeaseStore(
            dynamodb_client(url, SOCKET_S), table=TABLE, cluster="primacy", request_timeout_s=0.3
        )
        for call in every_call(store):
            begun = SystemClock().now()
            assert isinstance(call(), Unknown)
            assert SystemClock().now() - begun < SOCKET_S / 2, "the request's bound ends it, not the socket's"


def test_a_table_that_does_not_exist_is_unknown_and_named(server: MotoServer) -> None:
    store = DynamoLeaseStore(
        dynamodb_client(server.url), table="nowhere", cluster="primacy", request_timeout_s=30
    )

    for call in every_call(store):
        answer = call()
        assert isinstance(answer, Unknown)
        assert "nowhere" in answer.why


def test_an_older_agents_item_says_nothing_of_what_came_after_it(server: MotoServer) -> None:
    server.empty()
    client = dynamodb_client(server.url)
    store = DynamoLeaseStore(client, table=TABLE, cluster="primacy", request_timeout_s=30)
    store.write(FULL, only_if=Absent())
    item = client.get_item(TableName=TABLE, Key={"cluster": {"S": "primacy"}, "item": {"S": "lease"}})["Item"]
    older = {name: value for name, value in item.items() if name not in ("paused", "suspect_after_s")}
    client.put_item(TableName=TABLE, Item=older)

    assert store.read() == FULL.but(paused="", suspect_after_s=0.0)


@pytest.mark.parametrize(
    "spoil",
    [
        {"schema_version": {"N": "99"}},
        {"schema_version": {"S": "one"}},
        {"epoch": {"S": "7"}},
        {"token": {"N": "1"}},
        {"claim_needs": {"S": "luck"}},
        {"mode": {"S": "hope"}},
        {"suspect_after_s": {"S": "long"}},
    ],
    ids=str,
)
def test_an_item_we_cannot_read_is_unknown_for_reads_and_refused_writes(
    server: MotoServer, spoil: dict[str, dict[str, str]]
) -> None:
    """Never None, which would be an empty store, and never a lease that looks free."""
    server.empty()
    client = dynamodb_client(server.url)
    store = DynamoLeaseStore(client, table=TABLE, cluster="primacy", request_timeout_s=30)
    store.write(FULL, only_if=Absent())
    item = client.get_item(TableName=TABLE, Key={"cluster": {"S": "primacy"}, "item": {"S": "lease"}})["Item"]
    client.put_item(TableName=TABLE, Item={**item, **spoil})

    assert isinstance(store.read(), Unknown)
    assert isinstance(store.write(FULL, only_if=Absent()), Unknown)
