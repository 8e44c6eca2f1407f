"""`failover-agent`: the daemon, under systemd with Type=notify and WatchdogSec."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import click

from failover_agent import config as configuration
from failover_agent.cli.version import own_version
from failover_agent.errors import AgentError
from failover_agent.shell.journal import to_stdout
from failover_agent.wiring import Wired, open_doors, wire


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    default=configuration.DEFAULT_PATH,
    show_default=True,
    help="The configuration file.",
)
@click.version_option(own_version(), message="%(version)s")
def main(path: Path) -> None:
    """Keep exactly one writable PostgreSQL, as far as this node can."""
    to_stdout()
    try:
        config = configuration.load(path)
        wired = wire(config, own_version())
        open_doors(config, wired)
    except AgentError as error:
        click.echo(str(error), err=True)
        sys.exit(1)
    live(wired)


def live(wired: Wired) -> None:
    """Run until SIGTERM. PostgreSQL, gate and lease go on, and the next process takes them up."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: wired.agent.stop())
    wired.agent.run()
    # Nothing is left to tidy that the kernel does not, and every second until the next process holds
    # the lease counts: no thread of a door is waited for.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
