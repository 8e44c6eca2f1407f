"""The measuring client finds a server as soon as there is one, and keeps one connection only."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Awaitable, Callable

import pytest

from rehearsal import attempts, echo, writer
from rehearsal.attempts import first_of
from rehearsal.program import text_of

Attempt = Callable[[], Awaitable[str]]


class World:
    """Attempts answered one after the other as told; who is closed is noted."""

    def __init__(self, *answers: Attempt) -> None:
        self._answers = list(answers)
        self.begun = 0
        self.closed: list[str] = []

    async def attempt(self) -> str:
        self.begun += 1
        return await self._answers.pop(0)()

    async def connect(self) -> str:
        found = await first_of(self.attempt, self.closed.append, (OSError,), interval_s=0.001)
        for _ in range(3):
            await asyncio.sleep(0)  # what was ended ends
        return found


async def silent() -> str:
    await asyncio.Event().wait()
    raise AssertionError("never")


async def refused() -> str:
    raise ConnectionRefusedError


def says(word: str) -> Attempt:
    async def answer() -> str:
        return word

    return answer


def test_a_silent_address_does_not_hold_up_the_next_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "CONNECT_S", 60.0)
    world = World(silent, silent, says("third"))

    assert asyncio.run(asyncio.wait_for(world.connect(), timeout=30)) == "third"
    assert (world.begun, world.closed) == (3, [])


def test_a_refused_attempt_is_followed_by_the_next_without_waiting_for_its_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(attempts, "EVERY_S", 60.0)
    world = World(refused, refused, says("third"))

    assert asyncio.run(asyncio.wait_for(world.connect(), timeout=30)) == "third"


def test_of_two_that_come_one_is_used_and_the_other_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "EVERY_S", 0.0)

    async def both() -> tuple[str, World]:
        let_in, waiting = asyncio.Event(), 0

        async def together() -> str:
            nonlocal waiting
            waiting += 1
            me = f"connection {waiting}"
            if waiting == 2:
                let_in.set()
            await let_in.wait()
            return me

        world = World(*[together] * 2, *[silent] * 1000)
        return await world.connect(), world

    found, world = asyncio.run(both())

    assert {found, *world.closed} == {"connection 1", "connection 2"}
    assert len(world.closed) == 1


def test_an_attempt_that_takes_too_long_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "CONNECT_S", 0.0)
    given_up: list[str] = []

    async def notes_its_end() -> str:
        try:
            return await silent()
        except asyncio.CancelledError:
            given_up.append("first")
            raise

    world = World(notes_its_end, says("second"))

    assert asyncio.run(asyncio.wait_for(world.connect(), timeout=30)) == "second"
    assert given_up == ["first"]


def test_what_is_no_refusal_is_an_error_of_the_program() -> None:
    async def broken() -> str:
        raise KeyError("dsn")

    with pytest.raises(KeyError):
        asyncio.run(World(broken).connect())


def test_a_program_runs_where_there_is_no_package_of_ours() -> None:
    for module, argument in ((echo, "server 0"), (writer, "[]")):
        done = subprocess.run(
            [sys.executable, "-Sc", text_of(module), argument],
            input="",
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        missing = [line for line in done.stderr.splitlines() if line.startswith("ModuleNotFoundError")]
        assert missing in ([], ["ModuleNotFoundError: No module named 'psycopg'"]), done.stderr
