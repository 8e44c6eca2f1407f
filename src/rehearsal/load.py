"""More work than two cores can do: pgbench, programs that burn time, clients that lock each other out."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

from rehearsal.cluster import Cluster
from rehearsal.errors import BuildFailed

CLIENTS = 200
LOCKERS = 30
HOGS = 4
SCALE = 5
CONNECTIONS = CLIENTS + LOCKERS + 70  # what max_connections must be: ours, the server's own, people's
PREPARE_S = 180

# Everybody who moves money waits for whoever has the lock.
STORM = "begin;\nlock table pgbench_branches in access exclusive mode;\nselect pg_sleep(0.005);\ncommit;\n"
HOG = "for n in $(seq {count}); do timeout {seconds:.0f} sh -c 'while :; do :; done' & done; wait"


def prepare(cluster: Cluster) -> None:
    """The tables of pgbench, made once."""
    words = ("pgbench", "-i", "-q", "-s", str(SCALE), "service=writer")
    made = "select to_regclass('pgbench_accounts') is not null"
    if cluster.lab.execute(cluster.app, "psql", "-XAtqc", made, "service=writer").strip() != "t":
        cluster.lab.execute(cluster.app, *words, timeout_s=PREPARE_S)


@contextmanager
def load(cluster: Cluster, primary: str, seconds: float) -> Iterator[None]:
    """The load while the block runs, for `seconds`; `prepare` was called before."""
    lab, bench = cluster.lab, f"pgbench -n -T {seconds:.0f} -j 2"
    storm = (
        f"printf '%s' '{STORM}' >/tmp/storm.sql; exec {bench} -c {LOCKERS} -f /tmp/storm.sql service=writer"
    )
    commands = (
        lab.command("exec", primary, "--", "sh", "-c", HOG.format(count=HOGS, seconds=seconds)),
        lab.command("exec", cluster.app, "--", "sh", "-c", f"exec {bench} -c {CLIENTS} service=writer"),
        lab.command("exec", cluster.app, "--", "sh", "-c", storm),
    )
    started = [
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for command in commands
    ]
    try:
        yield
        for process in started:
            _, said = process.communicate(timeout=seconds + 120)
            if process.returncode:
                raise BuildFailed(
                    f"the load ended with {process.returncode}: {said.strip()[-500:]}",
                    hint=f"It needs max_connections {CONNECTIONS}; `./run measure` asks for that.",
                )
    finally:
        for process in started:
            if process.poll() is None:
                process.kill()
                process.wait()
