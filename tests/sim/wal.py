"""Write-ahead log with identity: two logs of equal length and equal timeline number may differ.

A `Line` is one timeline as one node wrote it. A log is a sequence of pieces, each up to an LSN and of one
line. PostgreSQL compares timeline numbers and LSNs only; the simulation also knows the lines, and so sees
what PostgreSQL cannot.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from dataclasses import dataclass, field

from failover_agent.core.model import Fork

START = 1000  # where the first record of a fresh cluster stands


@dataclass(slots=True, eq=False)
class Line:
    number: int
    timeline: int
    writer: str
    commits: list[tuple[int, int]] = field(default_factory=list)  # LSN behind the record, number of the write


@dataclass(slots=True)
class Piece:
    line: Line
    end: int


class Lines:
    def __init__(self) -> None:
        self._numbers = itertools.count(1)

    def begin(self, timeline: int, writer: str) -> Line:
        return Line(next(self._numbers), timeline, writer)


@dataclass(slots=True)
class Wal:
    """What one node has. `flushed` survives a crash, `written` does not."""

    pieces: list[Piece]
    written: int
    flushed: int
    replayed: int
    history: tuple[Fork, ...] = ()
    known_timeline: int = 1  # the highest of which a history file is here
    whole_from: int = 0  # a copy is not consistent before it has WAL up to here

    @property
    def line(self) -> Line:
        return self.pieces[-1].line

    @property
    def timeline(self) -> int:
        return self.line.timeline

    def append(self, size: int, number: int = 0) -> int:
        """Of the node that writes this line; returns the LSN behind the record."""
        self.written += size
        self.pieces[-1].end = self.written
        if number:
            self.line.commits.append((self.written, number))
        return self.written

    def flush(self, upto: int) -> None:
        self.flushed = max(self.flushed, min(upto, self.written))

    def crash(self, *, writer: bool) -> None:
        """Lose what was not flushed. What a writer loses nobody else has: only flushed WAL is sent."""
        self.written = self.flushed
        while len(self.pieces) > 1 and self.pieces[-2].end >= self.flushed:
            self.pieces.pop()
        self.pieces[-1].end = min(self.pieces[-1].end, self.flushed)
        self.replayed = min(self.replayed, self.flushed)
        self.history = tuple(f for f in self.history if f.timeline < self.timeline)
        if writer:
            line = self.line
            while line.commits and line.commits[-1][0] > self.flushed:
                line.commits.pop()

    def fork(self, line: Line) -> None:
        """Begin a timeline of its own at the end of what is here."""
        self.history = (*self.history, Fork(self.timeline, self.written))
        self.pieces.append(Piece(line, self.written))
        self.known_timeline = line.timeline
        self.append(8)
        self.flushed = self.replayed = self.written

    def take(self, source: Wal, upto: int) -> None:
        """Receive what `source` has behind the own end, without a look at what is before it."""
        if upto <= self.written:
            return
        begin = self.written
        for piece in source.pieces:
            if piece.end <= begin:
                continue
            end = min(piece.end, upto)
            if self.pieces[-1].line is piece.line:
                self.pieces[-1].end = end
            else:
                self.pieces.append(Piece(piece.line, end))
            begin = end
            if begin >= upto:
                break
        self.written = upto
        self.history = tuple(f for f in source.history if f.timeline < self.timeline)
        self.known_timeline = max(self.known_timeline, source.known_timeline)

    def copy(self) -> Wal:
        """As a base backup or a rewind brings it: whole up to what `self` has flushed."""
        copied = Wal(
            [Piece(p.line, p.end) for p in self.pieces],
            self.written,
            self.flushed,
            self.flushed,
            self.history,
            self.known_timeline,
        )
        copied.crash(writer=False)
        return copied

    def lacking(self, size: int) -> Wal:
        """A copy as a rewind brings it: of all of `self`, with WAL that ends before."""
        copied = self.copy()
        copied.whole_from = copied.flushed
        begin = self.pieces[-2].end if len(self.pieces) > 1 else START
        copied.written = copied.flushed = copied.replayed = max(begin + 1, copied.flushed - size)
        copied.crash(writer=False)
        return copied

    @property
    def is_whole(self) -> bool:
        return self.flushed >= self.whole_from

    def shares_until(self, other: Wal) -> int:
        """Up to which LSN both hold the same bytes; of what was written."""
        shared = 0
        for mine, theirs in itertools.zip_longest(self.pieces, other.pieces):
            if mine is None or theirs is None or mine.line is not theirs.line:
                break
            shared = min(mine.end, theirs.end)
            if mine.end != theirs.end:
                break
        return shared

    def has(self, line: int, lsn: int) -> bool:
        """Whether the record that ends at `lsn` of `line` is here and on disk."""
        if lsn > self.flushed:
            return False
        begin = 0
        for piece in self.pieces:
            if begin < lsn <= piece.end:
                return piece.line.number == line
            begin = piece.end
        return False

    def divergence(self, source: Wal) -> int:
        """Where pg_rewind finds that `self` left `source`, by timelines and LSNs alone."""
        ours = [*self.history, Fork(self.timeline, self.written)]
        theirs = [*source.history, Fork(source.timeline, source.written)]
        shared = 0
        for mine, other in zip(ours, theirs, strict=False):
            if mine.timeline != other.timeline:
                break
            shared = min(mine.lsn, other.lsn)
            if mine.lsn != other.lsn:
                break
        return shared


def fresh(lines: Lines, writer: str) -> Wal:
    return Wal([Piece(lines.begin(1, writer), START)], START, START, START)


def commits_of(wal: Wal) -> set[int]:
    """The numbers of all writes on disk."""
    found: set[int] = set()
    begin = 0
    for piece in wal.pieces:
        end = min(piece.end, wal.flushed)
        low = bisect_right(piece.line.commits, (begin, 1 << 62))
        high = bisect_right(piece.line.commits, (end, 1 << 62))
        found.update(number for _, number in piece.line.commits[low:high])
        begin = piece.end
    return found
