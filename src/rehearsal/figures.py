"""Medians and ranges of rehearsed steps, and the page that shows them. Pure but for the date."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

from rehearsal.steps import StepResult

HEAD = ("step", "runs", "outage, s", "old primary streams again after, s", "lost", "double", "late")

# What we promise of the profile `fast`: medians in seconds.
PROMISED_S = {"power_loss": 4.0, "postmaster_killed": 1.5, "switchover": 0.5}
REPMGR_SWITCHOVER_S = 0.33


@dataclass(frozen=True, slots=True)
class Measured:
    """All steps of one profile."""

    profile: str
    steps: tuple[StepResult, ...]
    versions: dict[str, str]


def rows(steps: Sequence[StepResult]) -> list[tuple[str, ...]]:
    """One row per kind of step, in the words of HEAD."""
    found: list[tuple[str, ...]] = []
    for name in dict.fromkeys(step.name for step in steps):
        these = [step for step in steps if step.name == name]
        found.append(
            (
                name.replace("_", " "),
                str(len(these)),
                spread([step.outage_s for step in these], 2),
                spread([step.rejoined_s for step in these], 1),
                str(sum(step.lost for step in these)),
                str(sum(step.double for step in these)),
                str(sum(step.late for step in these)),
            )
        )
    return found


def spread(values: Sequence[float], digits: int) -> str:
    """Median (minimum-maximum)."""
    median = f"{statistics.median(values):.{digits}f}"
    return f"{median} ({min(values):.{digits}f}-{max(values):.{digits}f})"


def phase_rows(steps: Sequence[StepResult]) -> list[tuple[str, ...]]:
    """One row per kind of step that has phases: medians of the seconds since the fault."""
    found = []
    for name in dict.fromkeys(step.name for step in steps):
        these = [step.phases for step in steps if step.name == name]
        values = [[p[phase] for p in these if phase in p] for phase in PHASES]
        medians = [f"{statistics.median(v):.2f}" if v else "-" for v in values]
        found.append((name.replace("_", " "), *medians))
    return found


PHASES = ("detected", "claimed", "promoted", "opened", "routed", "first_write")


def missed(measured: Sequence[Measured]) -> list[str]:
    """Promises of the profile `fast` that this measurement does not keep."""
    said = []
    for one in measured:
        for name, limit_s in PROMISED_S.items() if one.profile == "fast" else ():
            outages = [step.outage_s for step in one.steps if step.name == name]
            if outages and (median := statistics.median(outages)) > limit_s:
                said.append(f"{name.replace('_', ' ')}: {median:.2f} s, promised {limit_s:g} s")
    return said


def as_page(measured: Sequence[Measured], command: str, nodes: int) -> str:
    """docs/measured.md."""
    versions = measured[0].versions
    machine = f"{os.cpu_count()} cores, kernel {versions['kernel']}, {versions['host']}"
    lines = [
        "# Measured",
        "",
        f"Made by `{command}`",
        f"on {time.strftime('%Y-%m-%d', time.gmtime())}: {machine}, {versions['postgresql']},",
        f"{versions['agent']}, async mode, {nodes} nodes in the lab on one machine.",
        "Median (minimum-maximum).",
        "",
        "The outage is the longest time in which a client that writes an id every 10 ms through the virtual",
        "address got no answer. *Lost*: acknowledged ids that the final primary does not have; async mode",
        "allows what had not reached the standby, and every other loss fails the command. *Double*: ids",
        "acknowledged by a node after another node had begun to acknowledge on a newer timeline. *Late*: ids",
        "that a deposed node acknowledged after its lease had ended. The agent is stopped, and the host",
        "paused, for 60 s; a cut-off host is mended as soon as another node serves. *Streams again* counts",
        "from when the power is back, the cut mended, the agent or host awake, else from the fault.",
        "",
    ]
    for one in measured:
        lines += [f"## Profile `{one.profile}`", "", *_table(HEAD, rows(one.steps)), ""]
        lines += [
            "Medians of the seconds from the fault to each phase, as the agents' journals have them:",
            "",
        ]
        lines += [*_table(("step", *PHASES), phase_rows(one.steps)), ""]
    lines += [
        "## Beside others",
        "",
        "On such a machine with the same kind of client: power loss Patroni 32 s by default",
        "and 22 s at its shortest documented settings, PAF 12 s; switchover repmgr 0.33 s, Patroni 1.4 s.",
        "With a stopped agent and no watchdog Patroni lost over 4,000 acknowledged writes to two primaries.",
        *_where_behind(measured),
        "",
    ]
    return "\n".join(lines)


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    return [
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
        *("| " + " | ".join(r) + " |" for r in body),
    ]


def _where_behind(measured: Sequence[Measured]) -> list[str]:
    lines = [f"We miss what we promise of `fast`: {said}." for said in missed(measured)]
    behind = [
        f"`{one.profile}`"
        for one in measured
        if (ours := [s.outage_s for s in one.steps if s.name == "switchover"])
        and statistics.median(ours) > REPMGR_SWITCHOVER_S
    ]
    if behind:
        lines.append(f"We are behind in {' and '.join(behind)}: repmgr's switchover is quicker than ours.")
    return ["", *lines] if lines else []
