"""Making a data directory: initdb for the first node, a base backup for every other.

Both work in a directory beside the data directory and take its place only when whole; what stood
there before is kept (PROTOCOL N5).
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import hmac
import re
import secrets
import shutil
import time
from pathlib import Path

from failover_agent.adapters import files, programs
from failover_agent.adapters.postgres import settings
from failover_agent.adapters.postgres.interrupted import forget_rewind
from failover_agent.adapters.postgres.logins import is_wrong_password, refused
from failover_agent.adapters.postgres.plan import REPLICATOR, REWINDER, SUPERUSER, PostgresPlan
from failover_agent.errors import DataDirectoryRefused, PostgresFailed
from failover_agent.killpoints import at
from failover_agent.ports import Progress

INIT_TIMEOUT_S = 300.0
CLONE_TIMEOUT_S = 24 * 3600.0
_BUILTIN_LOCALES_SINCE = 17
_SCRAM_ITERATIONS = 4096  # PostgreSQL's own default

# What pg_rewind's documentation asks for, "Notes": a role of its own instead of a superuser.
_REWIND_FUNCTIONS = (
    "pg_ls_dir(text, boolean, boolean)",
    "pg_stat_file(text, boolean)",
    "pg_read_binary_file(text)",
    "pg_read_binary_file(text, bigint, bigint, boolean)",
)


def init(plan: PostgresPlan, progress: Progress) -> None:
    """Raises DataDirectoryRefused over existing data, PostgresFailed when a program fails."""
    if plan.data_dir.exists() and any(plan.data_dir.iterdir()):
        raise DataDirectoryRefused(
            f"{plan.data_dir} is not empty", hint="Move it away if this is to be a fresh cluster."
        )
    place = _fresh(plan, "init")
    progress("initdb")
    # The builtin provider's collation never changes with the C library: no reindexing after an upgrade.
    locale = (
        ("--locale-provider=builtin", "--builtin-locale=C.UTF-8")
        if plan.version >= _BUILTIN_LOCALES_SINCE
        else ()
    )
    _must(
        plan,
        (
            plan.program("initdb"),
            f"--pgdata={place}",
            "--data-checksums",
            "--auth-local=peer",
            "--auth-host=scram-sha-256",
            f"--username={SUPERUSER}",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            *locale,
        ),
    )
    progress("creating the cluster's own roles")
    create, grants = role_statements(plan)
    single_user(plan, place, [*create, *grants])
    settings.put_standby_signal(plan, place)
    _take_place(plan, place)


def role_statements(plan: PostgresPlan) -> tuple[list[str], list[str]]:
    """What makes the cluster's own roles, and what gives them their rights."""
    replicator, rewinder = (
        scram_verifier(settings.read_secret(path)) for path in (plan.replication_secret, plan.rewind_secret)
    )
    create = [
        f"CREATE ROLE {REPLICATOR} LOGIN REPLICATION PASSWORD '{replicator}'",
        f"CREATE ROLE {REWINDER} LOGIN PASSWORD '{rewinder}'",
    ]
    grants = [
        f"GRANT EXECUTE ON FUNCTION pg_catalog.{function} TO {REWINDER}" for function in _REWIND_FUNCTIONS
    ]
    return create, grants


def scram_verifier(password: str, salt: bytes | None = None) -> str:
    """What PostgreSQL stores for a SCRAM password (RFC 5803); so no password is in any statement or log.

    For ASCII passwords; others would need SASLprep.
    """
    if not password.isascii():
        raise PostgresFailed(
            "a secret holds other than ASCII characters", hint="Make it anew by the playbook."
        )
    salt = salt if salt is not None else secrets.token_bytes(16)
    salted = hashlib.pbkdf2_hmac("sha256", password.encode(), salt, _SCRAM_ITERATIONS)
    stored = hashlib.sha256(hmac.digest(salted, b"Client Key", "sha256")).digest()
    server = hmac.digest(salted, b"Server Key", "sha256")
    one, two, three = (base64.b64encode(part).decode() for part in (salt, stored, server))
    return f"SCRAM-SHA-256${_SCRAM_ITERATIONS}:{one}${two}:{three}"


