"""`failover-archive` and `failover-restore`: what stands in front of PostgreSQL's archive_command and
restore_command. No library reads the arguments: they run once per segment, and start time counts."""

from __future__ import annotations

import sys

from failover_agent.adapters import archive

_USAGE = "usage: {} SOCKET-OF-THE-AGENT FILE-NAME SHELL-COMMAND"


def archive_main() -> None:
    """archive_command = 'failover-archive /run/postgresql/.failover-agent %f "COMMAND with %p and %f"'."""
    agent, name, command = _arguments("failover-archive")
    sys.exit(archive.archive(agent, name, command))


def restore_main() -> None:
    """restore_command = 'failover-restore /run/postgresql/.failover-agent %f "COMMAND with %p and %f"'."""
    agent, name, command = _arguments("failover-restore")
    sys.exit(archive.restore(agent, name, command))


def _arguments(program: str) -> tuple[str, str, str]:
    if len(sys.argv) != 4:
        print(_USAGE.format(program), file=sys.stderr)
        sys.exit(2)
    return sys.argv[1], sys.argv[2], sys.argv[3]
