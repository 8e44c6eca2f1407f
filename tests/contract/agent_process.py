"""One real agent over real adapters; only its PostgreSQL lives in a plain cgroup instead of systemd's.

python -m tests.contract.agent_process CONFIG CGROUP NAMESPACE
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from failover_agent.cli.daemon import live
from failover_agent.config import load
from failover_agent.shell.journal import to_stdout
from failover_agent.wiring import open_doors, postgres_plan, wire

from .postgres_nodes import CgroupUnit


def main() -> None:
    os.umask(0o077)  # as the unit says
    to_stdout()
    config = load(Path(sys.argv[1]))
    unit = CgroupUnit(sys.argv[2], sys.argv[3], postgres_plan(config))
    wired = wire(config, "test", unit)
    open_doors(config, wired)
    live(wired)


main()
