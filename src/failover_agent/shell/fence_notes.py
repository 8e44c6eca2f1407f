"""Side notes `fenced#NAME` in the store: what was done to a node's machine, and what undoes it.

Written before a fence is asked for, so that whoever lets the node back finds what to put back.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from failover_agent.core.model import Unknown
from failover_agent.ports import LeaseStore
from failover_agent.shell.journal import Journal

PREFIX = "fenced#"
ASKED, FENCED, LET_BACK = "asked", "fenced", "lifted"  # as stored


@dataclass(frozen=True, slots=True)
class FenceNote:
    name: str
    instance_id: str
    state: str
    method: str = ""  # or "a person's word"
    by: str = ""
    epoch: int = 0
    at: int = 0  # seconds since 1970, of whoever wrote it
    before: tuple[tuple[str, str], ...] = ()


class FenceNotes:
    def __init__(self, store: LeaseStore, journal: Journal) -> None:
        self._store = store
        self._journal = journal

    def write(self, note: FenceNote) -> Unknown | None:
        value = {
            "instance_id": note.instance_id,
            "state": note.state,
            "method": note.method,
            "by": note.by,
            "epoch": str(note.epoch),
            "at": str(note.at),
            "before": json.dumps(dict(note.before), sort_keys=True),
        }
        answer = self._store.note(f"{PREFIX}{note.name}", value)
        if isinstance(answer, Unknown):
            self._journal.trouble("noting a fence", answer)
        else:
            self._journal.fine("noting a fence")
        return answer

    def read(self) -> dict[str, FenceNote] | Unknown:
        """By node."""
        where = "reading who is fenced"
        found = self._store.notes(PREFIX)
        if isinstance(found, Unknown):
            self._journal.trouble(where, found)
            return found
        notes: dict[str, FenceNote] = {}
        for key, value in found.items():
            try:
                note = _decode(key.removeprefix(PREFIX), value)
                notes[note.name] = note
            except (AttributeError, KeyError, ValueError) as error:
                return Unknown(f"{key} cannot be read: {error!r}")
        self._journal.fine(where)
        return notes

    def of(self, name: str, instance_id: str) -> FenceNote | Unknown | None:
        """The note about this machine; another's of the same name is none."""
        notes = self.read()
        if isinstance(notes, Unknown):
            return notes
        note = notes.get(name)
        return note if note is not None and note.instance_id == instance_id else None


def _decode(name: str, value: Mapping[str, str]) -> FenceNote:
    return FenceNote(
        name,
        value["instance_id"],
        value["state"],
        value["method"],
        value["by"],
        int(value["epoch"]),
        int(value["at"]),
        tuple(sorted((str(k), str(v)) for k, v in json.loads(value["before"]).items())),
    )
