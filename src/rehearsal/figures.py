"""Medians and ranges of rehearsed steps, and the part of a page that shows them. Pure but for the date."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

from rehearsal.calm import GAP_ALLOWED_S, CalmResult
from rehearsal.steps import StepResult

HEAD = ("step", "runs", "outage, s", "old primary streams again after, s", "lost", "double", "late")
CALM_HEAD = (
    "disturbance",
    "runs",
    "for, s",
    "failovers",
    "longest gap between writes, s",
    "of one gap the agent's, s",
    "longest gap of a control, s",
    "lost",
    "double",
)

# What we promise, by mode and profile: medians in seconds.
FAST = {"postmaster_killed": 1.5, "switchover": 0.5}
HUNG = {"storage_hung": 15.0}
PROMISED_S: dict[tuple[str, str], dict[str, float]] = {
    ("async", "fast"): {**FAST, **HUNG, "power_loss": 4.0},
    ("async", "balanced"): HUNG,
    ("quorum", "fast"): {**FAST, **HUNG, "power_loss": 2.0},
    ("quorum", "balanced"): {**HUNG, "power_loss": 3.0},
}
REPMGR_SWITCHOVER_S = 0.33


@dataclass(frozen=True, slots=True)
class Measured:
    """All steps of one profile."""

    profile: str
    steps: tuple[StepResult, ...]
    versions: dict[str, str]
    mode: str = "async"
    calm: tuple[CalmResult, ...] = ()

    @property
    def good(self) -> bool:
        return all(step.good for step in self.steps) and all(result.good for result in self.calm)


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


def calm_rows(results: Sequence[CalmResult]) -> list[tuple[str, ...]]:
    """One row per disturbance, in the words of CALM_HEAD; gaps are the worst of all runs."""
    found: list[tuple[str, ...]] = []
    for name in dict.fromkeys(result.name for result in results):
        these = [result for result in results if result.name == name]
        found.append(
            (
                name.replace("_", " "),
                str(len(these)),
                f"{max(r.seconds for r in these):.0f}",
                str(sum(r.failovers for r in these)),
                f"{max(r.longest_gap_s for r in these):.2f}",
                f"{max(r.agents_gap_s for r in these):.2f}",
                f"{max(r.controls_gap_s for r in these):.2f}",
                str(sum(r.lost for r in these)),
                str(sum(r.double for r in these)),
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
    """Promises that this measurement does not keep."""
    said = []
    for one in measured:
        for name, limit_s in PROMISED_S.get((one.mode, one.profile), {}).items():
            outages = [step.outage_s for step in one.steps if step.name == name]
            if outages and (median := statistics.median(outages)) > limit_s:
                said.append(
                    f"{name.replace('_', ' ')} with `{one.profile}`: {median:.2f} s, promised {limit_s:g} s"
                )
        said += [
            f"{result.name.replace('_', ' ')} with `{one.profile}`: {result.failovers} failovers, a gap of "
            f"{result.agents_gap_s:.2f} s, promised none and at most {GAP_ALLOWED_S:g} s"
            for result in one.calm
            if not result.good
        ]
    return said


def as_part(measured: Sequence[Measured], command: str, nodes: int) -> str:
    """What one command writes into docs/measured.md."""
    versions, mode = measured[0].versions, measured[0].mode
    machine = f"{os.cpu_count()} cores, kernel {versions['kernel']}, {versions['host']}"
    lines = [
        f"## {title(measured, nodes)}",
        "",
        f"Made by `{command}`",
        f"on {time.strftime('%Y-%m-%d', time.gmtime())}: {machine}, {versions['postgresql']},",
        f"{versions['agent']}, mode `{mode}`, {nodes} nodes.",
        "",
    ]
    for one in measured:
        lines += [f"### Profile `{one.profile}`", ""]
        if one.steps:
            lines += [*_table(HEAD, rows(one.steps)), ""]
            lines += ["Medians of the seconds from the fault to each phase, by the agents' journals:", ""]
            lines += [*_table(("step", *PHASES), phase_rows(one.steps)), ""]
        if one.calm:
            lines += [*_table(CALM_HEAD, calm_rows(one.calm)), ""]
    if any(one.calm for one in measured):
        lines += [
            "Two controls ran beside the client: round trips to the primary's host past the gate, and a",
            "client on its Unix socket. *The agent's* is what neither of them shared of a gap; where an",
            "agent took over or had shut its gate, it is the whole gap.",
            "",
        ]
    return "\n".join([*lines, *_where_behind(measured)])


def title(measured: Sequence[Measured], nodes: int) -> str:
    """Names the part: other steps, nodes or modes are another part."""
    one = measured[0]
    names = dict.fromkeys([step.name for step in one.steps] + [result.name for result in one.calm])
    words = ", ".join(names).replace("_", " ")
    return f"{words.capitalize()}: {nodes} nodes, mode `{one.mode}`"


def _table(head: Sequence[str], body: Sequence[Sequence[str]]) -> list[str]:
    return [
        "| " + " | ".join(head) + " |",
        "|" + "---|" * len(head),
        *("| " + " | ".join(r) + " |" for r in body),
    ]


def _where_behind(measured: Sequence[Measured]) -> list[str]:
    lines = [f"We miss what we promise: {said}." for said in missed(measured)]
    behind = [
        f"`{one.profile}`"
        for one in measured
        if (ours := [s.outage_s for s in one.steps if s.name == "switchover"])
        and statistics.median(ours) > REPMGR_SWITCHOVER_S
    ]
    if behind:
        lines.append(f"We are behind in {' and '.join(behind)}: repmgr's switchover is quicker than ours.")
    return [*lines, ""] if lines else []
