"""Time, tasks and locks of a simulation: many threads of control, one at a time, in an order a seed decides.

A task is a greenlet that runs until it waits: for time, a lock, an event, an answer. What it waits for
puts it back into one queue, ordered by simulated time and then by the order of asking. Nothing else
chooses who runs, so the same seed gives the same run.

`threading_of(scheduler)` has the names of the standard library's `threading` that the shell uses; with it in
their place, the shell's locks and events block a task and not the process.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from heapq import heappop, heappush
from types import ModuleType, TracebackType

from greenlet import GreenletExit, getcurrent, greenlet

Call = Callable[[], None]

REQUEST = "request"  # name of a task that answers another node


class Actor:
    """Who a task belongs to: an operating-system process. Held: it gets no processor. Dead: never again."""

    def __init__(self, scheduler: Scheduler, name: str) -> None:
        self.scheduler = scheduler
        self.name = name
        self.alive = True
        self.holds = 0  # reasons why it may not run now
        self._parked: list[Call] = []
        self._tasks: list[Task] = []

    def spawn(self, name: str, work: Call) -> Task:
        task = self._task(name, work)
        self.scheduler.at(self.scheduler.now, task.begin)
        return task

    def spawn_now(self, name: str, work: Call) -> None:
        """From an event: it begins at once."""
        self._task(name, work).begin()

    def _task(self, name: str, work: Call) -> Task:
        if len(self._tasks) > 40:
            self._tasks = [task for task in self._tasks if not task.over]
        task = Task(self, name, work)
        self._tasks.append(task)
        return task

    def hold(self) -> None:
        self.holds += 1

    def release(self) -> None:
        self.holds -= 1
        if self.holds == 0:
            parked, self._parked = self._parked, []
            for call in parked:
                self.scheduler.at(self.scheduler.now, call)

    def park(self, call: Call) -> None:
        self._parked.append(call)

    def unwind(self) -> None:
        """Let every task's stack go, at the end of a simulation."""
        self.alive = False
        for task in self._tasks:
            task.unwind()


class Task:
    """Work of an actor, on a greenlet of the scheduler's."""

    def __init__(self, actor: Actor, name: str, work: Call) -> None:
        self.actor = actor
        self.name = name
        self.work = work
        self.serial = 0  # of its waits: what woke it from an earlier one is stale
        self.over = False
        self.alone = False  # no other task waits for it to wait
        self._thread: greenlet | None = None  # from its first moment to its last

    def begin(self) -> None:
        self.go(0)

    def go(self, serial: int) -> None:
        """Go on, if it still waits as it did under `serial`."""
        actor = self.actor
        if serial != self.serial or not actor.alive or self.over:
            return
        if actor.holds:
            actor.park(partial(self.go, serial))
            return
        scheduler = actor.scheduler
        thread = self._thread
        if thread is None:
            thread = self._thread = scheduler.thread()
        before, scheduler.current = scheduler.current, self
        self.alone = before is None
        here = getcurrent()
        if thread.parent is not here:
            thread.parent = here
        try:
            thread.switch(self)
        finally:
            scheduler.current = before

    def goes_on(self) -> bool:
        """Whether nothing but an event could keep it from going on."""
        return self.alone and self.actor.alive and not self.actor.holds

    def wait(self) -> None:
        """Give up the processor until somebody wakes this wait's serial."""
        thread = self._thread
        assert thread is not None, "only a task that runs can wait"
        assert thread.parent is not None, "a running task was started by somebody"
        thread.parent.switch()

    def unwind(self) -> None:
        if self._thread is not None and not self.over:
            self._thread.parent = getcurrent()
            self._thread.throw(GreenletExit)


