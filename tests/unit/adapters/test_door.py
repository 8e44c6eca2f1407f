"""The two doors and the peers behind them, over real sockets and real certificates."""

from __future__ import annotations

import dataclasses
import os
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.support.certificates import Authority
from tests.support.seals import CarriesNothing

from failover_agent.adapters.app import App
from failover_agent.adapters.clock import SystemClock
from failover_agent.adapters.control_client import Control, Refused
from failover_agent.adapters.peers import HttpPeers, client_context
from failover_agent.adapters.report_json import NotAReport, decode, encode
from failover_agent.adapters.seal_json import NotASeal, decode_seal
from failover_agent.adapters.seal_json import encode as encode_seal
from failover_agent.adapters.server import Doors
from failover_agent.core.model import Fork, Heard, Member, Mode, NodeReport, Server, ServerState, Unknown
from failover_agent.core.seals import Seal, Sealed
from failover_agent.errors import FenceRefused, PeerRefused
from failover_agent.shell.journal import Journal

REPORT = NodeReport(
    name="db1",
    az="eu-central-1a",
    instance_id="i-1",
    server=Server(
        ServerState.STANDBY, "7", 2, 100, 90, True, "db2", history=(Fork(1, 50),), replicas=("db3", "db4")
    ),
    epoch=3,
    holds_lease=False,
)


SEAL = Seal("primacy", 3, 7, "of db1", against="db2")


class FakeAgent(CarriesNothing):
    def __init__(self) -> None:
        self.woken = threading.Event()
        self.now = REPORT
        self.heard: list[tuple[str, int]] = []
        self.mistaken = False

    def report(self) -> NodeReport:
        return self.now

    def report_to(self, name: str, epoch: int) -> NodeReport:
        self.heard.append((name, epoch))
        return dataclasses.replace(self.now, noted=epoch)

    def cluster(self) -> dict[str, object]:
        assert not self.mistaken, "what cannot be"
        return {"cluster": "primacy"}

    def wake(self) -> None:
        self.woken.set()

    def grant_rejoin(self, name: str) -> bool:
        return name == "db2"

    def request_mode(self, mode: Mode) -> dict[str, object]:
        return {"ok": mode != "strict", "why": "no", "hint": "wait", "mode": mode}

    def request_pause(self, pause: bool) -> dict[str, object]:
        return {"ok": pause, "why": "nobody holds it", "hint": "wait", "paused": pause, "object": "the pause"}

    def request_failover(self, to: str, accept_loss: bool) -> dict[str, object]:
        return {"ok": True, "target": to, "done": accept_loss}

    def request_switchover(self, to: str) -> dict[str, object]:
        return {"ok": to == "db2", "why": "no", "hint": "try db2", "target": to}

    def vote(self, asked: Seal) -> str:
        return "" if asked == SEAL else "another seal"

    def seal(self, asked: Seal) -> Sealed:
        if asked != SEAL:
            raise PeerRefused("db1 does not seal: another seal", hint="It is a test.")
        return Sealed(self.now.name, asked, 2, 77)

    def unfence(self, name: str) -> dict[str, object]:
        return {"ok": True, "node": name, "instance": f"i-{name}"}

    def confirm_fenced(self, name: str) -> dict[str, object]:
        raise FenceRefused("nobody waits for it", hint=f"{name} is not fenced.")

    def may_archive(self, name: str) -> dict[str, object]:
        return {"may": name == "fine", "why": ""}

    def may_restore(self, name: str, segment_bytes: int) -> dict[str, object]:
        return {"may": segment_bytes == 1 << 24, "why": f"{name} is not yours"}


@dataclasses.dataclass
class Doorway:
    agent: FakeAgent
    port: int
    authority: Authority
    place: Path
    journal: list[tuple[str, dict[str, object]]]

    def context(self, name: str) -> ssl.SSLContext:
        cert, key = self.authority.certificate(name, "127.0.0.1")
        return client_context(self.authority.ca, cert, key)

    def peers(self, me: str = "db2") -> HttpPeers:
        others = (Member("db1", "127.0.0.1", "a", "i-1"), Member("db3", "127.0.0.1", "a", "i-3"))
        return HttpPeers(
            me,
            others,
            port=self.port,
            context=self.context(me),
            clock=SystemClock(),
            ask_s=0.05,
            request_timeout_s=30,
        )


@pytest.fixture
def doorway(tmp_path: Path) -> Iterator[Doorway]:
    authority = Authority(tmp_path)
    agent = FakeAgent()
    said: list[tuple[str, dict[str, object]]] = []
    journal = Journal(time.time, lambda event, values: said.append((event, values)))
    doors = Doors(App(agent, ["db1", "db2", "db3"], journal=journal))
    cert, key = authority.certificate("db1", "127.0.0.1")
    doors.open_https("127.0.0.1", 0, ca=authority.ca, cert=cert, key=key)
    doors.open_unix(tmp_path / "control.sock")
    yield Doorway(agent, doors.https_port(), authority, tmp_path, said)
    doors.close()


