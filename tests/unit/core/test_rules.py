"""Each rule as a promise; each pair differs only in the field that decides."""

from __future__ import annotations

from dataclasses import replace

from failover_agent.core import snapshot as a
from failover_agent.core.model import (
    Fork,
    Heard,
    Holder,
    LeaseItem,
    LeaseSeen,
    Member,
    NodeReport,
    Server,
    ServerState,
    TooNew,
    Unknown,
)
from failover_agent.core.other_facts import CONNECT_S, STARTING_WAIT_S
from failover_agent.core.rules import decide
from failover_agent.core.snapshot import Mine, Snapshot, SwitchoverOrder
from failover_agent.core.timings import PROFILES

NOW = 1000.0
TTL = PROFILES["balanced"].ttl_s
DB1, DB2, DB3 = (Member(f"db{i}", f"10.0.0.{i}", f"az-{i}", f"i-{i}") for i in (1, 2, 3))

PRIMARY = Server(ServerState.PRIMARY, "s1", 1, 500, history=())
STANDBY = Server(ServerState.STANDBY, "s1", 1, 500, 500, streaming=True, upstream="db1", standby_signal=True)
STOPPED = Server(ServerState.STOPPED, "s1", 1, 500, standby_signal=True)
ABSENT = Server(ServerState.ABSENT)
SILENT = Unknown("no answer within 1 s")

ITEM = LeaseItem("c", "s1", Holder("db1", "i-1", "n1"), 7, "t1", TTL, 1, 500)
JUST_SEEN = LeaseSeen(ITEM, NOW - 0.5, NOW - 0.1)
ON_TWO = LeaseSeen(ITEM.but(timeline=2, history=(Fork(1, 500),)), NOW - 0.5, NOW - 0.1)
EXPIRED = LeaseSeen(ITEM, NOW - TTL * 1.001, NOW)
RELEASED = LeaseSeen(ITEM.but(holder=None), NOW - 1, NOW)


def report(of: Member, server: Server | Unknown, *, holds: bool = False) -> Heard:
    told = NodeReport(of.name, of.az, of.instance_id, server, 7, holds_lease=holds, serving=holds)
    return Heard(told, NOW - 0.2)


DB1_SERVES = (report(DB1, PRIMARY, holds=True),)
DB1_STANDS_BY = (report(DB1, STANDBY),)

# db2, a standby of db1 that serves.
following = Snapshot(NOW, DB2, (DB1,), PROFILES["balanced"], 1000, STANDBY, JUST_SEEN, heard=DB1_SERVES)
# db2 holds the lease and serves.
MINE = Mine(ITEM.but(holder=Holder("db2", "i-2", "n2")), NOW + 3, was_primary=True)
serving = following.but(server=PRIMARY, mine=MINE, lease=LeaseSeen(MINE.item, NOW, NOW), heard=DB1_STANDS_BY)
fresh = following.but(server=ABSENT, lease=None, heard=(report(DB2, ABSENT),), bootstrap_token=True).but(
    me=DB1, others=(DB2,)
)


def test_a_primary_stops_the_moment_its_lease_ends() -> None:
    just_before = serving.but(now=MINE.valid_until - 0.001)
    at_the_end = serving.but(now=MINE.valid_until)

    assert decide(just_before).rule == "serve"
    assert decide(at_the_end).rule == "fence"
    assert decide(at_the_end).actions == (a.ShutGate(), a.UnbindVips(), a.StopPostgres())


def test_a_primary_without_a_lease_is_fenced() -> None:
    assert decide(serving.but(mine=None)).rule == "fence"


def test_a_silent_primary_without_a_lease_is_fenced_and_a_silent_standby_is_not() -> None:
    silent = following.but(server=SILENT)

    assert decide(silent.but(server_before=PRIMARY)).rule == "fence"
    assert decide(silent.but(server_before=STANDBY)).rule == "blind"
    assert decide(silent.but(server_before=None, blind_s=TTL - 0.1)).rule == "blind"
    assert decide(silent.but(server_before=None, blind_s=TTL)).rule == "fence"


