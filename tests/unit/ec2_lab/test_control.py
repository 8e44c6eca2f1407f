"""The control interface over its real socket, with a region that notes what it is asked."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from ec2_lab import control, daemon
from ec2_lab.errors import LabError, NoSuchHost, NoSuchLab
from ec2_lab.model import LabPaths


@dataclass
class NotingRegion:
    asked: list[tuple[object, ...]] = field(default_factory=list)

    def hosts(self) -> list[dict[str, str]]:
        return [{"id": "i-1", "name": "db1", "az": "a", "private_ip": "10.0.1.10", "state": "running"}]

    def status(self) -> dict[str, object]:
        return {"instances": {"running": 1}}

    def history(self, count: int = 100) -> list[dict[str, object]]:
        return [{"count": count}]

    def crash(self, host: str) -> None:
        if host == "nobody":
            raise NoSuchHost("no host is called nobody", hint="hosts: db1")
        if host == "haunted":
            raise RuntimeError("the kernel is upset")
        self.asked.append(("crash", host))

    def start(self, host: str) -> None:
        self.asked.append(("start", host))

    def pause(self, host: str) -> None:
        self.asked.append(("pause", host))

    def resume(self, host: str) -> None:
        self.asked.append(("resume", host))

    def cut(self, host: str, peer: str | None, one_way: bool) -> None:
        self.asked.append(("cut", host, peer, one_way))

    def disk_hang(self, host: str) -> None:
        self.asked.append(("disk-hang", host))

    def disk_free(self, host: str) -> None:
        self.asked.append(("disk-free", host))

    def disk_fill(self, host: str) -> None:
        self.asked.append(("disk-fill", host))

    def disk_empty(self, host: str) -> None:
        self.asked.append(("disk-empty", host))

    def heal(self, host: str) -> None:
        self.asked.append(("heal", host))

    def api(self, reachable: bool) -> None:
        self.asked.append(("api", reachable))

    def api_fault(self, kind: str, value: float) -> None:
        self.asked.append((kind, value))


class ShortPaths(LabPaths):
    """A lab whose socket lies in the test's own folder."""

    @property
    def run(self) -> Path:
        return Path(self.name)


@pytest.fixture
def region() -> NotingRegion:
    return NotingRegion()


@pytest.fixture
def paths(tmp_path: Path, region: NotingRegion) -> Iterator[LabPaths]:
    made = ShortPaths(str(tmp_path))
    servers = daemon.Servers()
    servers.add(control.app(region, lambda: {"lab": "test"}), daemon._unix_socket(made.control_socket))
    threading.Thread(target=servers.run, daemon=True).start()
    yield made
    made.control_socket.unlink()


def test_only_the_owner_may_open_the_socket(paths: LabPaths) -> None:
    assert paths.control_socket.stat().st_mode & 0o777 == 0o600


def test_it_answers_what_the_region_and_the_daemon_know(paths: LabPaths) -> None:
    assert control.call(paths, "/status") == {"lab": "test", "instances": {"running": 1}}
    assert control.call(paths, "/hosts")[0]["name"] == "db1"
    assert control.call(paths, "/history?count=7") == [{"count": 7}]


@pytest.mark.parametrize("verb", control.HOST_VERBS)
def test_every_host_verb_arrives(paths: LabPaths, region: NotingRegion, verb: str) -> None:
    control.call(paths, "/fault", {"verb": verb, "host": "db1"})

    assert region.asked == [(verb, "db1")]


def test_cuts_and_the_api_arrive_with_their_words(paths: LabPaths, region: NotingRegion) -> None:
    control.call(paths, "/fault", {"verb": "cut", "host": "db1", "peer": "db2"})
    control.call(paths, "/fault", {"verb": "cut", "host": "db1", "peer": None, "one_way": True})
    control.call(paths, "/fault", {"verb": "api", "reachable": False})

    assert region.asked == [("cut", "db1", "db2", False), ("cut", "db1", None, True), ("api", False)]


def test_faults_of_the_api_arrive_with_their_measure(paths: LabPaths, region: NotingRegion) -> None:
    control.call(paths, "/fault", {"verb": "api", "fault": "slow", "value": 1.5})

    assert region.asked == [("slow", 1.5)]


def test_a_foreseen_error_keeps_its_class_and_hint(paths: LabPaths) -> None:
    with pytest.raises(NoSuchHost) as refused:
        control.call(paths, "/fault", {"verb": "crash", "host": "nobody"})

    assert refused.value.hint == "hosts: db1"


def test_an_unforeseen_error_is_told_and_the_daemon_lives_on(paths: LabPaths) -> None:
    with pytest.raises(LabError, match="the kernel is upset"):
        control.call(paths, "/fault", {"verb": "crash", "host": "haunted"})

    assert control.call(paths, "/hosts")


def test_an_unknown_fault_is_refused(paths: LabPaths, region: NotingRegion) -> None:
    with pytest.raises(LabError, match="no fault hosts"):
        control.call(paths, "/fault", {"verb": "hosts", "host": "db1"})


def test_a_lab_that_is_not_up_is_named(tmp_path: Path) -> None:
    with pytest.raises(NoSuchLab, match="nowhere"):
        control.call(ShortPaths(str(tmp_path / "nowhere")), "/status")


def test_a_pid_file_of_an_earlier_process_is_not_believed(tmp_path: Path) -> None:
    paths = ShortPaths(str(tmp_path))
    me = daemon.Process.of(1)
    assert me is not None
    me.write(paths)
    assert daemon.Process.running(paths) == me

    daemon.Process(me.pid, "0").write(paths)
    assert daemon.Process.running(paths) is None


def test_the_endpoint_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    paths = ShortPaths(str(tmp_path))
    endpoint = daemon.Endpoint("http://127.0.0.1:1", "eu-central-1", "AKIA", "secret")
    endpoint.write(paths)

    assert daemon.Endpoint.file(paths).stat().st_mode & 0o777 == 0o600
    assert daemon.Endpoint.read(paths) == endpoint
