"""Who may take over from a timeline that it never saw; each pair differs in the field that decides."""

from __future__ import annotations

from failover_agent.core.election import Candidate, elect, on_the_line, unfit
from failover_agent.core.lease_writes import FORKS_KEPT, claim, release, renewal
from failover_agent.core.model import Fork, Holder, LeaseItem, Server, ServerState

HOLDER = Holder("db2", "i-2", "n")
# db2 was promoted at 500 and has written up to 560 since.
ITEM = LeaseItem("c", "s1", HOLDER, 7, "t", 6, 2, 560, history=(Fork(1, 500),))
LAG = 100


def candidate(name: str, timeline: int, received: int, *history: tuple[int, int]) -> Candidate:
    forks = tuple(Fork(t, end) for t, end in history)
    return Candidate(
        name, "az", Server(ServerState.STANDBY, "s1", timeline, received, received, history=forks)
    )


def test_a_standby_of_the_timeline_before_is_fit_up_to_where_the_lease_left_it() -> None:
    assert unfit(candidate("db3", 1, 500), ITEM, LAG) == ""
    assert unfit(candidate("db3", 1, 460), ITEM, LAG) == ""
    assert "lags" in unfit(candidate("db3", 1, 459), ITEM, LAG)
    assert "left it" in unfit(candidate("db3", 1, 501), ITEM, LAG)


def test_a_timeline_whose_end_the_lease_does_not_name_stays_unfit() -> None:
    older = ITEM.but(history=())
    assert "timeline 1, the lease on 2" in unfit(candidate("db3", 1, 500), older, LAG)

    elsewhere = ITEM.but(timeline=3, history=(Fork(1, 500),))
    assert unfit(candidate("db3", 1, 500), elsewhere, LAG) == ""
    assert "timeline 2, the lease on 3" in unfit(candidate("db3", 2, 500, (1, 400)), elsewhere, LAG)


def test_wal_of_a_timeline_that_no_lease_named_counts_only_up_to_its_beginning() -> None:
    """db2 was promoted at 400 and died before the lease said so: nobody was answered; db3 has more."""
    item = ITEM.but(timeline=1, lsn=500, history=())
    abandoned = candidate("db2", 2, 900, (1, 400))
    more = candidate("db3", 1, 450)

    assert on_the_line(abandoned.server, item) == 400  # type: ignore[arg-type]
    assert elect([abandoned, more], item, LAG).winner == "db3"
    assert elect([abandoned, more], item.but(timeline=2), LAG).winner == "db2"


def test_the_lease_names_the_history_of_the_timeline_it_names() -> None:
    promoted = Server(ServerState.PRIMARY, "s1", 3, 700, history=(Fork(1, 500), Fork(2, 600)))
    on_one = Server(ServerState.STANDBY, "s1", 1, 500)
    restored = Server(ServerState.PRIMARY, "s1", 3, 700)

    assert renewal(ITEM, HOLDER, "u", 6, promoted, suspect_after_s=2.5).history == promoted.history
    assert claim("c", ITEM, HOLDER, "u", 6, on_one, suspect_after_s=2.5).history == ITEM.history
    assert release(ITEM, "", "u", promoted).history == promoted.history
    assert renewal(ITEM, HOLDER, "u", 6, restored, suspect_after_s=2.5).history == (), (
        "of timeline 3 nothing is known"
    )


def test_only_the_last_lines_of_a_long_history_are_kept() -> None:
    forks = tuple(Fork(t, t * 100) for t in range(1, 31))
    long = Server(ServerState.PRIMARY, "s1", 31, 4000, history=forks)

    assert renewal(ITEM, HOLDER, "u", 6, long, suspect_after_s=2.5).history == forks[-FORKS_KEPT:]
