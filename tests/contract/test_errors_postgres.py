"""What can be wrong with passwords and data directories, on real PostgreSQL: named, and left alone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from failover_agent.adapters.postgres import make, on_disk
from failover_agent.adapters.postgres.logins import prove_login
from failover_agent.adapters.postgres.plan import REPLICATOR, REWINDER, PostgresPlan
from failover_agent.core import verdicts
from failover_agent.core.model import Holder, LeaseItem, LeaseSeen, Member, Server, ServerState, Unknown
from failover_agent.core.rules import decide
from failover_agent.core.snapshot import Snapshot
from failover_agent.core.timings import PROFILES
from failover_agent.errors import (
    DataDirectoryDamaged,
    DataDirectoryRefused,
    ForeignDataDirectory,
    HalfClonedDirectory,
    LoginRefused,
    PasswordRefused,
)

from .namespaces import entered
from .postgres_nodes import Node, empty_nodes, look

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]

WRONG = "not-the-password"
ROLES = {REPLICATOR: "replication_secret", REWINDER: "rewind_secret"}
DB1, DB2 = Member("db1", "10.9.0.1", "a", "i-1"), Member("db2", "10.9.0.2", "b", "i-2")


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Node, Node]]:
    """db1 is a running primary, db2 has nothing."""
    with empty_nodes() as nodes:
        nodes[0].postgres.init(quiet)
        nodes[0].postgres.start_primary()
        yield nodes


@pytest.fixture
def empty(pair: tuple[Node, Node]) -> Iterator[Node]:
    """db2, with nothing where its data will be."""
    yield pair[1]
    shutil.rmtree(pair[1].plan.data_dir, ignore_errors=True)


def quiet(_line: str) -> None: ...


def files(place: Path) -> dict[str, tuple[int, int]]:
    """Every file below, with size and time of change."""
    stats = {path: path.lstat() for path in sorted(place.rglob("*"))}
    return {str(path.relative_to(place)): (s.st_size, s.st_mtime_ns) for path, s in stats.items()}


def with_wrong(plan: PostgresPlan, role: str, place: Path) -> PostgresPlan:
    secret = place / f"wrong-{role}"
    secret.write_text(f"{WRONG}\n")
    return replace(plan, **{ROLES[role]: secret})  # type: ignore[arg-type]  # both are paths


@pytest.mark.parametrize("role", ROLES)
def test_a_wrong_password_is_told_from_a_right_one_and_never_shown(
    pair: tuple[Node, Node], role: str, tmp_path: Path
) -> None:
    node = pair[1]
    wrong = with_wrong(node.plan, role, tmp_path)

    with entered(node.namespace):
        prove_login(node.plan, "db1", role)
        with pytest.raises(PasswordRefused) as refused:
            prove_login(wrong, "db1", role)

    error = refused.value
    assert error.object == f"password of role {role} in {tmp_path}/wrong-{role}"
    assert error.value == "refused by db1"
    assert WRONG not in str(error.fields())
    assert error.hint


def test_a_clone_with_a_wrong_password_says_so_and_leaves_the_place_as_it_was(
    empty: Node, tmp_path: Path
) -> None:
    parent = empty.plan.data_dir.parent
    wrong = with_wrong(empty.plan, REPLICATOR, tmp_path)

    with entered(empty.namespace), pytest.raises(PasswordRefused) as refused:
        make.clone(wrong, "db1", quiet)

    assert refused.value.value == "refused by db1"
    assert not empty.plan.data_dir.exists()
    assert not list(parent.glob("*.kept-*"))

    with entered(empty.namespace):
        make.clone(empty.plan, "db1", quiet)
    assert empty.postgres.observe() != Server(ServerState.ABSENT), "with the right one it is cloned"


def test_a_server_that_is_away_is_no_wrong_password(pair: tuple[Node, Node]) -> None:
    """db2 does not run: whoever asks it is refused, whatever the password."""
    with entered(pair[0].namespace), pytest.raises(LoginRefused) as refused:
        prove_login(pair[0].plan, "db2", REPLICATOR)

    assert not isinstance(refused.value, PasswordRefused)
    assert refused.value.object == "login of role replicator at db2"


def test_a_half_cloned_directory_is_named_never_started_and_left_as_it_is(empty: Node) -> None:
    with entered(empty.namespace):
        make.clone(empty.plan, "db1", quiet)
    control = empty.plan.data_dir / "global/pg_control"
    content = control.read_bytes()
    control.unlink()
    before = files(empty.plan.data_dir)

    half = empty.postgres.observe()

    assert isinstance(half, Unknown)
    assert type(half.cause) is HalfClonedDirectory
    assert str(empty.plan.data_dir) in half.cause.object
    assert "global/pg_control" in half.cause.value
    assert decided(half) == "blind"
    assert files(empty.plan.data_dir) == before

    control.write_bytes(content)
    assert look(empty).state is ServerState.STOPPED


def test_a_copy_broken_off_before_it_looked_like_one_is_named_and_no_place_for_initdb(empty: Node) -> None:
    (empty.plan.data_dir / "base").mkdir(parents=True)
    before = files(empty.plan.data_dir)

    with pytest.raises(HalfClonedDirectory):
        on_disk.refuse_half_cloned(empty.plan.data_dir)
    with pytest.raises(DataDirectoryRefused):
        empty.postgres.init(quiet)
    assert files(empty.plan.data_dir) == before

    (empty.plan.data_dir / "base").rmdir()
    on_disk.refuse_half_cloned(empty.plan.data_dir)


def test_a_damaged_control_file_is_named(empty: Node) -> None:
    with entered(empty.namespace):
        make.clone(empty.plan, "db1", quiet)
    path = empty.plan.data_dir / "global/pg_control"
    content = bytearray(path.read_bytes())
    content[20] ^= 0xFF
    path.write_bytes(content)
    before = files(empty.plan.data_dir)

    seen = empty.postgres.observe()

    assert isinstance(seen, Unknown)
    assert type(seen.cause) is DataDirectoryDamaged
    assert files(empty.plan.data_dir) == before


def test_a_foreign_directory_is_named_with_both_systems_and_left_as_it_is(
    pair: tuple[Node, Node], empty: Node
) -> None:
    """The volume of another cluster: its own initdb gave it another system identifier."""
    ours = look(pair[0])
    make.init(empty.plan, quiet)
    before = files(empty.plan.data_dir)

    theirs = look(empty)

    item = lease(ours.system_identifier)
    [error] = verdicts.data_is_ours(str(empty.plan.data_dir), theirs.system_identifier, item)
    assert type(error) is ForeignDataDirectory
    assert theirs.system_identifier in error.value
    assert ours.system_identifier in error.expected
    assert decided(theirs, ours.system_identifier) == "foreign-data"
    assert decided(theirs, theirs.system_identifier) != "foreign-data"
    with pytest.raises(DataDirectoryRefused):
        empty.postgres.init(quiet)
    assert files(empty.plan.data_dir) == before


def lease(system: str) -> LeaseItem:
    return LeaseItem("c", system, Holder("db1", "i-1", "n1"), 7, "t1", 6, 1, 500)


def decided(server: Server | Unknown, system: str = "s1") -> str:
    seen = LeaseSeen(lease(system), 999.5, 999.9)
    stopped = Server(ServerState.STOPPED, system)
    snapshot = Snapshot(1000.0, DB2, (DB1,), PROFILES["balanced"], 1000, server, seen, server_before=stopped)
    return decide(snapshot).rule
