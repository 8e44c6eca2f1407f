"""EC2's state as it was a moment ago, and a copy of it to try a change on.

Moto finds its state in one dictionary. Whoever holds the region's lock may put another there for one
question and take it away again; nobody else sees it.
"""

from __future__ import annotations

import contextlib
import copy
from collections import deque
from collections.abc import Iterator
from typing import Any

from ec2_lab.door import ACCOUNT, REGION


@contextlib.contextmanager
def instead(backend: Any) -> Iterator[None]:
    """Let moto answer from this EC2 until the end of the block. Under the lock."""
    from moto.backends import get_backend

    regions = get_backend("ec2")[ACCOUNT]
    true = regions[REGION]
    regions[REGION] = backend
    try:
        yield
    finally:
        regions[REGION] = true


class Past:
    """Copies, each true until the moment it was made. Under the lock."""

    def __init__(self) -> None:
        self._copies: deque[tuple[float, Any]] = deque()

    def keep(self, backend: Any, now: float, for_s: float) -> None:
        """Keep the state that is about to change; copies nobody may ask for any more go."""
        while self._copies and self._copies[0][0] <= now - for_s:
            self._copies.popleft()
        self._copies.append((now, copy.deepcopy(backend)))

    def as_of(self, moment: float) -> Any | None:
        """The state of that moment, None when it has not changed since."""
        return next((state for until, state in self._copies if until > moment), None)

    def forget(self) -> None:
        self._copies.clear()
