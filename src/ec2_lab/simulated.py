"""What of AWS the lab simulates, collected from the modules that do it.

    python -m ec2_lab.simulated > docs/lab.md

A module lists its behaviours in its docstring, one a bullet: `- [kind] behaviour <source>`. `documented`
means that AWS says so at the source named; `assumed` that we believe it.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PACKAGE = Path(__file__).parent
HEADING = "\nSimulated:\n"
KINDS = ("documented", "assumed", "not simulated", "not supported by the lab")
_BULLET = re.compile(r"\[(?P<kind>[^]]+)\] (?P<behaviour>.+?)(?: <(?P<source>[^<>]+)>)?")

PAGE = """\
# The lab: an EC2 region on one Linux machine

This page is made by `python -m ec2_lab.simulated > docs/lab.md`.

    controller ── ec2-lab, Ansible, any AWS client
        │ http://127.0.0.1:PORT                     │ Unix socket, root only: faults, hosts, history
        ▼                                           ▼
    ┌ daemon, one per lab ──────────────────────────────────────────────────────────┐
    │  door    the API: faults, request limits, rights, EC2's rules ─▶ moto         │
    │  engine  what the API states becomes true: machines boot, cables are plugged  │
    └──────┬─────────────────────────────────────────────────────────────┬──────────┘
           ▼                                                             ▼
      vpc: the router namespace                                hosts: systemd-nspawn
      a kernel table per route table,                          own systemd, cgroup, disks
      nftables for security groups,                            on loop devices
      checks and the internet gateway
           ├── eni-… ── eth0  db1      ├── svc ── gateway endpoints: DynamoDB, S3
           ├── eni-… ── eth0  nat-a    └── igw ── the internet: the API's addresses
           └── lo: 169.254.169.254, the metadata service

A call passes, in this order: the delay of `api slow`, the bucket of `api throttle`, the endpoint it came
to, the account's request limits, the caller's rights, EC2's own rules, moto, the kernel, the history.
Everything from the limits on happens under one lock, so what is atomic in AWS is atomic here.

## Faults

| `ec2-lab fault …` | what happens | undone by |
|---|---|---|
| `crash HOST` | power loss: what was not synced is lost, hung disks are freed | `start HOST` |
| `pause HOST` | every process stands still, nothing leaves or reaches the host | `resume HOST` |
| `cut HOST [--from PEER] [--one-way]` | packets vanish; one way: only those that HOST sends | `heal HOST` |
| `disk-hang HOST` | writers to the data volume wait | `disk-free HOST` |
| `disk-fill HOST` | the data volume has no free block | `disk-empty HOST` |
| `api down` | the API's addresses are out of reach | `api up` |
| `api slow SECONDS` | every answer takes that much longer | `api slow 0` |
| `api throttle RATE` | RequestLimitExceeded above RATE calls a second | `api throttle 0` |
| `api stale SECONDS` | EC2's Describe answers are that old | `api stale 0` |
| `api late-routes SECONDS` | route changes are answered at once and made later | `api late-routes 0` |
| `api lost-answers on` | calls take effect, the connection just closes | `api lost-answers off` |

Every verb may be repeated. Faults of the API hit callers inside the VPC, never the controller;
`ec2-lab status` shows those that are on. `ec2-lab history` shows who called what, when, and the answer,
with the fault that touched it; all of it stands in `/run/ec2-lab/LAB/api-history.jsonl`.

Labs of different names (`ec2-lab --lab NAME`) run side by side and share only the host image. A lab
whose daemon was killed is removed by the next `up` or `down` of its name.

`python -m ec2_lab.probe --lab NAME` reads the API, works out what every pair of hosts may say to each
other and to the route tables' other destinations, and sends the packets that prove it.

## What is simulated

*Documented*: AWS says so at the source named. *Assumed*: we believe it, or chose it; where AWS is known
to differ, it is said.
"""


class NotABehaviour(ValueError):
    """A bullet of a list that is not written as the table needs it."""


@dataclass(frozen=True, slots=True)
class Behaviour:
    module: str
    kind: str
    behaviour: str
    source: str


def behaviours(package: Path = PACKAGE) -> Iterator[Behaviour]:
    """All of them, in the order of the modules' names."""
    for file in sorted(package.rglob("*.py")):
        docstring = ast.get_docstring(ast.parse(file.read_text())) or ""
        module = ".".join((package.name, *file.relative_to(package).with_suffix("").parts))
        listed = docstring.partition(HEADING)[2]
        for bullet in re.split(r"^- ", listed, flags=re.MULTILINE)[1:]:
            yield _read(module, " ".join(bullet.split()))


def _read(module: str, bullet: str) -> Behaviour:
    found = _BULLET.fullmatch(bullet)
    if found is None or not found["kind"].startswith(KINDS):
        raise NotABehaviour(f"{module}: {bullet}")
    if found["kind"].startswith("documented") and not found["source"]:
        raise NotABehaviour(f"{module}: documented, but where? {bullet}")
    return Behaviour(module, found["kind"], found["behaviour"], found["source"] or "")


def page() -> str:
    lines = [PAGE]
    module = ""
    for one in behaviours():
        if one.module != module:
            module = one.module
            lines += [f"### `{module}`", "", "| behaviour | kind | source |", "|---|---|---|"]
        cells = (one.behaviour, one.kind, one.source or "-")
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    text = "\n".join(lines)
    return re.sub(r"(\|)\n(### )", r"\1\n\n\2", text) + "\n"


if __name__ == "__main__":
    sys.stdout.write(page())
