"""A standby comes up and streams whatever its files say, and what they say comes true in the end.

On real servers, with each setting that hot standby requires in turn. Without the agent's part PostgreSQL
ends such a start with "recovery aborted because of insufficient parameter settings".
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from failover_agent.adapters.clock import SystemClock
from failover_agent.adapters.postgres.on_disk import REQUIRED
from failover_agent.core.model import ServerState
from failover_agent.errors import PostgresFailed

from .namespaces import entered
from .postgres_nodes import Node, look, two_nodes, until

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

STOP_S = 30.0
SETTINGS = tuple(REQUIRED.values())
HIGH, LOW, HIGHER = 40, 20, 60  # all five settings take these


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Node, Node]]:
    """db1 is primary, db2 streams from it; the files of both say HIGH of every setting."""
    with tempfile.TemporaryDirectory(prefix="pg-settings-") as place:
        Path(place).chmod(0o755)
        with two_nodes(Path(place)) as (db1, db2):
            db1.postgres.init(quiet)
            for node in (db1, db2):
                say(node, **dict.fromkeys(SETTINGS, HIGH))
            db1.postgres.start_primary()
            with entered(db2.namespace):
                db2.postgres.clone("db1", quiet)
            db2.postgres.start_standby("db1")
            until(lambda: caught_up(db2, db1))
            yield db1, db2


@pytest.fixture
def both(pair: tuple[Node, Node]) -> tuple[Node, Node]:
    """Both run with HIGH before each test, db1 as primary, whatever the last one left."""
    db1, db2 = pair
    for node in pair:
        node.postgres.stop(STOP_S)
        say(node, **dict.fromkeys(SETTINGS, HIGH))
    db1.postgres.start_primary()
    db2.postgres.start_standby("db1")
    until(lambda: caught_up(db2, db1))
    return pair


def quiet(_line: str) -> None: ...


def say(node: Node, **values: int) -> None:
    """What the playbook does: the file says it from now on, of two lines the later."""
    text = node.plan.config_file.read_text()
    lines = "".join(f"{name}={value}\n" for name, value in values.items())
    # The agent's file stays the last, as the role has it.
    include = f"include_if_exists '{node.plan.agent_config_file}'\n"
    before = text.replace(f"include_if_exists='{node.plan.agent_config_file}'\n", "").replace(include, "")
    node.plan.config_file.write_text(before + lines + include)


def running(node: Node, name: str) -> tuple[int, bool]:
    """What it runs with, and whether it says that a restart would change that."""
    rows = node.sql("SELECT name, setting, pending_restart FROM pg_settings")
    [(setting, pending)] = [row[1:] for row in rows if row[0] == name]
    return int(setting), pending


def caught_up(standby: Node, primary: Node) -> bool:
    here, there = look(standby), look(primary)
    return here.streaming and here.replayed_lsn >= there.received_lsn


def restart(node: Node) -> None:
    node.postgres.stop(STOP_S)
    if node.name == "db1":
        node.postgres.start_primary()
    else:
        node.postgres.start_standby("db1")


@pytest.mark.parametrize("name", SETTINGS)
def test_a_standby_with_a_lowered_file_comes_up_as_its_primary_runs(
    both: tuple[Node, Node], name: str
) -> None:
    db1, db2 = both
    say(db1, **{name: LOW})
    say(db2, **{name: LOW})

    restart(db2)

    until(lambda: caught_up(db2, db1))
    until(lambda: running(db2, name) == (HIGH, True))

    # The primary first: from then on a standby comes up with what the files say.
    restart(db1)
    assert running(db1, name) == (LOW, False)
    until(lambda: caught_up(db2, db1))
    restart(db2)
    until(lambda: caught_up(db2, db1))
    assert running(db2, name) == (LOW, False)


def test_the_playbook_tells_what_becomes_lower_from_what_becomes_higher(both: tuple[Node, Node]) -> None:
    """By the statements of the role's own proof."""
    _db1, db2 = both
    proof = Path("roles/postgresql/files/prove.sh").read_text()
    statements = proof.partition("<<'SQL'")[2].partition("\n")[2].partition("\nSQL")[0].split(";\n")
    say(db2, max_connections=LOW, max_wal_senders=HIGHER, shared_buffers=4096)

    for _start in ("as it ran", "raised by the agent"):
        db2.sql("SELECT pg_reload_conf()")
        until(lambda: running(db2, "max_connections") == (HIGH, True))
        told = [row[0] for statement in statements for row in db2.sql(statement.rstrip(";")) or ()]
        assert "lower: max_connections" in told
        assert (
            ("restart: max_wal_senders" in told)
            == ("restart: shared_buffers" in told)
            == (_start == "as it ran")
        )
        assert not [line for line in told if line and line.startswith("problem")]
        restart(db2)


