"""What the decision round knows of the job beside it."""

from __future__ import annotations

import time

import pytest
from tests.support.inline import Inline

from failover_agent.adapters.clock import SystemClock
from failover_agent.errors import PostgresFailed
from failover_agent.ports import Progress
from failover_agent.shell.jobs import Jobs
from failover_agent.shell.journal import Journal


@pytest.fixture
def jobs() -> Jobs:
    """Each runs to its end within `start`."""
    return Jobs(Inline(), SystemClock(), Journal(time.time, lambda _event, _values: None), ended=lambda: None)


def refuse(_: Progress) -> None:
    raise PostgresFailed("no", hint="It is a test.")


def test_a_job_that_ended_since_a_look_began_counts_as_running_for_that_look(jobs: Jobs) -> None:
    """→ initdb ended while PostgreSQL was looked at; by that look it was begun again, over its own data."""
    began = jobs.mark()
    jobs.start("initdb", lambda _: None)

    assert jobs.doing() == ""
    assert jobs.done_since(began) == "initdb"
    assert jobs.done_since(jobs.mark()) == ""


def test_a_failed_job_changed_something_too(jobs: Jobs) -> None:
    began = jobs.mark()
    jobs.start("rewind", refuse)

    assert jobs.done_since(began) == "rewind"
    assert jobs.resting()


def test_while_a_job_runs_a_look_knows_it_and_how_far_it_is(jobs: Jobs) -> None:
    told = []

    def job(say: Progress) -> None:
        say("clone 42 %")
        told.append(jobs.done_since(jobs.mark()))
        assert not jobs.start("start", lambda _: None), "one at a time"

    jobs.start("clone", job)

    assert told == ["clone 42 %"]
