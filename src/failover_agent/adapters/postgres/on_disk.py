"""What a data directory says while nothing runs on it: control file, timeline history, WAL segments.

Formats: pg_controldata's output (untranslated), xlog_internal.h for page headers, timeline.c for
history files. All of them stand since PostgreSQL 9.3.
"""

from __future__ import annotations

import hashlib
import re
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from failover_agent.adapters import programs
from failover_agent.adapters.postgres.plan import PostgresPlan
from failover_agent.core import lsn
from failover_agent.core.model import Fork, Unknown
from failover_agent.core.promotion import Beginning
from failover_agent.errors import DataDirectoryDamaged, DataDirectoryRefused, HalfClonedDirectory

PROGRAM_TIMEOUT_S = 5.0
BRIEF_S = 1.0  # while somebody waits for a server to end
WALDUMP_TIMEOUT_S = 30.0

# What a standby must not have lower than its primary (`required`): pg_controldata's words, the setting.
REQUIRED = {
    "max_connections setting": "max_connections",
    "max_worker_processes setting": "max_worker_processes",
    "max_wal_senders setting": "max_wal_senders",
    "max_prepared_xacts setting": "max_prepared_transactions",
    "max_locks_per_xact setting": "max_locks_per_transaction",
}
_CLEAN_STATES = frozenset({"shut down", "shut down in recovery"})
_SEGMENT = re.compile(r"^[0-9A-F]{24}$")
_RECORD = re.compile(
    r"len \(rec/tot\):\s*\d+/\s*(?P<total>\d+),.*? lsn: (?P<lsn>[0-9A-F]+/[0-9A-F]+),.*? desc: (?P<desc>\S+)"
)
_SHORT_HEADER, _LONG_HEADER = 24, 40
_ALIGN = 8
# A record longer than a segment makes us look back; this many segments hold the longest there can be (1 GB).
_LOOK_BACK_SEGMENTS = 70


@dataclass(frozen=True, slots=True)
class Control:
    """The lines of the control file that matter to us."""

    system_identifier: str
    state: str
    checkpoint_timeline: int
    recovery_timeline: int  # 0 when there is none
    recovery_end: int  # a recovery is consistent only from there on; 0: from anywhere
    segment_bytes: int
    page_bytes: int
    required: Mapping[str, int] = field(default_factory=dict)  # of a standby on this WAL, by setting

    @property
    def clean(self) -> bool:
        return self.state in _CLEAN_STATES

    @property
    def timeline(self) -> int:
        """A freshly promoted server is on the recovery timeline until its first checkpoint."""
        return max(self.checkpoint_timeline, self.recovery_timeline)


def parse_control(text: str) -> Control:
    """Raises DataDirectoryRefused when a line is missing."""
    lines = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
    try:
        return Control(
            system_identifier=lines["Database system identifier"].strip(),
            state=lines["Database cluster state"].strip(),
            checkpoint_timeline=int(lines["Latest checkpoint's TimeLineID"]),
            recovery_timeline=int(lines["Min recovery ending loc's timeline"]),
            recovery_end=lsn.parse(lines["Minimum recovery ending location"].strip()),
            segment_bytes=int(lines["Bytes per WAL segment"]),
            page_bytes=int(lines["WAL block size"]),
            required={name: int(lines[words]) for words, name in REQUIRED.items()},
        )
    except (KeyError, ValueError) as error:
        raise DataDirectoryRefused(
            f"pg_controldata's answer cannot be read: {error}", hint="Run pg_controldata on it by hand."
        ) from error


def read_control(plan: PostgresPlan, data_dir: Path | None = None) -> Control:
    """Raises DataDirectoryRefused."""
    where = data_dir or plan.data_dir
    refuse_half_cloned(where)
    try:
        done = programs.run((plan.program("pg_controldata"), "-D", str(where)), timeout_s=PROGRAM_TIMEOUT_S)
    except (programs.TookTooLong, OSError) as error:
        raise DataDirectoryRefused(f"{where} cannot be read: {error}", hint="Is the disk well?") from error
    # It warns of a wrong checksum on standard error and goes on: such a directory is not whole.
    if not done.ok or "WARNING" in done.err + done.out:
        raise DataDirectoryDamaged.about(
            f"the control file of {where}",
            value=f"damaged: {done.last_words()}",
            expected="one whose checksum fits",
            hint=f"Move {where} aside; the agent then clones this node.",
        )
    return parse_control(done.out)


