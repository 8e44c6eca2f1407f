"""The timeline on which this data directory's standby was seen to receive WAL, kept over restarts.

pg_control names the timeline of the last restartpoint, which may be minutes old, and the receiver's word is
gone with the receiver. → the hosts lost power soon after a failover: every standby came back with all of the
WAL, said that it was of the timeline before, and nobody could be chosen.

A standby that has flushed WAL of a timeline never leaves it but by a rewind or a copy, before which this is
forgotten: whatever it has beyond the point where that timeline began is of it.
"""

from __future__ import annotations

import json
from pathlib import Path

from failover_agent.adapters import files
from failover_agent.adapters.postgres.plan import PostgresPlan
from failover_agent.errors import PostgresFailed


class SeenTimeline:
    def __init__(self, plan: PostgresPlan) -> None:
        self._path: Path = plan.state_dir / "seen-timeline"
        self._known: tuple[str, int] | None = None  # system, timeline; None: not read yet

    def of(self, system_identifier: str) -> int:
        """0: none was seen, or it cannot be read."""
        if self._known is None:
            self._known = self._read()
        system, timeline = self._known
        return timeline if system == system_identifier else 0

    def note(self, system_identifier: str, timeline: int) -> None:
        """Durable when it returns, or as before where the disk refuses it."""
        if timeline == self.of(system_identifier):
            return
        try:
            files.write_durably(
                self._path, json.dumps({"system": system_identifier, "timeline": timeline}), mode=0o600
            )
        except OSError:
            return
        self._known = (system_identifier, timeline)

    def forget(self) -> None:
        """Before the data directory is replaced or rewound. Raises PostgresFailed."""
        self._known = None
        try:
            files.remove_durably(self._path)
        except OSError as error:
            raise PostgresFailed(
                f"{self._path} could not be removed: {error.strerror or error}", hint="Look at the disk."
            ) from error

    def _read(self) -> tuple[str, int]:
        try:
            noted = json.loads(self._path.read_text())
            return str(noted["system"]), int(noted["timeline"])
        except (OSError, ValueError, KeyError, TypeError):
            return "", 0