def test_a_start_as_primary_without_a_lease_is_fenced_and_a_start_in_recovery_is_not() -> None:
    starting = Server(ServerState.STARTING, "s1", 1, 500)
    in_recovery = Server(ServerState.STARTING, "s1", 1, 500, standby_signal=True)

    assert decide(following.but(server=starting)).rule == "fence"
    assert decide(following.but(server=in_recovery)).rule == "hold"


def test_a_silent_primary_that_holds_the_lease_is_left_alone() -> None:
    assert decide(serving.but(server=SILENT, server_before=PRIMARY)).rule == "hold-lease"


def test_who_slept_longer_than_the_lease_drops_everything_first() -> None:
    assert decide(serving.but(slept_s=TTL)).rule == "serve"
    assert decide(serving.but(slept_s=TTL + 0.01)).rule == "woke"
    assert decide(following.but(slept_s=TTL + 0.01)).actions == (a.DropBeliefs(),)


def test_an_address_or_an_open_gate_left_over_is_tidied_up() -> None:
    assert decide(following.but(vips_bound=True)).rule == "tidy"
    assert decide(following.but(serving_epoch=7)).rule == "tidy"


def test_a_running_job_is_left_alone_but_never_above_the_fence() -> None:
    assert decide(following.but(job="clone 42 %")).rule == "busy"
    assert decide(serving.but(job="start", mine=None)).rule == "fence"


def test_data_of_another_cluster_is_never_touched() -> None:
    other = Server(ServerState.STOPPED, "s2", 1, 500)

    assert decide(following.but(server=other)).rule == "foreign-data"
    assert decide(following.but(server=other)).actions == ()
    assert decide(following.but(server=other, lease=EXPIRED)).rule == "foreign-data"


def test_nothing_is_left_running_on_data_of_another_cluster() -> None:
    """It was started while the lease named no system yet; a person is to move its directory."""
    other = Server(ServerState.STANDBY, "s2", 1, 500)

    assert decide(following.but(server=other)).actions == (a.StopPostgres(),)
    assert (
        a.StopPostgres() not in decide(following.but(server=replace(other, system_identifier="s1"))).actions
    )


def test_silence_from_the_store_never_looks_like_a_free_lease() -> None:
    free = following.but(lease=EXPIRED, heard=(), now=NOW + 1)
    silent = free.but(lease=Unknown("timed out"))

    assert decide(free).rule == "claim"
    assert decide(silent).rule == "cut-off"
    assert decide(silent.but(heard=DB1_STANDS_BY)).rule == "store-silent"


def test_a_token_counts_as_missed_only_when_a_later_read_still_showed_it() -> None:
    waited = following.but(lease=EXPIRED, heard=(), now=NOW + 1)
    not_read_since = waited.but(lease=LeaseSeen(ITEM, NOW - TTL * 1.001, NOW - 0.01))

    assert decide(waited).rule == "claim"
    assert decide(not_read_since).rule == "hold"


def test_a_standby_claims_an_expired_lease_after_one_more_question_to_silent_others() -> None:
    three = following.but(others=(DB1, DB3), lease=EXPIRED, heard=())
    asked_again = NOW + three.timings.ask_s

    assert decide(three).rule == "not-me"
    assert decide(three.but(now=asked_again + 0.01)).rule == "claim"
    assert decide(three.but(now=asked_again + 0.01)).actions == (a.Claim(EXPIRED),)


def test_a_free_lease_waits_for_a_member_that_still_replays_and_not_for_ever() -> None:
    starting = Server(ServerState.STARTING, "s1", 1, standby_signal=True)
    free = following.but(lease=EXPIRED, heard=(report(DB1, starting),))
    later = NOW + STARTING_WAIT_S
    waited = free.but(now=later, heard=(Heard(report(DB1, starting).report, later),))
    no_heir = Heard(replace(report(DB1, starting).report, nofailover=True), NOW)

    assert decide(free).rule == "not-me"
    assert "waiting up to 30 s for db1" in decide(free).because
    assert decide(waited).rule == "claim"
    assert decide(free.but(heard=(report(DB1, STOPPED),))).rule == "claim"
    assert decide(free.but(heard=(no_heir,))).rule == "claim"