@pytest.mark.parametrize(
    "report", [REPORT, dataclasses.replace(REPORT, server=Unknown("silent"))], ids=["known", "unknown"]
)
def test_a_report_travels_whole(doorway: Doorway, report: NodeReport) -> None:
    doorway.agent.now = report

    heard = doorway.peers().ask("db1")

    assert isinstance(heard, Heard)
    assert heard.report == report


def test_who_says_that_it_holds_the_lease_is_heard_in_its_certificates_name(
    doorway: Doorway,
) -> None:
    peers, heard = doorway.peers("db2"), []
    peers.ask("db1")
    assert doorway.agent.heard == [], "who holds nothing says nothing"

    peers.carry(lambda: 7, lambda report, _sent_at: heard.append(report.name))
    peers.ask("db1")

    assert doorway.agent.heard == [("db2", 7)]
    assert heard == ["db1"]


def test_a_report_of_another_version_is_read_as_far_as_it_is_known() -> None:
    plain = {**encode(REPORT), "from_the_future": 1}
    del plain["doing"]

    assert decode(plain) == REPORT
    with pytest.raises(NotAReport):
        decode({"name": "db1"})


def test_an_address_that_answers_in_another_name_is_unknown(doorway: Doorway) -> None:
    assert isinstance(doorway.peers().ask("db3"), Unknown)


def test_what_was_heard_is_kept_fresh_in_the_background(doorway: Doorway) -> None:
    peers = doorway.peers()
    assert isinstance(peers.reports()["db1"], Unknown)

    peers.start()
    while not isinstance(peers.reports()["db1"], Heard):
        threading.Event().wait(0.01)
    peers.stop()


def test_votes_and_seals_travel_whole(doorway: Doorway) -> None:
    peers, other = doorway.peers(), dataclasses.replace(SEAL, version=8)

    assert peers.ask_vote("db1", SEAL) == ""
    assert peers.ask_vote("db1", other) == "another seal"
    assert peers.ask_seal("db1", SEAL) == Sealed("db1", SEAL, 2, 77)
    assert peers.ask_seal("db1", other) == Unknown("db1 does not seal: another seal")


def test_a_vote_or_seal_of_an_address_that_answers_in_another_name_is_never_counted(doorway: Doorway) -> None:
    assert isinstance(doorway.peers().ask_seal("db3", SEAL), Unknown)


def test_silence_is_neither_a_vote_nor_a_seal(doorway: Doorway) -> None:
    peers = doorway.peers()

    assert isinstance(peers.ask_vote("db9", SEAL), Unknown)
    assert isinstance(peers.ask_seal("db9", SEAL), Unknown)


@pytest.mark.parametrize("field", ["cluster", "epoch", "version", "incarnation", "against"])
def test_what_is_no_whole_seal_is_refused(field: str) -> None:
    plain = encode_seal(SEAL)
    for wrong in (
        {**plain, field: None},
        {**plain, field: True},
        {k: v for k, v in plain.items() if k != field},
    ):
        with pytest.raises(NotASeal):
            decode_seal(wrong)
    assert decode_seal(plain) == SEAL


def test_wakes_rejoins_and_orders_arrive(doorway: Doorway) -> None:
    peers = doorway.peers()

    peers.wake("db1")
    assert doorway.agent.woken.wait(60)
    assert peers.ask_rejoin("db1") is True
    assert doorway.peers("db3").ask_rejoin("db1") is False
    outcome = peers.order_switchover("db1", "db3")
    assert not isinstance(outcome, Unknown)
    assert outcome["ok"] is False


def test_a_certificate_of_the_cluster_that_is_no_members_is_refused(doorway: Doorway) -> None:
    with httpx.Client(verify=doorway.context("app1")) as client:
        assert client.get(f"https://127.0.0.1:{doorway.port}/status").status_code == 403


def test_nobody_without_a_certificate_gets_an_answer(doorway: Doorway) -> None:
    bare = ssl.create_default_context(cafile=str(doorway.authority.ca))
    with httpx.Client(verify=bare) as client, pytest.raises(httpx.HTTPError):
        client.get(f"https://127.0.0.1:{doorway.port}/status")


def test_a_stranger_with_an_authority_of_its_own_is_unknown_to_us(doorway: Doorway, tmp_path: Path) -> None:
    other = Authority(tmp_path / "other")
    cert, key = other.certificate("db2", "127.0.0.1")
    context = client_context(doorway.authority.ca, cert, key)
    with httpx.Client(verify=context) as client, pytest.raises(httpx.HTTPError):
        client.get(f"https://127.0.0.1:{doorway.port}/status")


def as_member(doorway: Doorway) -> httpx.Client:
    return httpx.Client(verify=doorway.context("db2"), base_url=f"https://127.0.0.1:{doorway.port}")


STANDBY = REPORT.server
assert isinstance(STANDBY, Server)
PRIMARY = dataclasses.replace(STANDBY, state=ServerState.PRIMARY)
STOPPED = dataclasses.replace(STANDBY, state=ServerState.STOPPED)


