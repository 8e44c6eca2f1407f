"""What may happen next in the cluster of state.py: anything, at any moment.

The coordinator on the primary follows core.quorum.next_step; standbys receive, seal, answer and claim by
core.seals' rules. A coordinator dies and forgets, a write of the item lands late, a reload takes its time, an
answer is collected and used much later, a deposed primary goes on for ever.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache

from failover_agent.core import quorum as q
from failover_agent.core.model import Holder, LeaseItem, SyncSet
from failover_agent.core.seals import Seal, Sealed, why_not_claim
from tests.model.state import (
    NOBODY,
    NODES,
    NONE,
    NOW,
    NUMBER,
    OLD,
    SETS,
    Answer,
    Bounds,
    Item,
    Primary,
    Rules,
    State,
    Write,
    common,
    put,
    rewritten,
    with_primary,
)

Next = Iterator[tuple[str, State]]


def successors(s: State, rules: Rules, bounds: Bounds) -> Next:
    for i, primary in enumerate(s.primaries):
        if primary is not None:
            yield from _writes_and_acknowledges(s, i, primary)
            yield from _coordinates(s, i, primary, rules, bounds)
    yield from _streams(s, rules)
    yield from _seals(s, rules)
    yield from _claims(s, rules, bounds)
    yield from _store(s, rules)
    if not rules.leaves_before_touched or s.item.epoch > 1:
        yield from _touched(s, rules)


# PostgreSQL


def _writes_and_acknowledges(s: State, i: int, p: Primary) -> Next:
    node = NODES[i]
    fresh = _next_record(s, p)
    if fresh:
        left = s.records - (p.epoch == 1)
        yield f"{node} writes {fresh}", s._replace(wal=put(s.wal, i, s.wal[i] + fresh), records=left)
    for n, record in enumerate(s.wal[i]):
        if record in s.acked or not _is_its_own(p, record):
            continue
        holders = {NODES[j] for j, wal in enumerate(s.wal) if wal[: n + 1] == s.wal[i][: n + 1]}
        if any(_is_enough(holders, w) for w in {p.shown, p.written}):
            yield f"{node} acknowledges {record}", s._replace(acked=s.acked | {record})


def _is_enough(holders: set[str], number: int) -> bool:
    wait = SETS[number]
    return len(holders.intersection(wait.members)) >= wait.k


def _next_record(s: State, p: Primary) -> str:
    """The first primary writes 1 and 2, a second one x, a third nothing."""
    if p.epoch == 1:
        return str(len(s.wal[0]) + 1) if s.records else ""
    wrote = any("x" in wal for wal in s.wal)
    return "x" if p.epoch == 2 and not wrote else ""


def _is_its_own(p: Primary, record: str) -> bool:
    return (record == "x") == (p.epoch > 1)


def _streams(s: State, rules: Rules) -> Next:
    for j, wal in enumerate(s.wal):
        if s.primaries[j] is not None or (s.seals[j] and rules.cut_in_kernel):
            continue
        for i, p in enumerate(s.primaries):
            source = s.wal[i]
            if p is None or p.epoch < s.follows[j]:
                continue
            if len(source) > len(wal) and source.startswith(wal):
                more = source[: len(wal) + 1]
                follows = put(s.follows, j, p.epoch)
                received = s._replace(wal=put(s.wal, j, more), follows=follows)
                yield f"{NODES[j]} receives {more} from {NODES[i]}", received


def _touched(s: State, rules: Rules) -> Next:
    """A data directory is replaced by an empty one (the same agent answers for it), or goes back."""
    for j, wal in enumerate(s.wal):
        if not wal or s.primaries[j] is not None or s.seals[j]:
            continue
        counted = [s.item.sync, *(n for p in s.primaries if p for n in (p.shown, p.written))]
        node, counts = NODES[j], {m for number in counted for m in SETS[number].members}
        if node not in counts or not rules.leaves_before_touched:
            yield f"{node}'s data directory is replaced", s._replace(wal=put(s.wal, j, ""))


# The coordinator


@cache
def _plan(item: Item, p: Primary, flushed: tuple[int, int, int], sealed: bool) -> q.Step:
    barrier = q.Barrier(SETS[p.barrier[0]], p.barrier[1]) if p.barrier else None
    sync = SETS[item.sync]
    return q.next_step(
        q.SyncStanding(
            SyncSet(sync.members, sync.k),
            p.pending is not None,
            SETS[p.shown],
            SETS[p.written],
            barrier,
            dict(zip(NODES, flushed, strict=True)),
            SETS[p.wanted],
            ("x",) if sealed else (),
        )
    )


EVERYTHING = 99


def _coordinates(s: State, i: int, p: Primary, rules: Rules, bounds: Bounds) -> Next:
    node = NODES[i]
    if p.written != p.shown:
        yield f"{node}'s reload takes effect", with_primary(s, i, p._replace(shown=p.written))
    if p.barrier or p.pending:
        # A next life knows its unsettled write from the note it made before sending, and no barrier.
        yield f"{node}'s coordinator dies", with_primary(s, i, p._replace(barrier=None))
    if s.item.epoch != p.epoch:
        return  # deposed: every write of its coordinator would be refused
    if s.wishes:
        for wish in _wishes(node):
            if wish != p.wanted and wish in bounds.sets:
                yield (
                    f"{node} wants {q.show(SETS[wish])}",
                    with_primary(s, i, p._replace(wanted=wish))._replace(wishes=s.wishes - 1),
                )
    own = s.wal[i]
    flushed = tuple(common(own, wal) for wal in s.wal)
    looks = p if rules.confirmed_afresh else p._replace(shown=p.written)
    if not rules.barrier:
        flushed = (EVERYTHING,) * 3
    sealed = NOW in s.seals
    step = _twisted(_plan(s.item, looks, flushed, sealed), looks, s.item, rules)
    yield from _acts(s, i, p, step, rules)


@cache
def _wishes(primary: str) -> tuple[int, ...]:
    return tuple(number for number, wait in enumerate(SETS) if primary not in wait.members)


def _twisted(step: q.Step, p: Primary, item: Item, rules: Rules) -> q.Step:
    """The plan with one of its orders turned round."""
    if isinstance(step, q.WriteItem) and p.shown != p.wanted and not rules.lax_first_in_store:
        return q.SetPostgres(SETS[p.wanted])
    moves = isinstance(step, q.SetPostgres) and p.shown == p.written and step.wait != SETS[p.shown]
    if moves and not rules.strict_first_in_postgres:
        assert isinstance(step, q.SetPostgres)
        if SETS[item.sync] != step.wait:
            return q.WriteItem(SyncSet(step.wait.members, step.wait.k))
    return step


def _acts(s: State, i: int, p: Primary, step: q.Step, rules: Rules) -> Next:
    node = NODES[i]
    if isinstance(step, q.SetPostgres):
        wait = NUMBER[step.wait]
        if p.written != wait:
            told = p._replace(written=wait, barrier=None)
            yield f"{node} tells PostgreSQL {q.show(step.wait)}", with_primary(s, i, told)
        if wait == (p.shown if rules.confirmed_afresh else p.written):
            taken = p._replace(barrier=(wait, len(s.wal[i])))
            yield f"{node} takes a barrier", with_primary(s, i, taken)
    elif isinstance(step, q.WriteItem):
        item = Item(p.epoch, node, NUMBER[q.of_item(step.sync)])
        write = Write(p.epoch, item, is_claim=False)
        what = f"{node} writes {q.show(SETS[item.sync])} into the item"
        yield f"{what}, answered", rewritten(s, item, rules)
        unknown = p._replace(pending=write if rules.settles_unknown else None)
        yield f"{what}, not answered", with_primary(s, i, unknown)._replace(flying=s.flying | {write})
    elif isinstance(step, q.Settle):
        assert p.pending is not None
        settled = with_primary(s, i, p._replace(pending=None))
        landed = settled if p.pending.is_old else rewritten(settled, p.pending.item, rules)
        yield f"{node} sends it again", landed


# The store


def _store(s: State, rules: Rules) -> Next:
    for write in s.flying:
        if not write.is_claim:  # claims land in _claims, which knows what else they change
            landed = rewritten(s, write.item, rules)
            yield f"the write of {q.show(SETS[write.item.sync])} lands late", landed


# Seals and claims


def _seals(s: State, rules: Rules) -> Next:
    for j, node in enumerate(NODES):
        if s.primaries[j] is not None:
            continue
        seal = s.seals[j]
        if seal == NONE and node in SETS[s.item.sync].members:
            sealed = s._replace(seals=put(s.seals, j, NOW))
            answer = Answer(node, s.wal[j])
            yield f"{node} seals at {s.wal[j]!r}", sealed._replace(answers=s.answers | {answer})
        elif seal:
            released = s._replace(seals=put(s.seals, j, NONE))
            if seal == OLD:
                # It read whom to follow from now on: never again one of an earlier epoch.
                follows = put(s.follows, j, s.item.epoch if rules.follows_who_holds else s.follows[j])
                yield f"{node} reads a later version and unseals", released._replace(follows=follows)
            elif not rules.seal_outlives_time:
                yield f"{node} unseals by time", released
            elif not rules.seal_survives_restart:
                yield f"{node} restarts and streams", released


VERSION = 7  # of the item, wherever core wants to see one


@cache
def _why_not(
    item: Item, node: str, answers: frozenset[Answer], threshold: int, one_version: bool, best: bool
) -> str:
    """core.seals.why_not_claim over this model's values."""
    sync = SETS[item.sync]
    lease = LeaseItem(
        cluster="c",
        system_identifier="s",
        holder=Holder(item.holder, "i", "n"),
        epoch=item.epoch,
        token="t",
        ttl_s=1,
        timeline=0,
        lsn=0,
        sync=SyncSet(sync.members, sync.k - threshold, VERSION),  # one more in k is one seal fewer
        may_claim=(item.holder, *sync.members),
    )
    sealed = []
    for a in sorted(answers):
        version = VERSION - 1 if a.is_old and one_version else VERSION
        length = len(a.wal) if best else 0
        sealed.append(Sealed(a.node, Seal("c", item.epoch, version, "", item.holder), 0, length))
    return why_not_claim(lease, node, sealed)