def test_the_standby_with_more_wal_claims_and_the_other_says_why_not() -> None:
    more = Server(ServerState.STANDBY, "s1", 1, 501, 500, upstream="db1")
    three = following.but(others=(DB1, DB3), lease=EXPIRED, heard=(report(DB3, more),))

    assert decide(three).rule == "not-me"
    assert "db3" in decide(three).because
    assert decide(three.but(heard=(report(DB3, STANDBY),))).rule == "claim", "the name decides last"


def test_a_standby_beyond_the_allowed_lag_does_not_claim() -> None:
    at_limit = LeaseSeen(ITEM.but(lsn=1500), NOW - TTL * 2, NOW)
    beyond = LeaseSeen(ITEM.but(lsn=1501), NOW - TTL * 2, NOW)

    assert decide(following.but(lease=at_limit, heard=())).rule == "claim"
    assert decide(following.but(lease=beyond, heard=())).rule == "not-me"


def test_nofailover_is_respected() -> None:
    assert decide(following.but(lease=EXPIRED, heard=(), nofailover=True)).rule == "not-me"


def test_a_lease_offered_to_me_is_claimed_at_once_and_to_another_only_after_a_ttl() -> None:
    def offered(to: str, seen_for: float) -> LeaseSeen:
        return LeaseSeen(ITEM.but(holder=None, offered_to=to), NOW - seen_for, NOW)

    free = following.but(heard=(report(DB1, STOPPED),))

    assert decide(free.but(lease=offered("db2", 0))).rule == "claim"
    assert decide(free.but(lease=offered("db3", 0.1))).rule == "hold"
    assert decide(free.but(lease=offered("db3", TTL * 1.002))).rule == "claim"


def test_a_lease_released_to_anybody_is_claimed_at_once() -> None:
    assert decide(following.but(lease=RELEASED, heard=DB1_STANDS_BY)).rule == "not-me", "db1 ranks before"
    stopped = (report(DB1, STOPPED),)
    assert decide(following.but(lease=RELEASED, heard=stopped)).rule == "claim"


def test_an_unsettled_claim_is_waited_for() -> None:
    assert decide(following.but(lease=EXPIRED, heard=(), claiming=True)).rule == "claiming"


def test_the_winner_promotes_and_only_while_the_lease_lasts() -> None:
    won = serving.but(server=STANDBY)

    assert decide(won).actions == (a.TakeOver(7),)
    assert decide(won.but(now=MINE.valid_until)).rule != "promote"


def test_a_dead_primary_is_recovered_in_its_epoch_and_promoted_in_another() -> None:
    died = serving.but(server=STOPPED)
    never_was = died.but(mine=Mine(MINE.item, MINE.valid_until, was_primary=False))

    assert decide(died).actions == (a.RecoverPrimary(),)
    assert decide(never_was).actions == (a.StartStandby(""),), "a start in place would reuse the timeline"
    assert decide(died.but(resting=True)).rule == "rest-holding"
    assert decide(died.but(failed_starts=3)).rule == "give-up"


def test_a_holder_without_data_gives_the_lease_away() -> None:
    assert decide(serving.but(server=ABSENT)).actions == (a.Release("", data_lost=True),)


def test_a_switchover_is_carried_out_by_a_serving_primary_only() -> None:
    order = SwitchoverOrder(1, "db1")

    assert decide(serving.but(order=order)).actions == (a.SwitchOver(order),)
    assert decide(following.but(order=order)).rule == "following"


def test_initdb_needs_the_lease_the_token_and_an_unnamed_system() -> None:
    first = Mine(ITEM.but(system_identifier=""), NOW + 3, was_primary=False)
    holder = fresh.but(mine=first, lease=LeaseSeen(first.item, NOW, NOW))

    assert decide(holder).actions == (a.Init(),)
    assert decide(holder.but(bootstrap_token=False)).rule == "lost-data"
    assert decide(holder.but(mine=Mine(ITEM, NOW + 3, False))).rule == "lost-data"


def test_nobody_is_served_before_the_lease_names_the_system() -> None:
    unnamed = Mine(ITEM.but(system_identifier=""), NOW + 3, was_primary=True)

    assert decide(serving.but(mine=unnamed)).actions == (a.PublishIdentity(),)