@pytest.mark.parametrize(
    ("server", "serving", "reads_open", "told"),
    [
        (PRIMARY, True, False, [200, 503, 200]),
        (PRIMARY, False, False, [503, 503, 200]),
        (STANDBY, False, True, [503, 200, 200]),
        (STANDBY, False, False, [503, 503, 200]),
        (STOPPED, False, False, [503, 503, 503]),
        (Unknown("silent"), True, True, [503, 503, 503]),
    ],
    ids=["serves", "primary with its gate shut", "open to readers", "shut to readers", "stopped", "unknown"],
)
def test_who_serves_and_who_takes_readers_is_told_by_the_status_alone(
    doorway: Doorway, server: Server | Unknown, serving: bool, reads_open: bool, told: list[int]
) -> None:
    doorway.agent.now = dataclasses.replace(REPORT, server=server, serving=serving, reads_open=reads_open)

    with as_member(doorway) as client:
        assert [client.get(p).status_code for p in ("/primary", "/replica", "/health")] == told


def test_what_no_member_may_ask_or_nobody_can_answer_is_refused_by_its_status(doorway: Doorway) -> None:
    with as_member(doorway) as client:
        assert "primacy_epoch 3.0" in client.get("/metrics").text
        assert client.get("/nowhere").status_code == 404
        assert client.get("/wake").status_code == 405
        assert client.post("/rejoin", content=b"[").status_code == 400
        assert client.post("/confirm-fenced", json={"name": "db1"}).status_code == 403, "a person's word"


def test_a_mistake_of_ours_stands_in_the_journal_with_its_place_until_it_is_none_any_more(
    doorway: Doorway,
) -> None:
    doorway.agent.mistaken = True
    with as_member(doorway) as client:
        answers = [client.get("/cluster") for _ in range(3)]
        told = list(doorway.journal)
        doorway.agent.mistaken = False
        assert client.get("/cluster").status_code == 200

    assert [(a.status_code, a.json()["ok"]) for a in answers] == [(500, False)] * 3
    assert "what cannot be" in answers[0].json()["why"]
    [(event, values)] = told  # once, however often it is asked
    assert (event, values["where"]) == ("trouble", "answering GET /cluster")
    assert "AssertionError: what cannot be" in str(values["why"])
    assert "test_door.py:" in str(values["why"])
    assert doorway.journal[-1] == ("fine", {"where": "answering GET /cluster"})


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/switchover", {"to": "db9"}),
        ("/failover", {"to": "db9"}),
        ("/failover", {}),
        ("/rejoin", {"name": "db9"}),
        ("/mode", {"mode": "hope"}),
        ("/pause", {"pause": "yes"}),
    ],
)
def test_an_order_that_no_node_could_carry_out_is_refused_with_every_field(
    doorway: Doorway, path: str, body: dict[str, str]
) -> None:
    with as_member(doorway) as client:
        answer = client.post(path, json=body)

    assert answer.status_code == 400
    told = answer.json()
    assert told.pop("ok") is False
    assert all(told[name] for name in ("error", "object", "value", "expected", "remedy", "why", "hint"))
    assert str(next(iter(body.values()), "")) in told["why"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may use the control socket")
def test_people_ask_through_the_socket_of_their_node(doorway: Doorway) -> None:
    control = Control(doorway.place / "control.sock")

    assert (doorway.place / "control.sock").stat().st_mode & 0o777 == 0o600
    assert control.cluster() == {"cluster": "primacy"}
    assert control.switchover("db2")["target"] == "db2"
    assert control.unfence("db2")["instance"] == "i-db2"
    with pytest.raises(Refused, match="nobody waits"):
        control.confirm_fenced("db2")
    with pytest.raises(Refused, match="no member"):
        control.unfence("db9")
    with pytest.raises(Refused) as refused:
        control.switchover("db9")
    assert "db9" in refused.value.args[0]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may use the control socket")
def test_a_pause_is_ordered_through_the_socket_and_a_refusal_comes_back_with_its_fields(
    doorway: Doorway,
) -> None:
    control = Control(doorway.place / "control.sock")

    assert control.pause()["paused"] is True
    with pytest.raises(Refused, match="nobody holds it") as refused:
        control.resume()
    assert (refused.value.hint, refused.value.object) == ("wait", "the pause")
    passed_on = doorway.peers().order_pause("db1", pause=True)
    assert not isinstance(passed_on, Unknown)
    assert passed_on["paused"] is True


def test_an_order_to_take_over_with_a_loss_travels_with_its_word(doorway: Doorway) -> None:
    control = Control(doorway.place / "control.sock")

    assert control.failover("db2", accept_loss=True)["done"] is True
    assert control.failover("db2", accept_loss=False)["done"] is False
    assert doorway.peers().order_mode("db1", "quorum") == {
        "ok": True,
        "why": "no",
        "hint": "wait",
        "mode": "quorum",
    }
    passed_on = doorway.peers().order_failover("db1", accept_loss=True)
    assert not isinstance(passed_on, Unknown)
    assert (passed_on["target"], passed_on["done"]) == ("db1", True)
    with pytest.raises(Refused, match="no member"):
        control.failover("db9", accept_loss=True)