def single_user(
    plan: PostgresPlan, data_dir: Path, statements: list[str], config_file: Path | None = None
) -> None:
    """A server without a socket, reading statements from its standard input: nobody else can be there."""
    settings_of = ("-c", f"config_file={config_file}") if config_file else ()
    argv = (plan.program("postgres"), "--single", "-D", str(data_dir), *settings_of, "postgres")
    done = _run(plan, argv, stdin="".join(f"{statement};\n" for statement in statements))
    # It exits with 0 also after a statement that failed.
    wrong = [line for line in done.err.splitlines() if re.search(r"\b(ERROR|FATAL|PANIC):", line)]
    if not done.ok or wrong:
        raise PostgresFailed(
            f"single-user PostgreSQL: {wrong[0] if wrong else done.last_words()}", hint="See the message."
        )


def clone(plan: PostgresPlan, upstream: str, progress: Progress) -> None:
    """Raises PostgresFailed; the data directory is then as it was."""
    settings.write_passfile(plan)
    place = _fresh(plan, "clone")
    # Its name is in no list of synchronous standbys: a copy in the making vouches for nothing (S5).
    source = plan.conninfo(upstream, user=REPLICATOR, application_name=f"clone-{plan.node}")
    progress("clone")

    def tell(line: str) -> None:
        if found := re.search(r"\((\d+)%\)", line):
            progress(f"clone {found.group(1)} %")

    argv = (
        plan.program("pg_basebackup"),
        f"--pgdata={place}",
        f"--dbname={source}",
        "--wal-method=stream",
        "--checkpoint=fast",
        "--no-password",
        "--progress",
        *plan.sync_option,
    )
    try:
        done = programs.run(argv, timeout_s=CLONE_TIMEOUT_S, user=plan.user, on_line=tell)
    except programs.TookTooLong as error:
        raise PostgresFailed(
            f"clone of {upstream}: {error}", hint="The network is too slow for it."
        ) from error
    if is_wrong_password(done.err):
        raise refused(REPLICATOR, upstream, plan.replication_secret, done.err)
    if not done.ok:
        raise PostgresFailed(
            f"pg_basebackup from {upstream}: {done.last_words()}",
            hint=f"Check the space beside {plan.data_dir}, and pg_hba and the gate of {upstream}.",
        )
    settings.put_standby_signal(plan, place)
    _take_place(plan, place)
    forget_rewind(plan)


def utc_name() -> str:
    return time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())


def _fresh(plan: PostgresPlan, what: str) -> Path:
    """An empty directory beside the data directory; unfinished ones of earlier attempts go first."""
    parent = plan.data_dir.parent
    for old in parent.glob(f"{plan.data_dir.name}.{what}-*"):
        shutil.rmtree(old, ignore_errors=True)
    place = parent / f"{plan.data_dir.name}.{what}-{utc_name()}"
    try:
        if not parent.exists():
            parent.mkdir(mode=0o700)
            settings.give_to_postgres(plan, parent, 0o700)
        place.mkdir(mode=0o700)
        settings.give_to_postgres(plan, place, 0o700)
    except OSError as error:
        raise PostgresFailed(
            f"{place}: {error.strerror or error}", hint="Is the data volume mounted?"
        ) from error
    return place


def _take_place(plan: PostgresPlan, place: Path) -> None:
    """The one step that counts: `place` becomes the data directory, an old one is moved aside."""
    at("copied-before-place")
    try:
        with contextlib.suppress(OSError):
            plan.data_dir.rmdir()  # an empty one is worth nothing
        if plan.data_dir.exists():
            plan.data_dir.rename(plan.data_dir.with_name(f"{plan.data_dir.name}.kept-{utc_name()}"))
        at("aside-before-place")
        place.rename(plan.data_dir)
        files.sync_directory(plan.data_dir.parent)
    except OSError as error:
        raise PostgresFailed(
            f"{place} could not take its place: {error}", hint="Look at the volume."
        ) from error


def _must(plan: PostgresPlan, argv: tuple[str, ...]) -> None:
    done = _run(plan, argv)
    if not done.ok:
        raise PostgresFailed(f"{Path(argv[0]).name}: {done.last_words()}", hint="See the message.")


def _run(plan: PostgresPlan, argv: tuple[str, ...], stdin: str = "") -> programs.Finished:
    try:
        return programs.run(argv, stdin=stdin, timeout_s=INIT_TIMEOUT_S, user=plan.user)
    except (programs.TookTooLong, OSError) as error:
        raise PostgresFailed(f"{Path(argv[0]).name}: {error}", hint="Is PostgreSQL installed?") from error
