"""Connecting to who may not be there yet, without adding to the time that is measured.

Sent to other hosts together with the program that uses it: needs nothing but Python.

One attempt after the other finds a server late by up to a whole CONNECT_S, because a packet sent while nobody
was there is not answered any more. So a new attempt begins while earlier ones still wait.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

CONNECT_S = 0.5  # of one attempt; libpq's own connect_timeout cannot go below 2 s
EVERY_S = 0.1  # between the beginnings of two attempts while none was refused

T = TypeVar("T")


async def first_of(
    attempt: Callable[[], Awaitable[T]],
    close: Callable[[T], object],
    refusals: tuple[type[Exception], ...],
    interval_s: float,
) -> T:
    """The first connection that comes; there is never a second one, whatever comes later is closed.

    A refusal is an answer: the next attempt begins `interval_s` after the refused one began, or at once if
    that is over. Raises what `attempt` raises beside `refusals`.
    """
    waiting: set[asyncio.Task[T]] = set()
    began, due = 0.0, time.monotonic()
    try:
        while True:
            if time.monotonic() >= due:
                began = time.monotonic()
                due = began + EVERY_S
                waiting.add(asyncio.create_task(_in_time(attempt)))
            for task in await _ended(waiting, due - time.monotonic()):
                waiting.discard(task)
                error = task.exception()
                if error is None:
                    return task.result()
                if isinstance(error, refusals):
                    due = min(due, began + interval_s)
                elif not isinstance(error, TimeoutError):
                    raise error
    finally:
        for task in waiting:
            task.cancel()
            task.add_done_callback(lambda late: _close_late(late, close))


async def _in_time(attempt: Callable[[], Awaitable[T]]) -> T:
    async with asyncio.timeout(CONNECT_S):
        return await attempt()


async def _ended(waiting: set[asyncio.Task[T]], within_s: float) -> set[asyncio.Task[T]]:
    """Those that ended, as soon as there is one; none after `within_s`."""
    if not waiting:
        await asyncio.sleep(max(0.0, within_s))
        return set()
    ended, _ = await asyncio.wait(waiting, timeout=max(0.0, within_s), return_when=asyncio.FIRST_COMPLETED)
    return ended


def _close_late(task: asyncio.Task[T], close: Callable[[T], object]) -> None:
    if not task.cancelled() and task.exception() is None:
        close(task.result())