def is_shut_down(plan: PostgresPlan) -> bool:
    """Whether the control file says so, asked briefly of a server that is on its way down; unread: no."""
    argv = (plan.program("pg_controldata"), "-D", str(plan.data_dir))
    try:
        return parse_control(programs.run(argv, timeout_s=BRIEF_S).out).clean
    except (programs.TookTooLong, OSError, DataDirectoryRefused):
        return False


def refuse_half_cloned(where: Path) -> None:
    """pg_basebackup writes the control file last: without it, the copy never ended.

    Raises HalfClonedDirectory.
    """
    if (where / "global/pg_control").exists() or not where.is_dir() or not any(where.iterdir()):
        return
    found = "PG_VERSION" if (where / "PG_VERSION").exists() else "files, no PG_VERSION"
    raise HalfClonedDirectory.about(
        f"data directory {where}",
        value=f"{found} and no global/pg_control",
        expected="a whole data directory, or none",
        hint=f"A copy was broken off here. Move {where} aside; the agent then clones this node.",
    )


def parse_history(text: str) -> tuple[Fork, ...]:
    """A timeline history file: `parent timeline <tab> switch point <tab> reason`."""
    forks = []
    for line in text.splitlines():
        words = line.split("#", 1)[0].split()
        if len(words) >= 2:
            forks.append(Fork(int(words[0]), lsn.parse(words[1])))
    return tuple(forks)


def read_history(wal_dir: Path, timeline: int) -> tuple[Fork, ...]:
    """Empty for timeline 1, and where the file is not there or cannot be read."""
    try:
        return parse_history((wal_dir / f"{timeline:08X}.history").read_text())
    except (OSError, ValueError):
        return ()


@dataclass(frozen=True, slots=True)
class Segment:
    path: Path
    timeline: int
    start: int  # WAL position of its first byte


def written_segments(wal_dir: Path, segment_bytes: int) -> list[Segment]:
    """Segments that hold what their name says, by timeline and position.

    PostgreSQL keeps recycled segments under names of the future; their first page still carries the
    address it was written for.
    """
    found = []
    for path in wal_dir.iterdir():
        if not _SEGMENT.match(path.name):
            continue
        timeline, high, low = (int(path.name[i : i + 8], 16) for i in (0, 8, 16))
        start = (high << 32) + low * segment_bytes
        with path.open("rb") as file:
            header = file.read(_SHORT_HEADER)
        if len(header) == _SHORT_HEADER and struct.unpack_from("=Q", header, 8)[0] == start:
            found.append(Segment(path, timeline, start))
    return sorted(found, key=lambda segment: (segment.timeline, segment.start))


def segment_name(timeline: int, position: int, segment_bytes: int) -> str:
    """The file that holds `position` (xlog_internal.h, XLogFileName)."""
    number, per_log = position // segment_bytes, (1 << 32) // segment_bytes
    return f"{timeline:08X}{number // per_log:08X}{number % per_log:08X}"


def beginning(plan: PostgresPlan, timeline: int) -> Beginning | Unknown:
    """Where `timeline` left its parent, and a digest of its first record: nearly always END_OF_RECOVERY.

    The record carries the moment of the promotion and its checksum; no two promotions share it. Where
    it is recycled already (an older agent did not record it), the digest is empty.
    """
    if timeline == 1:
        return Beginning(1, 0, "")
    history = read_history(plan.wal_dir, timeline)
    if not history:
        return Unknown(f"the history of timeline {timeline} is not in {plan.wal_dir}")
    fork = history[-1].lsn
    try:
        name = segment_name(timeline, fork, read_control(plan).segment_bytes)
        records = waldump(plan, plan.wal_dir, fork, name, name, most=1)
    except (DataDirectoryRefused, programs.TookTooLong, OSError) as error:
        return Unknown(f"the first record of timeline {timeline} cannot be read: {error}")
    first = next(iter(records), "")
    return Beginning(timeline, fork, hashlib.sha256(first.encode()).hexdigest() if first else "")


@dataclass(frozen=True, slots=True)
class Flushed:
    """A position that a primary on this timeline said was on its disk; 0: none is known."""

    timeline: int = 0
    lsn: int = 0