def _claims(s: State, rules: Rules, bounds: Bounds) -> Next:
    if s.item.epoch >= bounds.epochs:
        return
    for j, node in enumerate(NODES):
        if node == s.item.holder:
            if s.primaries[j] is not None:
                yield f"{node} claims again", _claimed(s, j, rules, s.item)
            continue
        if node not in SETS[s.item.sync].members or s.primaries[j] is not None:
            continue
        choice = (rules.threshold, rules.one_version, rules.most_advanced_claims)
        sealed = s.seals[j] == NOW and not _why_not(s.item, node, s.answers, *choice)
        if sealed or not rules.expiry_needs_seals:
            yield f"{node} claims", _claimed(s, j, rules, s.item)
            if not rules.claim_names_version:
                write = Write(s.item.epoch, s.item._replace(holder=node), is_claim=True)
                yield f"{node} sends a claim that comes late", s._replace(flying=s.flying | {write})
    for write in s.flying:
        j = NODES.index(write.item.holder)
        if write.is_claim and write.epoch == s.item.epoch and s.primaries[j] is None:
            rest = s._replace(flying=s.flying - {write})
            yield f"{write.item.holder}'s claim lands late", _claimed(rest, j, rules, s.item)


def _claimed(s: State, j: int, rules: Rules, seen: Item) -> State:
    """The claim has landed and the node is primary: S empty, PostgreSQL waiting for nobody (S2, S7)."""
    node, old = NODES[j], s.primaries[j]
    sync = SETS[seen.sync]
    kept = "".join(m for m in sync.members if m != node)
    item = Item(s.item.epoch + 1, node, NOBODY)
    if kept and not rules.claim_empties_set:
        item = item._replace(sync=NUMBER[q.waits(kept, min(sync.k, len(kept)))])
    shown, written = (old.shown, old.written) if old else (NOBODY, NOBODY)
    primary = Primary(item.epoch, shown, written, wanted=old.wanted if old else NOBODY)
    landed = rewritten(s, item, rules)
    # Deposed: what a coordinator wanted and remembered is worth nothing any more.
    rest = tuple(Primary(p.epoch, p.shown, p.written, NOBODY) if p else None for p in landed.primaries)
    return landed._replace(
        primaries=put(rest, j, primary),
        seals=put(landed.seals, j, NONE),
        answers=frozenset(),  # of an epoch that is over
    )