def test_nobody_is_served_on_a_timeline_that_the_lease_does_not_name() -> None:
    promoted = Server(ServerState.PRIMARY, "s1", 2, 900, history=(Fork(1, 500),))
    named = Mine(ON_TWO.item, NOW + 3, was_primary=True)

    assert decide(serving.but(server=promoted)).actions == (a.PublishIdentity(),)
    assert decide(serving.but(server=promoted, mine=named)).rule == "serve"


def test_nobody_follows_a_timeline_that_the_lease_does_not_name() -> None:
    """Whoever did could meet its twin later: the next promotion passes over named numbers only."""
    promoted = Server(ServerState.PRIMARY, "s1", 2, 900, history=(Fork(1, 500),))
    astray = Server(ServerState.STANDBY, "s1", 1, 500, upstream="db3")
    seen = following.but(server=astray, heard=(report(DB1, promoted, holds=True),))

    assert decide(seen).rule == "hold"
    assert decide(seen.but(lease=ON_TWO)).actions == (a.Follow("db1"),)


def test_an_agent_older_than_the_lease_touches_nothing_and_says_what_to_do() -> None:
    free = following.but(lease=LeaseSeen(ITEM, NOW - 100, NOW), heard=())
    newer = TooNew("schema version 9")

    assert decide(free).rule == "claim"
    assert decide(free.but(lease=newer)).rule == "outdated"
    assert decide(free.but(lease=newer)).actions == ()
    assert "upgrade" in decide(free.but(lease=newer)).because


def test_bootstrap_needs_a_token_and_the_word_of_every_member() -> None:
    assert decide(fresh).actions == (a.Claim(None),)
    assert decide(fresh.but(bootstrap_token=False)).rule == "lease-missing"
    assert decide(fresh.but(heard=())).rule == "bootstrap-wait"
    assert decide(fresh.but(heard=(report(DB2, SILENT),))).rule == "bootstrap-wait"
    assert decide(fresh.but(heard=(report(DB2, STOPPED),))).rule == "lease-missing"
    second = fresh.but(me=DB2, others=(DB1,), heard=(report(DB1, ABSENT),))
    assert decide(second).rule == "bootstrap-wait", "the first by name begins"


def test_a_bootstrap_that_died_is_begun_again_by_the_next() -> None:
    unnamed = LeaseSeen(ITEM.but(system_identifier=""), NOW - TTL * 2, NOW)
    second = fresh.but(me=DB2, others=(DB1,), lease=unnamed, heard=())

    assert decide(second).rule == "bootstrap-again"
    assert decide(second.but(lease=LeaseSeen(unnamed.item, NOW - 1, NOW))).rule == "no-data"
    assert decide(second.but(heard=(report(DB1, STOPPED),))).rule == "no-data"
    assert decide(second.but(lease=EXPIRED)).rule == "no-data"


def test_a_missing_lease_is_an_alarm_where_there_is_data() -> None:
    assert decide(following.but(lease=None)).rule == "lease-missing"
    assert decide(following.but(lease=None, bootstrap_token=True)).rule == "lease-missing"


def test_data_is_adopted_by_a_token_that_names_it_and_the_word_of_every_other_member() -> None:
    adopting = fresh.but(server=STOPPED, bootstrap_token=False, adopts="s1")

    assert decide(adopting).actions == (a.Claim(None),)
    assert decide(adopting.but(adopts="")).rule == "lease-missing"
    assert decide(adopting.but(adopts="s2")).rule == "adopt-refused"
    assert decide(adopting.but(server=ABSENT)).rule == "adopt-refused"
    assert decide(adopting.but(heard=())).rule == "adopt-wait"
    assert decide(adopting.but(heard=(report(DB2, STOPPED),))).rule == "adopt-wait"
    assert decide(adopting.but(server=Server(ServerState.STOPPED, "s1", 1, 500))).rule == "lease-missing", (
        "without standby.signal nobody has made it ready"
    )
    assert decide(adopting.but(lease=EXPIRED)).rule != "adopt", "there is a cluster already"