def wal_end(plan: PostgresPlan, flushed: Flushed = Flushed()) -> int | Unknown:
    """End of the last whole record on disk, read from the segments themselves (PROTOCOL N3).

    What lies before `flushed` is not read again: of a busy server's last segment that is nearly all,
    a hundred thousand records for which every client would wait.
    """
    try:
        control = read_control(plan)
        known = flushed.lsn if flushed.timeline == control.timeline else 0
        end = end_on(plan, control, control.timeline, known)
    except (DataDirectoryRefused, OSError, programs.TookTooLong) as error:
        return Unknown(f"the local WAL cannot be read: {error}")
    return end or Unknown(f"no readable WAL of timeline {control.timeline} in {plan.wal_dir}")


def end_on(plan: PostgresPlan, control: Control, timeline: int, known: int = 0) -> int:
    """End of the last whole record in segments of `timeline`; 0: none is found.

    Raises DataDirectoryRefused, OSError, TookTooLong.
    """
    segments = [s for s in written_segments(plan.wal_dir, control.segment_bytes) if s.timeline == timeline]
    for segment in reversed(segments[-_LOOK_BACK_SEGMENTS:]):
        end = _last_end(plan, control, segment, segments[-1], known)
        if end:
            return end
    return 0


def _last_end(plan: PostgresPlan, control: Control, segment: Segment, last: Segment, known: int) -> int:
    """End of the last record that begins in `segment` or after it; 0 when none begins there."""
    page = (known - 1) // control.page_bytes * control.page_bytes
    if segment.start < page < segment.start + control.segment_bytes:
        records = _records_from(plan, segment, last, page)
        # A record that begins before `known` belongs to the chain that was flushed; so does what follows.
        if records and record_start(records[0]) < known:
            return record_end(records[-1], control.page_bytes, control.segment_bytes)
    records = _records_from(plan, segment, last, segment.start)
    return record_end(records[-1], control.page_bytes, control.segment_bytes) if records else 0


def _records_from(plan: PostgresPlan, first: Segment, last: Segment, start: int) -> list[str]:
    """The first and the last record that is found from `start`, in `first`, on; none where none is."""
    records = waldump(plan, plan.wal_dir, start, first.path.name, last.path.name)
    return [records[0], records[-1]] if records else []


def waldump(
    plan: PostgresPlan,
    folder: Path,
    start: int,
    first: str,
    last: str,
    *,
    most: int = 0,
    timeout_s: float = WALDUMP_TIMEOUT_S,
) -> list[str]:
    """pg_waldump's line of every record from `start`, in segment `first`, to the end of `last`.

    At most `most` of them, where it is given. Both segments are named, because otherwise pg_waldump asks
    any file for the size of segments, and one made in advance says 0. It ends with an error at the end of
    WAL: its exit status says nothing. Raises TookTooLong, OSError.
    """
    done = programs.run(
        (
            plan.program("pg_waldump"),
            f"--path={folder}",
            f"--start={lsn.show(start)}",
            *((f"--limit={most}",) if most else ()),
            first,
            last,
        ),
        timeout_s=timeout_s,
    )
    return [line for line in done.out.splitlines() if line.startswith("rmgr")]


def record_start(line: str) -> int:
    """Where the record that pg_waldump shows in `line` begins. Raises DataDirectoryRefused."""
    return lsn.parse(_record(line)["lsn"])


def _record(line: str) -> re.Match[str]:
    found = _RECORD.search(line)
    if found is None:
        raise DataDirectoryRefused(f"no WAL record: {line!r}", hint="Report this line of pg_waldump.")
    return found


def record_end(line: str, page_bytes: int, segment_bytes: int) -> int:
    """Where the record that pg_waldump shows in `line` ends; page headers on its way are counted in.

    Raises DataDirectoryRefused when it is no such line.
    """
    found = _record(line)
    position = lsn.parse(found["lsn"])
    if found["desc"] == "SWITCH":  # the rest of the segment belongs to it
        return (position // segment_bytes + 1) * segment_bytes
    left = int(found["total"])
    while True:
        room = page_bytes - position % page_bytes
        if left <= room:
            break
        left -= room
        position += room
        position += _LONG_HEADER if position % segment_bytes == 0 else _SHORT_HEADER
    end = position + left
    return (end + _ALIGN - 1) // _ALIGN * _ALIGN


def segments_from(plan: PostgresPlan, control: Control, position: int) -> Iterator[Segment]:
    """Segments that hold WAL at or after `position`, on any timeline."""
    for segment in written_segments(plan.wal_dir, control.segment_bytes):
        if segment.start + control.segment_bytes > position:
            yield segment
