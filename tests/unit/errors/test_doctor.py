"""The doctor ends in time, loses no finding, and tells people and programs the same."""

from __future__ import annotations

import json
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from tests.support.certificates import Authority
from tests.support.seals import SealsNothing
from tests.unit.test_config import but

from failover_agent.adapters import inspect_host
from failover_agent.adapters.app import App
from failover_agent.adapters.clock import SystemClock
from failover_agent.adapters.peers import client_context
from failover_agent.adapters.server import Doors
from failover_agent.checkup.host import LOOKS, look_again
from failover_agent.cli.ctl import main
from failover_agent.core.model import Member, Mode, NodeReport, Server, ServerState, Unknown
from failover_agent.core.verdicts import DAY_S
from failover_agent.errors import (
    AgentError,
    CertificateUnfit,
    CheckTookTooLong,
    PeerSilent,
    SourceDestCheckOn,
)
from failover_agent.shell.doctor import Check, Finding, Result, examine, problems
from failover_agent.shell.threads import Threads

CHECK_ON = SourceDestCheckOn.about("check of eni-1", value="on", expected="off", hint="Switch it off.")


def run(*checks: Check, deadline_s: float = 30) -> tuple[Result, ...]:
    return examine(checks, Threads(), SystemClock(), deadline_s)


def test_results_come_in_the_order_of_the_checks_whoever_ends_first() -> None:
    first_may_end = threading.Event()

    def slow() -> Finding:
        assert first_may_end.wait(60)
        return Finding("slow")

    def quick() -> Finding:
        first_may_end.set()
        return Finding("quick")

    results = run(Check("a", slow), Check("b", quick))

    assert [(r.check, r.finding.found) for r in results] == [("a", "slow"), ("b", "quick")]
    assert problems(results) == ()


@pytest.mark.parametrize(("silences", "seen"), [(0, True), (LOOKS - 1, True), (LOOKS, False)])
def test_a_server_is_silent_only_where_several_looks_meet_silence(silences: int, seen: bool) -> None:
    """One look is bounded by a second, and on a busy machine that is no proof."""
    server = Server(ServerState.STANDBY)
    answers: Iterator[Server | Unknown] = iter([*[Unknown("it does not answer")] * silences, server])

    assert (look_again(lambda: next(answers)) == server) is seen


def test_a_check_that_hangs_is_named_and_hides_nothing() -> None:
    for_ever = threading.Event()
    try:
        hanging, other = run(
            Check("disk", lambda: Finding(str(for_ever.wait()))),
            Check("interface", lambda: Finding("on", (CHECK_ON,))),
            deadline_s=2.0,
        )
    finally:
        for_ever.set()

    assert [type(e) for e in hanging.finding.errors] == [CheckTookTooLong]
    assert hanging.finding.errors[0].object == "check disk"
    assert other.finding.errors == (CHECK_ON,)


def test_what_a_check_raises_is_its_finding_and_a_mistake_of_ours_hides_no_other() -> None:
    def raises() -> Finding:
        raise CHECK_ON

    def mistaken() -> Finding:
        raise KeyError("x")

    first, second = run(Check("interface", raises), Check("gate", mistaken))

    assert first.finding.errors == (CHECK_ON,)
    [mistake] = second.finding.errors
    assert (mistake.object, mistake.value) == ("check gate", "KeyError: 'x'")


def test_one_thing_met_by_two_checks_is_told_once() -> None:
    again = SourceDestCheckOn.about("check of eni-1", value="still on", expected="off", hint="h")
    other = SourceDestCheckOn.about("check of eni-2", value="on", expected="off", hint="h")

    told = problems((Result("a", Finding("", (CHECK_ON,))), Result("b", Finding("", (again, other)))))

    assert told == (CHECK_ON, other)


def test_impossible_timings_are_told_to_programs_with_exit_status_1(tmp_path: Path) -> None:
    path = tmp_path / "agent.yml"
    path.write_text(yaml.safe_dump(but("timings", {"ttl_s": 3.4})))

    done = CliRunner().invoke(main, ["--config", str(path), "doctor", "--json"])

    told = json.loads(done.stdout)
    assert done.exit_code == 1
    assert told["fine"] is False
    [problem] = told["problems"]
    assert problem["error"] == "TimingsImpossible"
    assert problem["object"].startswith("ttl_s of timings of profile balanced")
    assert problem["value"] == "3.4 s"
    assert problem["expected"].startswith("at least 3.5 s = beat_s 1")
    assert problem["remedy"]
    assert told["checks"][0]["problems"] == told["problems"]