def test_a_node_without_data_clones_from_the_node_that_serves() -> None:
    empty = following.but(server=ABSENT)

    assert decide(empty).actions == (a.Clone("db1", over_existing=False),)
    assert decide(empty.but(heard=())).rule == "no-data"
    assert decide(empty.but(heard=DB1_STANDS_BY)).rule == "no-data"


def test_a_stopped_node_returns_by_what_its_wal_allows() -> None:
    serves_two = Server(ServerState.PRIMARY, "s1", 2, 900, history=(Fork(1, 500),))
    stopped = following.but(server=STOPPED, lease=ON_TWO, heard=(report(DB1, serves_two, holds=True),))
    beyond = Server(ServerState.STOPPED, "s1", 1, 501)

    assert decide(stopped).actions == (a.StartStandby("db1"),)
    assert decide(stopped.but(server=beyond)).actions == (a.Rewind("db1"),)
    assert decide(stopped.but(resting=True)).rule == "rest"


def test_a_server_that_still_replays_is_left_to_it_though_another_serves() -> None:
    starting = Server(ServerState.STARTING, "s1", 1, standby_signal=True)

    assert decide(following.but(server=starting)).rule == "hold"
    assert decide(following.but(server=replace(STOPPED, received_lsn=0))).rule == "rewind"


def test_an_interrupted_rewind_ends_in_a_clone() -> None:
    half = following.but(server=STOPPED, half_rewound=True)

    assert decide(half).actions == (a.Clone("db1", over_existing=True),)
    assert decide(half.but(heard=())).rule == "half-rewound"


def test_a_stopped_node_waits_for_a_living_holder_and_stands_ready_without_one() -> None:
    stopped = following.but(server=STOPPED, heard=())

    assert decide(stopped).rule == "hold"
    assert decide(stopped.but(lease=EXPIRED)).actions == (a.StartStandby(""),)
    my_earlier_life = LeaseSeen(ITEM.but(holder=Holder("db2", "i-2", "old")), NOW - 1, NOW)
    assert decide(stopped.but(lease=my_earlier_life)).actions == (a.StartStandby(""),)


def test_a_standby_follows_whoever_serves() -> None:
    astray = Server(ServerState.STANDBY, "s1", 1, 500, upstream="db3")
    quiet = Server(ServerState.STANDBY, "s1", 1, 500, upstream="db1")

    assert decide(following).rule == "following"
    assert decide(following.but(server=astray)).actions == (a.Follow("db1"),)
    assert decide(following.but(server=quiet)).rule == "connecting"
    assert decide(following.but(heard=())).rule == "hold"


def test_a_running_standby_gets_time_to_connect_before_its_wal_is_doubted() -> None:
    """Right after a start its timeline is the control file's, its position already beyond the fork."""
    serves_two = Server(ServerState.PRIMARY, "s1", 2, 900, history=(Fork(1, 500),))
    started = Server(ServerState.STANDBY, "s1", 1, 600, 600, upstream="db1")
    seen = following.but(server=started, lease=ON_TWO, heard=(report(DB1, serves_two, holds=True),))

    assert decide(seen.but(unstreamed_s=CONNECT_S - 0.1)).rule == "connecting"
    assert decide(seen.but(unstreamed_s=CONNECT_S)).actions == (a.Rewind("db1"),)


def test_a_standby_whose_replay_is_held_starts_anew_only_where_it_receives_nothing() -> None:
    held = replace(STANDBY, held="max_connections is 100, the primary's 120")
    cut_off = replace(held, streaming=False)

    assert decide(following.but(server=held)).rule == "following", "commits may wait for it"
    assert decide(following.but(server=cut_off)).rule == "restart-held"
    assert decide(following.but(server=cut_off)).actions == (a.StopPostgres(),)
    assert decide(following.but(server=replace(cut_off, held=""))).rule == "connecting"
    assert decide(following.but(server=cut_off, heard=DB1_STANDS_BY)).rule != "restart-held", (
        "it may be chosen: the promotion sees to it"
    )
    assert decide(following.but(server=replace(cut_off, upstream="db3"))).rule == "follow"
