"""`failoverctl` is asked on hosts that are busy, by people who wait: it loads what its command needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("botocore", "psycopg", "cheroot")  # each a third of a second on a slow core, and more


@pytest.mark.parametrize("module", HEAVY)
def test_who_asks_for_the_status_loads_no_client_of_ec2_or_postgresql(module: str) -> None:
    loads = f"import sys, failover_agent.cli.ctl; sys.exit({module!r} in sys.modules)"

    assert subprocess.run([sys.executable, "-c", loads]).returncode == 0
