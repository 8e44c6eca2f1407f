"""Who asked the API for what, when, and what it answered. Kept in memory and as JSON lines."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter, deque
from pathlib import Path
from typing import TextIO

ENTRIES_IN_MEMORY = 10_000


class History:
    """The newest entries in memory, all of them in a file."""

    def __init__(self, file: Path) -> None:
        file.parent.mkdir(parents=True, exist_ok=True)
        self._file: TextIO | None = file.open("a", encoding="utf-8", buffering=1)
        self._recent: deque[dict[str, object]] = deque(maxlen=ENTRIES_IN_MEMORY)
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()

    def note(self, **entry: object) -> None:
        """Keep one call. Times are Unix seconds; `took_ms` is how long the answer took."""
        entry = {"at": round(time.time(), 6), **entry}
        line = json.dumps(entry, ensure_ascii=False, default=str)
        with self._lock:
            self._recent.append(entry)
            self._counts["calls"] += 1
            self._counts["errors"] += bool(entry.get("code"))
            if self._file:
                self._file.write(line + "\n")

    def recent(self, count: int = 100) -> list[dict[str, object]]:
        with self._lock:
            return list(self._recent)[-count:]

    def counts(self) -> dict[str, int]:
        with self._lock:
            return dict(self._counts)

    def close(self) -> None:
        with self._lock:
            if self._file:
                self._file.close()
                self._file = None
