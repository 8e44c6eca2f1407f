"""Where an agent can be made to die, by name, so that what its next life repairs can be tried.

`FAILOVER_AGENT_DIE_AT=NAME` kills the process (SIGKILL, nothing is tidied) the first time it passes that
point. Read once, when the process starts; without it a point costs one comparison.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

VARIABLE = "FAILOVER_AGENT_DIE_AT"

# Every name, and what is true at that moment.
POINTS = {
    # takeover
    "claimed-before-bind": "the lease is ours, nothing else is",
    "fenced-before-note": "the cloud shows the old holder fenced, the lease names it as one that is not",
    "noted-before-fence": "what undoes the fence is noted, the fence was not asked for",
    "shut-before-intent": "the address is bound, every session ended, nothing noted",
    "intended-before-promote": "the promotion is noted, PostgreSQL was not told",
    "promoted-before-publish": "PostgreSQL is primary, the lease does not name its timeline",
    "published-before-open": "the lease names the new timeline, the gate is shut",
    "opened-before-record": "clients are served, the history does not say so",
    # sync set
    "waits-before-item": "PostgreSQL waits for the new set of standbys, the lease does not count on them",
    "item-before-waits": "the lease names the new sync set, PostgreSQL may wait for more than it needs",
    "switched-before-sync": "the lease names another mode, PostgreSQL waits as before",
    # start, in a data directory
    "allowed-before-start": "PostgreSQL may start, as a primary without standby.signal, and was not told to",
    "started-before-signal": "PostgreSQL runs, the leave to start stands, and no standby.signal of a primary",
    # bootstrap
    "claimed-before-init": "the first lease is ours, there is no data",
    "initialised-before-note": "the data is whole, nobody noted that it may start as primary",
    "recovered-before-publish": "the first primary runs, the lease names no system",
    # seal
    "noted-before-cut": "the seal is noted, nothing is cut",
    "cut-before-answer": "nothing comes in any more, nobody was told",
    "uncut-before-note": "the seal is over and cut no more, its note still stands",
    "sealed-before-claim": "enough are sealed, this node among them, and the lease was not claimed",
    # clone
    "granted-before-copy": "the holder granted the slot; the old data directory is untouched",
    "copied-before-place": "the copy is whole, beside the data directory",
    "aside-before-place": "the old directory is moved aside, nothing has its place",
    "cloned-before-notes": "the copy has its place, the notes are of the old one",
    "cloned-before-start": "the copy has its place, and nothing runs",
    # leaving a volume that hangs
    "shut-before-kill": "the gate is shut, PostgreSQL runs on behind it, the lease is ours",
    "killed-before-release": "PostgreSQL was killed as far as that goes, the lease is still ours",
    # rewind
    "granted-before-stop": "the holder granted the slot, PostgreSQL may run",
    "noted-before-rewind": "the shell noted the rewind, nothing was changed",
    "marked-before-overwrite": "the mark stands, pg_rewind was not started",
    "overwritten-before-unmark": "pg_rewind has ended, the mark still stands",
    "rewound-before-notes": "the directory is whole, the shell's notes still say rewinding",
    "rewound-before-start": "the directory is whole, and nothing runs",
}


def _kill_myself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


_armed = os.environ.get(VARIABLE, "")
_die: Callable[[], None] = _kill_myself


def arm(name: str, die: Callable[[], None]) -> None:
    """For a test that runs many agents in one process: die this way at `name`, once; "" disarms."""
    global _armed, _die
    _armed, _die = name, die


def at(name: str) -> None:
    """Pass the point `name`."""
    global _armed
    if name == _armed:
        assert name in POINTS, f"{name} is no kill point"
        _armed = ""
        _die()
