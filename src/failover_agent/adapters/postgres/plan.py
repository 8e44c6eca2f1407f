"""Where PostgreSQL's parts are on this node, and how it reaches the other members."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from failover_agent.errors import PostgresFailed

SUPERUSER = "postgres"
REPLICATOR = "replicator"
REWINDER = "rewinder"

# A walreceiver whose primary lost power shall notice within a few seconds, and so shall a clone.
_KEEPALIVE = (
    "keepalives=1 keepalives_idle=3 keepalives_interval=1 keepalives_count=3"
    " tcp_user_timeout=5000 connect_timeout=3"
)


@dataclass(frozen=True, slots=True)
class PostgresPlan:
    node: str
    version: int
    bin_dir: Path
    data_dir: Path
    config_file: Path
    agent_config_file: Path
    user: str
    socket_dir: Path
    port: int
    replication_port: int
    members: Mapping[str, str]  # name → address
    tls_ca: Path
    replication_secret: Path
    rewind_secret: Path
    run_dir: Path
    state_dir: Path

    @property
    def wal_dir(self) -> Path:
        return self.data_dir / "pg_wal"

    @property
    def standby_signal(self) -> Path:
        return self.data_dir / "standby.signal"

    @property
    def slots_config_file(self) -> Path:
        """Read through agent.conf. A file of its own: whoever changes slots cannot bring an upstream back."""
        return self.agent_config_file.with_name("slots.conf")

    @property
    def brings_logical_slots(self) -> bool:
        """Since 17 a standby takes over the primary's logical slots that ask for it (`failover`)."""
        return self.version >= 17

    @property
    def passfile(self) -> Path:
        """Beside agent.conf: PostgreSQL's user can reach it there, and a restart of the host keeps it."""
        return self.agent_config_file.with_name("pgpass")

    @property
    def may_start(self) -> Path:
        """PostgreSQL's unit starts only while this file is there (PROTOCOL N1)."""
        return self.run_dir / "may-start"

    @property
    def sync_option(self) -> tuple[str, ...]:
        """How pg_rewind and pg_basebackup make their work durable: one call per file system since 17."""
        return ("--sync-method=syncfs",) if self.version >= 17 else ()

    @property
    def rewind_option(self) -> tuple[str, ...]:
        """Where pg_rewind finds the settings. Before 15 it refuses the option, and needs none: it reads them
        for crash recovery, which is done before, and for `--restore-target-wal`."""
        return (f"--config-file={self.config_file}",) if self.version >= 15 else ()

    def program(self, name: str) -> str:
        return str(self.bin_dir / name)

    def conninfo(self, upstream: str, *, user: str, application_name: str, database: str = "") -> str:
        """libpq's string for another member's replication port; no password in it."""
        address = self.members.get(upstream)
        if address is None:
            raise PostgresFailed(
                f"{upstream!r} is not among the members {', '.join(sorted(self.members))}",
                hint="Run the playbook so that every node knows every other.",
            )
        parts = [
            f"host={address} port={self.replication_port} user={user} application_name={application_name}",
            f"passfile={self.passfile} sslmode=verify-ca sslrootcert={self.tls_ca}",
            _KEEPALIVE,
        ]
        if database:
            parts.append(f"dbname={database}")
        return " ".join(parts)

    def member_at(self, address: str) -> str:
        """Name of the member with this address; empty when there is none."""
        return next((name for name, own in self.members.items() if own == address), "")
