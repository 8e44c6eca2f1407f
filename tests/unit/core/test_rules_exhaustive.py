"""Goal: the invariant of the rules. Method: decide every small snapshot there is."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace

from tests.unit.core.test_copy_rules import ASTRAY, BROKEN_OFF
from tests.unit.core.test_replay_rules import BEHIND
from tests.unit.core.test_rules import (
    ABSENT,
    DB1,
    DB1_SERVES,
    DB1_STANDS_BY,
    DB2,
    EXPIRED,
    ITEM,
    JUST_SEEN,
    MINE,
    NOW,
    PRIMARY,
    RELEASED,
    SILENT,
    STANDBY,
    STOPPED,
    following,
    report,
)
from tests.unit.core.test_rules_liveness import HEIR_STANDS_BY
from tests.unit.core.test_slot_rules import BY_SLOT, DB1_KEEPS

from failover_agent.core import snapshot as a
from failover_agent.core.fencing import Fencing
from failover_agent.core.health import Health
from failover_agent.core.model import (
    Holder,
    LeaseItem,
    LeaseSeen,
    Server,
    ServerState,
    SyncProgress,
    SyncSet,
    TooNew,
    Unknown,
)
from failover_agent.core.promises import Given, Promise
from failover_agent.core.promotion import Standing
from failover_agent.core.reads import reads_until
from failover_agent.core.rules import RULES, decide
from failover_agent.core.seals import Gathered, Seal, Sealed
from failover_agent.core.snapshot import Mine, Snapshot, SwitchoverOrder

UNNAMED: LeaseItem = ITEM.but(system_identifier="")
SYNCHRONOUS: LeaseItem = ITEM.but(mode="quorum")
PROMISED = ITEM.but(
    mode="quorum", schema_version=2, sync=SyncSet(("db2", "db3"), 1, 4), may_claim=("db1", "db2", "db3")
)
PAUSED = "2026-11-29T14:52:29Z"
SEALS = tuple(Sealed(n, Seal("c", 7, 4, "", "db1"), 1, 500) for n in ("db2", "db3"))
SERVERS: tuple[Server | Unknown, ...] = (
    PRIMARY,
    STANDBY,
    Server(ServerState.STANDBY, "s1", 1, 500, upstream="db3"),
    Server(ServerState.STANDBY, "s1", 1, 500, upstream="db1"),
    STOPPED,
    Server(ServerState.STOPPED, "s1", 3, 500),
    Server(ServerState.STOPPED, "s2", 1, 500),
    Server(ServerState.STARTING, "s1", 1, 500),
    Server(ServerState.STARTING, "s1", 1, 500, standby_signal=True),
    ABSENT,
    SILENT,
)
LEASES: tuple[LeaseSeen | Unknown | None, ...] = (
    JUST_SEEN,
    EXPIRED,
    RELEASED,
    LeaseSeen(UNNAMED, NOW - 100, NOW),
    LeaseSeen(PROMISED, NOW - 3, NOW),
    LeaseSeen(PROMISED, NOW - 100, NOW),
    LeaseSeen(PROMISED.but(holder=None, released_by="db1"), NOW - 1, NOW),
    replace(EXPIRED, item=ITEM.but(paused=PAUSED)),
    LeaseSeen(PROMISED.but(paused=PAUSED), NOW - 3, NOW),
    LeaseSeen(PROMISED.but(holder=None, released_by="db1", offered_to="db2", paused=PAUSED), NOW - 1, NOW),
    Unknown("no answer"),
    TooNew("of schema version 9"),
    None,
)
HOLDS: tuple[Mine | None, ...] = (
    None,
    MINE,
    Mine(MINE.item, NOW, was_primary=True),  # ended this very moment
    Mine(MINE.item, NOW + 3, was_primary=False),
    Mine(UNNAMED, NOW + 3, was_primary=True),
    Mine(SYNCHRONOUS, NOW + 3, was_primary=True),
    Mine(MINE.item.but(paused=PAUSED), NOW + 3, was_primary=True),
    Mine(MINE.item.but(unfenced=(Holder("db1", "i-1", "n1"),)), NOW + 3, was_primary=False),
)
HEARD = (
    (),
    DB1_SERVES,
    DB1_STANDS_BY,
    (report(DB1, ABSENT),),
    (report(DB1, SILENT),),
    HEIR_STANDS_BY,
)
REST: tuple[dict[str, object], ...] = (
    {},
    {"slept_s": 100.0},
    {"job": "clone"},
    {"resting": True},
    {"vips_bound": True},
    {"claiming": True},
    {"unanswered": True},
    {"promised": Given(Promise("c", ITEM.epoch, Holder("db1", "i-db1", "n"), 0, 6.0), NOW + 1)},
    {"half_rewound": True},
    {"standing": Standing.ABANDONED},
    {"standing": Standing.UNJUDGED},
    {"failed_starts": 3},
    {"gathered": Gathered(SEALS[:1])},
    {"gathered": Gathered(SEALS, NOW - 10)},
    {"bootstrap_token": True},
    {"bootstrap_token": True, "me": DB1, "others": (DB2,), "heard": (report(DB2, ABSENT),)},
    {"adopts": "s1"},
    {"adopts": "s1", "heard": (report(DB1, ABSENT),)},
    {"order": SwitchoverOrder(1, "")},
    {"pause_sent": True},
    {"accepted_loss": ITEM.epoch},
    {"server_before": PRIMARY},
    {"server_before": PRIMARY, "health": Health(no_session_s=10, no_commit_s=10)},
    {"health": Health(hung=True, fsync_where="data", fsync_waits_s=10)},
    {"health": Health(hung=True), "job": "start"},
    {"health": Health(full=True)},
    {"server_before": STANDBY},
    {"sync": SyncProgress(False, "db2")},
    {"sync": SyncProgress(False, "db2"), "serving_epoch": SYNCHRONOUS.epoch},
    {"fencing": Fencing("stop-instance", "wait")},
    {"heard": DB1_KEEPS},
    {"heard": DB1_KEEPS, "unmoved_s": 100.0},
    {"server": BY_SLOT, "unstreamed_s": 100.0},
    {"server": BEHIND},
    ASTRAY,
    {"server": BROKEN_OFF},
    {"server": replace(STANDBY, streaming=False, held="max_connections is 1, the primary's 2")},
)
NEEDS_THE_LEASE = (
    a.TakeOver,
    a.Serve,
    a.AwaitSyncSet,
    a.RecoverPrimary,
    a.SwitchOver,
    a.Init,
    a.FenceFirst,
    a.PublishIdentity,
    a.Release,
    a.LeaveHungStorage,
    a.LeaveFullDisk,
)
LEAVES = (a.Release, a.RecoverPrimary, a.LeaveHungStorage, a.LeaveFullDisk)
TOUCHES_DATA = (a.Init, a.Rewind, a.Clone, a.StartStandby, a.TakeOver)


def every_snapshot() -> Iterator[Snapshot]:
    for server, lease, mine, heard, rest in itertools.product(SERVERS, LEASES, HOLDS, HEARD, REST):
        lease_known = LeaseSeen(mine.item, NOW, NOW) if mine and mine.valid_until > NOW else lease
        yield following.but(**{"server": server, "lease": lease_known, "mine": mine, "heard": heard, **rest})


def test_no_snapshot_lets_a_node_write_without_a_lease_it_can_prove() -> None:
    fired = set()
    for seen in every_snapshot():
        decision = decide(seen)
        fired.add(decision.rule)
        proven = seen.mine is not None and seen.now < seen.mine.valid_until
        if not proven:
            assert not any(isinstance(x, NEEDS_THE_LEASE) for x in decision.actions), (seen, decision)
            if seen.state() is ServerState.PRIMARY:
                assert decision.rule in ("fence", "woke"), (seen, decision)
        if isinstance(seen.lease, Unknown | None):
            assert not any(isinstance(x, a.Claim) and x.seen for x in decision.actions), (seen, decision)
            if not proven:
                assert not any(isinstance(x, TOUCHES_DATA) for x in decision.actions), (seen, decision)
        if isinstance(seen.server, Server) and seen.server.state is not ServerState.ABSENT:
            assert a.Init() not in decision.actions, (seen, decision)
        if isinstance(seen.server, Server) and seen.server.system_identifier == "s2" and not proven:
            if isinstance(seen.lease, LeaseSeen) and seen.lease.item is UNNAMED and seen.me == DB1:
                continue  # the node that made the system may go on with it before the lease names it
            assert not any(isinstance(x, TOUCHES_DATA) for x in decision.actions), (seen, decision)

        if seen.fencing.on and seen.mine is not None and seen.mine.item.unfenced:
            assert not any(isinstance(x, a.TakeOver) for x in decision.actions), (seen, decision)
        if seen.health.hung and not proven:
            assert not any(isinstance(x, (*TOUCHES_DATA, a.Claim)) for x in decision.actions), (
                seen,
                decision,
            )

    assert fired == {rule.name for rule in RULES}, "a rule that never fires is dead code"


def test_nobody_is_let_in_before_the_sync_set_is_in_place() -> None:
    """S2: but who was let in is not shut out again for it."""
    held = 0
    for seen in every_snapshot():
        if any(isinstance(x, a.AwaitSyncSet) for x in decide(seen).actions):
            held += 1
            assert seen.mine is not None
            assert seen.mine.item.mode != "async", seen
            assert not seen.sync.in_place, seen
            assert seen.serving_epoch != seen.mine.epoch, seen
    assert held


def test_while_failover_is_paused_nobody_leaves_and_only_three_claim() -> None:
    """The last holder its own lease, the heir it named, and whom a person orders to."""
    claims = stays = 0
    for seen in every_snapshot():
        item = seen.lease.item if isinstance(seen.lease, LeaseSeen) else None
        if not seen.pause_sent and not (item and item.paused):
            continue
        decision = decide(seen)
        if item and item.paused and any(isinstance(x, a.Claim) for x in decision.actions):
            claims += 1
            last, by_word = item.last_holder == seen.me.name, decision.rule == "claim-with-loss"
            assert last or item.offered_to == seen.me.name or by_word, (seen, decision)
        left = [x for x in decision.actions if isinstance(x, LEAVES)]
        stays += len(left)
        assert all(x == a.RecoverPrimary(in_place=True) for x in left), (seen, decision)
    assert claims
    assert stays


def test_a_pause_takes_nothing_from_what_shuts_a_node_out() -> None:
    for seen in every_snapshot():
        if isinstance(seen.lease, LeaseSeen) and seen.lease.item.paused and seen.mine is None:
            rule = decide(seen).rule
            without = seen.but(lease=replace(seen.lease, item=seen.lease.item.but(paused="")))
            if rule in ("fence", "tidy", "woke") or decide(without).rule in ("fence", "tidy", "woke"):
                assert rule == decide(without).rule, seen


def test_a_claim_is_made_only_by_a_standby_or_by_a_node_with_a_token_for_what_it_has() -> None:
    for seen in every_snapshot():
        if any(isinstance(x, a.Claim) for x in decide(seen).actions):
            empty = seen.state() is ServerState.ABSENT and seen.bootstrap_token
            adopted = seen.state() is ServerState.STOPPED and seen.adopts == seen.server.system_identifier  # type: ignore[union-attr]  # its state is known
            assert seen.state() is ServerState.STANDBY or empty or adopted, seen
            assert seen.lease is not JUST_SEEN, "somebody holds it"


def test_where_commits_are_promised_a_claim_needs_seals_or_the_holders_own_name_or_a_persons_word() -> None:
    claims = 0
    for seen in every_snapshot():
        decision = decide(seen)
        promised = isinstance(seen.lease, LeaseSeen) and seen.lease.item.mode == "quorum"
        if promised and any(isinstance(x, a.Claim) for x in decision.actions):
            claims += 1
            by_word = decision.rule == "claim-with-loss" and seen.accepted_loss == 7
            heir = isinstance(seen.lease, LeaseSeen) and seen.lease.item.offered_to == seen.me.name
            assert seen.gathered.seals == SEALS or seen.me == DB1 or heir or by_word, (seen, decision)
    assert claims


def test_a_node_whose_promotion_was_abandoned_is_cloned_or_waits() -> None:
    """N2: it never follows, rewinds, claims or starts."""
    for seen in every_snapshot():
        if seen.standing is Standing.ABANDONED and not seen.mine:
            kinds = {type(x) for x in decide(seen).actions}
            assert not kinds & {a.Rewind, a.Follow, a.StartStandby}, seen
            assert not (a.Claim in kinds and seen.state() is ServerState.STANDBY), seen


def test_rule_names_are_unique_and_the_last_always_holds() -> None:
    names = [rule.name for rule in RULES]
    assert len(names) == len(set(names))
    assert RULES[-1].when == ()


def test_no_snapshot_lets_readers_in_where_somebody_might_write() -> None:
    """G6: only in recovery, and never by a node that holds or claims the lease."""
    granted = 0
    for seen in every_snapshot():
        until = reads_until(seen)
        if isinstance(until, float):
            granted += 1
            assert seen.state() is ServerState.STANDBY, seen
            assert seen.mine is None, seen
            assert not seen.claiming, seen
            assert isinstance(seen.lease, LeaseSeen), seen
            assert until <= seen.lease.read_at + seen.lease.item.ttl_s - seen.timings.margin_s, seen
    assert granted
