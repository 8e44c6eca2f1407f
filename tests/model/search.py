"""Search through every state: the shortest story in which the promise breaks, or none at all."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TypeVar

from failover_agent.core import quorum as q
from tests.model.events import successors
from tests.model.state import NUMBER, SETS, Bounds, Item, Primary, Rules, State, begin, lost

T = TypeVar("T")


@dataclass(frozen=True)
class Found:
    states: int
    story: tuple[str, ...]  # empty: the promise holds in every state

    def __str__(self) -> str:
        return "\n".join([f"after {self.states} states:", *self.story])


def find_loss(rules: Rules, bounds: Bounds, most_states: int = 500_000) -> Found:
    """The shortest story that loses a commit. Raises AssertionError where the search could not be ended."""
    first = begin(bounds)
    came_from: dict[State, tuple[State, str] | None] = {first: None}
    todo = deque([first])
    while todo:
        state = todo.popleft()
        for event, after in successors(state, rules, bounds):
            if after in came_from:
                continue
            came_from[after] = (state, event)
            if gone := lost(after):
                return Found(len(came_from), (*_story(after, came_from), f"lost: {gone}"))
            todo.append(after)
        assert len(came_from) <= most_states, f"more than {most_states} states"
    return Found(len(came_from), ())


def _story(state: State, came_from: dict[State, tuple[State, str] | None]) -> list[str]:
    events: list[str] = []
    while (step := came_from[state]) is not None:
        state, event = step
        events.append(event)
    return events[::-1]


def exhaust(bounds: Bounds, most_states: int = 500_000) -> int:
    """Visit every state of the right rules; how many there are. b and c are alike: one of two mirrored
    states is enough. Raises AssertionError with the lost state, or where the search could not be ended."""
    rules = Rules()
    seen = {begin(bounds)}
    todo = list(seen)
    while todo:
        for _event, after in successors(todo.pop(), rules, bounds):
            folded = _folded(after)
            if folded not in seen:
                assert not lost(folded), folded
                seen.add(folded)
                todo.append(folded)
        assert len(seen) <= most_states, f"more than {most_states} states"
    return len(seen)


_OTHER = str.maketrans("bc", "cb")
_MIRRORED = tuple(
    NUMBER[q.waits((m.translate(_OTHER) for m in wait.members), wait.k) if wait.k else q.NOBODY]
    for wait in SETS
)


def _folded(s: State) -> State:
    """Of a state and its mirror image the one that comes first."""
    wal, seals, follows = _swap(s.wal), _swap(s.seals), _swap(s.follows)
    item = _item(s.item)
    if (wal, seals, follows, item) >= (s.wal, s.seals, s.follows, s.item):
        return s
    return s._replace(
        item=item,
        wal=wal,
        primaries=_swap(tuple(_primary(p) for p in s.primaries)),
        seals=seals,
        follows=follows,
        answers=frozenset(a._replace(node=a.node.translate(_OTHER)) for a in s.answers),
        flying=frozenset(w._replace(item=_item(w.item)) for w in s.flying),
    )


def _swap(of_nodes: tuple[T, ...]) -> tuple[T, ...]:
    a, b, c = of_nodes
    return (a, c, b)


def _item(item: Item) -> Item:
    return Item(item.epoch, item.holder.translate(_OTHER), _MIRRORED[item.sync])


def _primary(p: Primary | None) -> Primary | None:
    if p is None:
        return None
    return p._replace(
        shown=_MIRRORED[p.shown],
        written=_MIRRORED[p.written],
        wanted=_MIRRORED[p.wanted],
        barrier=(_MIRRORED[p.barrier[0]], p.barrier[1]) if p.barrier else None,
        pending=p.pending._replace(item=_item(p.pending.item)) if p.pending else None,
    )
