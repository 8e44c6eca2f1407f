"""A small abstract cluster, every state of which can be visited: what is true, and which rules hold.

Three nodes a, b, c. `a` is primary in epoch 1 with S = {b, c}, k = 1. A record is a letter or digit, a node's
WAL is a string. events.py says what may happen next.

Promise searched for: whoever holds the lease has every record that was ever acknowledged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, TypeVar

from failover_agent.core import quorum as q

T = TypeVar("T")

NODES = "abc"
NONE, NOW, OLD = "", "now", "old"


# States hold numbers of waits, which hash quickly; `SETS` says which.
SETS = (
    q.NOBODY,
    *(q.waits(m, k) for m in ("a", "b", "c", "ab", "ac", "bc") for k in range(1, len(m) + 1)),
)
NUMBER = {wait: number for number, wait in enumerate(SETS)}
NOBODY = NUMBER[q.NOBODY]


class Item(NamedTuple):
    """The lease item. Every write has a new version and token; only whether it is *this* one ever matters,
    so what was made under an earlier version is called old, and the states stay few."""

    epoch: int
    holder: str
    sync: int


class Write(NamedTuple):
    """A write of the item under way, under the condition that the item is still the one it was made for."""

    epoch: int
    item: Item
    is_claim: bool
    is_old: bool = False  # the item was written meanwhile: the condition cannot hold any more


class Primary(NamedTuple):
    """What a node's PostgreSQL waits for, and what its coordinator remembers."""

    epoch: int
    shown: int
    written: int
    wanted: int
    barrier: tuple[int, int] | None = None
    pending: Write | None = None


class Answer(NamedTuple):
    """A seal's answer, in the hands of whoever may claim."""

    node: str
    wal: str
    is_old: bool = False  # of an earlier version than the item's


class State(NamedTuple):
    item: Item
    wal: tuple[str, ...]
    primaries: tuple[Primary | None, ...]
    seals: tuple[str, ...]  # of each node: none, now (the item's very version), old
    follows: tuple[int, ...]  # no node streams from a primary of an epoch before this
    answers: frozenset[Answer]
    flying: frozenset[Write]
    acked: frozenset[str]
    wishes: int  # changes of the wanted sync set left
    records: int  # left to write in the first epoch


@dataclass(frozen=True)
class Rules:
    """Which rules hold. Each field, changed, is a rule left out or turned round."""

    threshold: int = 0  # S1: added to the seals needed
    expiry_needs_seals: bool = True  # S1
    claim_empties_set: bool = True  # S2
    lax_first_in_store: bool = True  # S3
    strict_first_in_postgres: bool = True  # S3
    barrier: bool = True  # S3
    confirmed_afresh: bool = True  # S3
    settles_unknown: bool = True  # S4
    leaves_before_touched: bool = True  # S5
    cut_in_kernel: bool = True  # F2
    seal_survives_restart: bool = True  # F3
    seal_outlives_time: bool = True  # F4
    one_version: bool = True  # F4
    follows_who_holds: bool = True  # F4: a seal that a later epoch ends gives no leave to the old one
    claim_names_version: bool = True  # F5
    most_advanced_claims: bool = True


@dataclass(frozen=True)
class Bounds:
    wishes: int  # changes of what the coordinator wants
    records: int  # commits of the first primary; a second one makes one
    epochs: int
    sets: tuple[int, ...] = tuple(range(len(SETS)))  # what may be wanted


def begin(bounds: Bounds) -> State:
    both = NUMBER[q.waits("bc", 1)]
    return State(
        Item(1, "a", both),
        ("", "", ""),
        (Primary(1, both, both, both), None, None),
        (NONE, NONE, NONE),
        (1, 1, 1),
        frozenset(),
        frozenset(),
        frozenset(),
        bounds.wishes,
        bounds.records,
    )


def lost(s: State) -> str:
    """Acknowledged records that the holder of the lease does not have."""
    return "".join(sorted(r for r in s.acked if r not in s.wal[NODES.index(s.item.holder)]))


def rewritten(s: State, item: Item, rules: Rules) -> State:
    """The item was written: what was made for the one before is old."""
    stale = frozenset(a._replace(is_old=True) for a in s.answers)
    pending = tuple(
        p._replace(pending=p.pending._replace(is_old=True)) if p and p.pending else p for p in s.primaries
    )
    return s._replace(
        item=item,
        primaries=pending,
        seals=tuple(OLD if seal else NONE for seal in s.seals),
        answers=frozenset() if rules.one_version else stale,  # nobody would count them
        flying=frozenset(w for w in s.flying if w.is_claim),
    )


def put(values: tuple[T, ...], i: int, value: T) -> tuple[T, ...]:
    return (*values[:i], value, *values[i + 1 :])


def with_primary(s: State, i: int, p: Primary) -> State:
    return s._replace(primaries=put(s.primaries, i, p))


def common(a: str, b: str) -> int:
    return next((n for n, (x, y) in enumerate(zip(a, b, strict=False)) if x != y), min(len(a), len(b)))