def test_a_file_that_says_more_than_the_primary_is_obeyed(both: tuple[Node, Node]) -> None:
    db1, db2 = both
    say(db2, max_connections=HIGHER)

    restart(db2)

    until(lambda: caught_up(db2, db1))
    assert running(db2, "max_connections") == (HIGHER, False)


@pytest.mark.parametrize("name", SETTINGS)
def test_a_primary_raised_first_holds_the_replay_of_its_standby_by_name_until_that_is_restarted(
    both: tuple[Node, Node], name: str
) -> None:
    db1, db2 = both
    say(db1, **{name: HIGHER})
    restart(db1)

    until(lambda: look(db2).held == f"{name} is {HIGH}, the primary's {HIGHER}")
    assert look(db2).streaming, "it goes on receiving"

    restart(db2)  # its file still says less
    until(lambda: caught_up(db2, db1))
    assert (running(db2, name), look(db2).held) == ((HIGHER, True), "")


def test_a_standby_that_was_away_while_its_primary_was_raised_is_held_until_its_next_start(
    both: tuple[Node, Node],
) -> None:
    """Its control file learns of the change by replay, after it came up as its files say."""
    db1, db2 = both
    db2.postgres.stop(STOP_S)
    say(db1, max_connections=HIGHER)
    restart(db1)

    db2.postgres.start_standby("db1")
    until(lambda: look(db2).held != "")

    restart(db2)
    until(lambda: caught_up(db2, db1))
    assert running(db2, "max_connections")[0] == HIGHER


def test_a_replay_that_a_person_paused_is_not_held_by_settings(both: tuple[Node, Node]) -> None:
    _db1, db2 = both
    db2.sql("SELECT pg_wal_replay_pause()")
    until(lambda: db2.sql("SELECT pg_get_wal_replay_pause_state()") == [("paused",)])

    assert look(db2).held == ""


def test_a_standby_whose_replay_is_held_is_promoted_after_one_more_start(both: tuple[Node, Node]) -> None:
    """Last in this file: it ends db1's reign."""
    db1, db2 = both
    say(db1, max_connections=HIGHER)
    restart(db1)
    until(lambda: look(db2).held != "")
    db1.sql("CREATE TABLE after_the_change (i int)")
    until(lambda: look(db2).received_lsn >= look(db1).received_lsn)
    db1.unit.kill(5)

    began = SystemClock().now()
    with pytest.raises(PostgresFailed, match="max_connections"):
        db2.postgres.promote(60, began + 60, above=1)
    assert SystemClock().now() - began < 30, "PostgreSQL would not say no: it would only never do it"

    db2.postgres.stop(STOP_S)
    db2.postgres.start_standby("")
    assert db2.postgres.promote(60, SystemClock().now() + 60, above=1) == 2
    assert look(db2).state is ServerState.PRIMARY
    assert db2.sql("SELECT count(*) FROM after_the_change") == [(0,)]

    # The new primary runs with more than its file says; in place it takes that, and nobody is in its way.
    db2.postgres.stop(STOP_S)
    db2.postgres.start_primary()
    assert running(db2, "max_connections") == (HIGH, False)
