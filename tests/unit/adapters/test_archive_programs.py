"""The programs in front of archive_command and restore_command, started as PostgreSQL starts them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.adapters.test_door import FakeAgent

from failover_agent.adapters.app import App
from failover_agent.adapters.server import Doors
from failover_agent.adapters.systemd import looks

NAME = "000000010000000000000002"
SOON_S = 60.0


class Referee(FakeAgent):
    """Allows until told otherwise, and keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__()
        self.why = ""
        self.asked: list[tuple[str, int]] = []
        self.refuse_after = 10**6

    def unfence(self, name: str) -> dict[str, object]:
        raise NotImplementedError

    def confirm_fenced(self, name: str) -> dict[str, object]:
        raise NotImplementedError

    def may_archive(self, name: str) -> dict[str, object]:
        return self._say(name, 0)

    def may_restore(self, name: str, segment_bytes: int) -> dict[str, object]:
        return self._say(name, segment_bytes)

    def _say(self, name: str, size: int) -> dict[str, object]:
        self.asked.append((name, size))
        why = self.why or ("the lease is gone" if len(self.asked) > self.refuse_after else "")
        return {"may": not why, "why": why}


@pytest.fixture
def referee() -> Referee:
    return Referee()


@pytest.fixture
def door(referee: Referee, tmp_path: Path) -> Iterator[Path]:
    doors = Doors(App(referee, ["db1"], postgres_uid=os.getuid()))
    doors.open_unix(tmp_path / "door")
    yield tmp_path / "door"
    doors.close()


def start(program: str, door: Path, command: str, cwd: Path) -> subprocess.Popen[str]:
    code = f"from failover_agent.cli.archive import {program}_main; {program}_main()"
    argv = (sys.executable, "-c", code, str(door), NAME, command)
    return subprocess.Popen(argv, cwd=cwd, stderr=subprocess.PIPE, text=True)


def run(program: str, door: Path, command: str, cwd: Path) -> tuple[int, str]:
    process = start(program, door, command, cwd)
    _out, err = process.communicate(timeout=SOON_S)
    return process.returncode, err


def until_there(path: Path) -> None:
    assert any(path.exists() for _left in looks(SOON_S, 0.02)), path


def test_what_the_agent_allows_is_archived(referee: Referee, door: Path, tmp_path: Path) -> None:
    assert run("archive", door, "touch copied", tmp_path) == (0, "")
    assert (tmp_path / "copied").exists()
    assert referee.asked == [(NAME, 0), (NAME, 0)], "before and after"


def test_what_it_refuses_is_not_and_the_reason_is_told(referee: Referee, door: Path, tmp_path: Path) -> None:
    referee.why = "this node does not hold the lease"

    status, err = run("archive", door, "touch copied", tmp_path)

    assert status == 1
    assert referee.why in err
    assert not (tmp_path / "copied").exists()


def test_an_agent_that_does_not_answer_allows_nothing(door: Path, tmp_path: Path) -> None:
    for program in ("archive", "restore"):
        assert run(program, tmp_path / "nobody", "touch copied", tmp_path)[0] == 1
    assert not (tmp_path / "copied").exists()


def test_a_lease_lost_meanwhile_does_not_count_as_archived(
    referee: Referee, door: Path, tmp_path: Path
) -> None:
    referee.refuse_after = 1

    status, err = run("archive", door, "true", tmp_path)

    assert status == 1
    assert "the lease is gone" in err


def test_a_command_that_outlives_the_lease_is_killed_with_its_children(
    referee: Referee, door: Path, tmp_path: Path
) -> None:
    process = start("archive", door, "touch begun; sleep 600; touch late", tmp_path)
    until_there(tmp_path / "begun")
    referee.why = "the lease is gone"

    _out, err = process.communicate(timeout=SOON_S)

    assert process.returncode == 1
    assert "killed" in err
    assert not (tmp_path / "late").exists()


def test_who_ends_the_program_ends_the_command(door: Path, tmp_path: Path) -> None:
    process = start("archive", door, "echo $$ > pid.new && mv pid.new pid; sleep 600", tmp_path)
    until_there(tmp_path / "pid")
    child = int((tmp_path / "pid").read_text())

    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=SOON_S)

    assert process.returncode != 0
    assert any(not Path(f"/proc/{child}/cmdline").exists() for _left in looks(SOON_S, 0.02))


def test_a_command_that_fails_fails_and_never_ends_postgresql(door: Path, tmp_path: Path) -> None:
    assert run("archive", door, "exit 3", tmp_path)[0] == 3
    assert run("archive", door, "exit 200", tmp_path)[0] == 125
    assert run("archive", door, "kill -9 $$", tmp_path)[0] == 1


def test_a_restore_tells_the_size_of_the_segments_that_are_here(
    referee: Referee, door: Path, tmp_path: Path
) -> None:
    (tmp_path / "pg_wal").mkdir()
    with (tmp_path / "pg_wal" / NAME).open("wb") as segment:
        segment.truncate(1 << 20)

    assert run("restore", door, "touch fetched", tmp_path)[0] == 0
    assert referee.asked == [(NAME, 1 << 20)]
    referee.why = "past the fork"
    (tmp_path / "fetched").unlink()
    assert run("restore", door, "touch fetched", tmp_path)[0] == 1
    assert not (tmp_path / "fetched").exists()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to be somebody else")
def test_postgresql_may_ask_about_its_wal_and_nothing_else(referee: Referee) -> None:
    nobody = 65534
    with tempfile.TemporaryDirectory() as place:
        Path(place).chmod(0o755)
        doors = Doors(App(referee, ["db1"], postgres_uid=nobody))
        doors.open_unix(Path(place) / "door", owner="nobody")
        try:
            for path, status in (("/archive?file=x", 200), ("/cluster", 403), ("/status", 403)):
                assert asked_by(nobody, Path(place) / "door", path) == status, path
            assert asked_by(nobody - 1, Path(place) / "door", "/archive?file=x") is None, "it is closed"
        finally:
            doors.close()


def asked_by(uid: int, door: Path, path: str) -> int | None:
    """The status that a process of this user gets; None when it cannot even connect."""
    code = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);"
        " s.sendall(f'GET {sys.argv[2]} HTTP/1.0\\r\\n\\r\\n'.encode());"
        " print(s.recv(99).split()[1].decode())"
    )
    argv = ("/usr/bin/python3", "-c", code, str(door), path)
    done = subprocess.run(argv, user=uid, cwd="/", capture_output=True, text=True, check=False)
    return int(done.stdout) if done.returncode == 0 else None
