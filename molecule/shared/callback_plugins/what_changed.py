"""Ansible callback: what a scenario's converge.yml changed, and whether it stands now.

Molecule's `check` succeeds whatever a check run would change. This leaves behind, in PRIMACY_MOLECULE_DIR,
`SCENARIO.json` with what the last run of converge.yml changed, for verify.yml to judge, and `SCENARIO.stands`
once it converged, for stand_on.py.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ansible import context
from ansible.plugins.callback import CallbackBase  # type: ignore[import-untyped]  # Ansible ships no types

DOCUMENTATION = r"""
name: what_changed
type: notification
short_description: Note what a scenario's converge.yml changed
description: [Writes one file per scenario into PRIMACY_MOLECULE_DIR.]
requirements: [enabled in configuration]
"""

PLAYBOOK = "converge.yml"


class CallbackModule(CallbackBase):  # type: ignore[misc]  # Ansible ships no types
    """Collects changed tasks; writes them at the end."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "what_changed"
    CALLBACK_NEEDS_ENABLED = True

    def __init__(self) -> None:
        super().__init__()
        self._scenario = ""
        self._changed: list[str] = []

    def v2_playbook_on_start(self, playbook: Any) -> None:
        path = Path(playbook._file_name)
        if path.name == PLAYBOOK:
            self._scenario = path.resolve().parent.name

    def v2_runner_on_ok(self, result: Any) -> None:
        if result.is_changed():
            self._changed.append(f"{result.host.get_name()}: {result.task.get_name()}")

    def v2_playbook_on_stats(self, stats: Any) -> None:
        if not self._scenario:
            return
        folder = Path(os.environ["PRIMACY_MOLECULE_DIR"])
        folder.mkdir(parents=True, exist_ok=True)
        check = bool(context.CLIARGS["check"])
        failed = bool(stats.failures or stats.dark)
        said = {"check": check, "failed": failed, "changed": self._changed}
        (folder / f"{self._scenario}.json").write_text(json.dumps(said))
        if not check and not failed:
            (folder / f"{self._scenario}.stands").touch()