def test_people_are_told_the_same_in_words(tmp_path: Path) -> None:
    path = tmp_path / "agent.yml"
    path.write_text(yaml.safe_dump(but("timings", {"ttl_s": 3.4})))

    done = CliRunner().invoke(main, ["--config", str(path), "doctor"])

    assert done.exit_code == 1
    assert "TimingsImpossible" in done.stdout
    assert "primacy_profile" in done.stdout


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("ca"))


def test_a_certificate_is_taken_whole(authority: Authority, tmp_path: Path) -> None:
    cert, key = authority.certificate("db1", "127.0.0.1")
    valid = inspect_host.certificate(authority.ca, cert, key, "db1")
    assert valid.not_before < time.time() < valid.not_after < time.time() + 31 * DAY_S

    strange = Authority(tmp_path / "other")
    other_cert, other_key = (tmp_path / "own.crt", tmp_path / "own.key")
    shutil.copy(cert, other_cert)
    shutil.copy(key, other_key)
    _, newer_key = authority.certificate("db1", "127.0.0.1")
    (tmp_path / "empty").touch()
    wrong = {
        "not issued by": (strange.ca, other_cert, other_key, "db1"),
        "does not belong to the key": (authority.ca, other_cert, newer_key, "db1"),
        "names db1, not db2": (authority.ca, other_cert, other_key, "db2"),
        "cannot be read": (authority.ca, tmp_path / "missing.crt", other_key, "db1"),
        "no PEM": (authority.ca, tmp_path / "empty", other_key, "db1"),
    }
    for value, given in wrong.items():
        with pytest.raises(CertificateUnfit) as refused:
            inspect_host.certificate(*given)
        assert value in refused.value.value
        assert refused.value.object


class StandIn(SealsNothing):
    """An agent that says who it is, and no more."""

    def __init__(self, name: str) -> None:
        self._name = name

    def report(self) -> NodeReport:
        return NodeReport(self._name, "a", "i-1", Unknown("not asked"), 1, holds_lease=False)

    def cluster(self) -> dict[str, object]:
        return {}

    def wake(self) -> None: ...

    def grant_rejoin(self, name: str) -> bool:
        return bool(name)

    def request_mode(self, mode: Mode) -> dict[str, object]:  # as the door has it
        raise NotImplementedError

    def request_pause(self, pause: bool) -> dict[str, object]:  # as the door has it
        raise NotImplementedError

    def request_failover(self, to: str, accept_loss: bool) -> dict[str, object]:
        return {"ok": True, "target": to, "done": accept_loss}

    def request_switchover(self, to: str) -> dict[str, object]:
        return {"to": to}

    def unfence(self, name: str) -> dict[str, object]:
        raise NotImplementedError

    def confirm_fenced(self, name: str) -> dict[str, object]:
        raise NotImplementedError

    def may_archive(self, name: str) -> dict[str, object]:
        return {"may": False, "why": name}

    def may_restore(self, name: str, segment_bytes: int) -> dict[str, object]:
        return {"may": False, "why": f"{name}, {segment_bytes}"}


@pytest.fixture
def port(authority: Authority) -> Iterator[int]:
    """Of an agent that calls itself db2."""
    cert, key = authority.certificate("db2", "127.0.0.1")
    doors = Doors(App(StandIn("db2"), ["db1", "db2"]))
    doors.open_https("127.0.0.1", 0, ca=authority.ca, cert=cert, key=key)
    try:
        yield doors._servers[0].bind_addr[1]
    finally:
        doors.close()


def greet(authority: Authority, port: int, name: str, behind_s: float = 0.0) -> inspect_host.Greeting:
    cert, key = authority.certificate("db1", "127.0.0.1")
    member = Member(name, "127.0.0.1", "a", "i-1")
    context = client_context(authority.ca, cert, key)
    return inspect_host.greet(member, port, context, 60.0, lambda: time.time() - behind_s)


@pytest.mark.parametrize("behind_s", [0.0, 100.0, -100.0])
def test_another_agents_clock_is_learnt_from_its_answer(
    authority: Authority, port: int, behind_s: float
) -> None:
    greeting = greet(authority, port, "db2", behind_s)

    assert greeting.report.name == "db2"
    assert abs(greeting.clock_ahead_s - behind_s) < 30, "whole seconds, and a slow machine"


def test_an_agent_that_is_silent_or_somebody_else_is_named(authority: Authority, port: int) -> None:
    found: list[AgentError] = []
    for name, at in (("db3", port), ("db2", 1)):
        with pytest.raises(PeerSilent) as silent:
            greet(authority, at, name)
        found.append(silent.value)

    assert found[0].value == "answers as db2"
    assert found[1].object == "agent of db2 at 127.0.0.1:1"


def test_a_volume_is_measured_also_where_the_directory_is_not_there_yet(tmp_path: Path) -> None:
    free, size = inspect_host.room(tmp_path / "not/yet")

    assert 0 < free <= size