class Scheduler:
    def __init__(self) -> None:
        self.now = 0.0
        self.current: Task | None = None
        self.closing = False
        self._queue: list[tuple[float, int, Call]] = []
        self._number = 0
        self._until = 0.0  # how far time may pass without a look at what stops it
        self._idle: list[greenlet] = []

    def thread(self) -> greenlet:
        """One that runs no task. They are used again: a new one costs more than most tasks do."""
        return self._idle.pop() if self._idle else greenlet(self._run_tasks)

    def _run_tasks(self, task: Task) -> None:
        me = getcurrent()
        while True:
            try:
                task.work()
            finally:
                task.over = True
            self._idle.append(me)
            assert me.parent is not None, "a running task was started by somebody"
            task = me.parent.switch()

    def at(self, moment: float, call: Call) -> None:
        self._number += 1
        heappush(self._queue, (moment, self._number, call))

    def after(self, seconds: float, call: Call) -> None:
        self._number += 1
        heappush(self._queue, (self.now + seconds, self._number, call))

    def run(self, until: float, stop: Callable[[], bool] | None = None) -> bool:
        """Let time pass; True as soon as `stop` holds after some event."""
        queue = self._queue
        self._until = until if stop is None else self.now
        while queue and queue[0][0] <= until:
            moment, _, call = heappop(queue)
            if moment > self.now:
                self.now = moment
            call()
            if stop is not None and stop():
                return True
        self.now = max(self.now, until)
        return False

    def sleep(self, seconds: float) -> None:
        """Of the task that runs; outside of one, nothing waits."""
        if self.closing:
            raise GreenletExit
        task = self.current
        if task is None:
            return
        moment = self.now + seconds
        if task.goes_on() and moment <= self._until and not (self._queue and self._queue[0][0] <= moment):
            self.now = max(self.now, moment)  # nobody else has anything to do until then
            return
        serial = task.serial = task.serial + 1
        self.at(moment, partial(task.go, serial))
        task.wait()
        if self.closing:
            raise GreenletExit

    def never(self) -> None:
        """The task that runs does not go on: its process is dead."""
        task = self.current
        assert task is not None, "only a task can stop"
        task.serial += 1
        task.wait()
        raise GreenletExit

    def block(self, waiters: list[Call], timeout_s: float | None) -> None:
        """Wait until a call of `waiters` is made or the time is over."""
        if self.closing:
            raise GreenletExit
        task = self.current
        assert task is not None, "only a task can wait"
        serial = task.serial = task.serial + 1

        wake = partial(task.go, serial)
        waiters.append(wake)
        if timeout_s is not None:
            self.at(self.now + max(0.0, timeout_s), wake)
        task.wait()
        if self.closing:
            raise GreenletExit

    def close(self, actors: Iterator[Actor]) -> None:
        self.closing = True
        for actor in actors:
            actor.unwind()
        for thread in self._idle:
            thread.parent = getcurrent()
            thread.throw(GreenletExit)
        self._queue.clear()


class Event:
    """threading.Event, as far as the shell uses it."""

    def __init__(self, scheduler: Scheduler) -> None:
        self._scheduler = scheduler
        self._set = False
        self._waiters: list[Call] = []

    def is_set(self) -> bool:
        return self._set

    def set(self) -> None:
        self._set = True
        waiters, self._waiters = self._waiters, []
        for wake in waiters:
            self._scheduler.at(self._scheduler.now, wake)

    def clear(self) -> None:
        self._set = False

    def wait(self, timeout: float | None = None) -> bool:
        if not self._set:
            self._scheduler.block(self._waiters, timeout)
        return self._set


class Lock:
    """threading.Lock and RLock, owned by a task."""

    def __init__(self, scheduler: Scheduler, *, again: bool) -> None:
        self._scheduler = scheduler
        self._again = again
        self._owner: Task | None = None
        self._depth = 0
        self._waiters: list[Call] = []

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        me = self._scheduler.current
        if self._scheduler.closing:
            return True
        if self._again and self._owner is me and self._depth:
            self._depth += 1
            return True
        until = self._scheduler.now + timeout
        while self._depth:
            if not blocking or (timeout >= 0 and self._scheduler.now >= until):
                return False
            self._scheduler.block(self._waiters, until - self._scheduler.now if timeout >= 0 else None)
        self._owner, self._depth = me, 1
        return True

    def release(self) -> None:
        scheduler = self._scheduler
        if scheduler.closing:
            return
        self._depth -= 1
        if self._depth == 0:
            self._owner = None
            if self._waiters:
                waiters, self._waiters = self._waiters, []
                for wake in waiters:
                    scheduler.at(scheduler.now, wake)

    def locked(self) -> bool:
        return self._depth > 0

    def __enter__(self) -> bool:
        scheduler = self._scheduler
        if self._depth or scheduler.closing:
            return self.acquire()
        self._owner, self._depth = scheduler.current, 1
        return True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


class _Threading(ModuleType):
    """Stands where a module of the shell has `threading`."""

    def __init__(self, scheduler: Scheduler) -> None:
        super().__init__("threading")
        self.Lock = lambda: Lock(scheduler, again=False)
        self.RLock = lambda: Lock(scheduler, again=True)
        self.Event = lambda: Event(scheduler)


@contextmanager
def threading_of(scheduler: Scheduler, modules: list[ModuleType]) -> Iterator[None]:
    """Within it, what `modules` call threading is the scheduler's."""
    stand_in = _Threading(scheduler)
    before = [(module, module.__dict__["threading"]) for module in modules if "threading" in module.__dict__]
    for module, _ in before:
        module.__dict__["threading"] = stand_in
    try:
        yield
    finally:
        for module, real in before:
            module.__dict__["threading"] = real
