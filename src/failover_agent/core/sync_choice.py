"""Which standbys are to vouch for commits, and how many of them per commit.

**At most two members, so k is 1, whatever the number of nodes (MOST_MEMBERS).** PostgreSQL counts connections
in `ANY k`, not names. → S = {B, C, D}, k = 2: B's host loses power, its walsender stands half-open, B is back
and streams over a second one; both show what B has flushed, and a commit is let go that only A and B have.
C and D seal, and it is lost. A slot admits one walsender, but a start begins without one. With k = 1 nobody
counts twice. Further standbys are spares that enter when a member leaves. The arithmetic is that of any m:

With m members in S and k acknowledgements per commit, commits stop when more than m - k members are away.
A failover needs m - k + 1 seals, so it stops when more than k - 1 members are away together with the
primary. A larger k buys failovers and pays with commits; neither is ever bought with loss.

    k = (m + 1) // 2: the primary and its k acknowledgers are a majority of the m + 1 nodes.

      m   k   commits survive   a failover survives, beside the primary
      1   1        0                     0
      2   1        1                     0
      3   2        1                     1
      4   2        2                     1
      5   3        2                     2

So from m = 2 on, one failure of any node, whichever it is, stops neither commits nor a failover; afterwards
the silent member leaves S (S6) and one further failure is survived again. From m = 3 on the primary and one
more may go at the same instant. m = 1 stops commits for the stated delay only.

Losing a whole zone must not take the primary and more than k - 1 members of S with it: then the members in
other zones would be too few to seal. So at most k - 1 members of S are in the primary's own zone, unless
there are none elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from failover_agent.core.model import Mode
from failover_agent.core.quorum import NOBODY, Waits, waits

MOST_MEMBERS = 2


@dataclass(frozen=True, slots=True)
class Standby:
    """A member other than the primary, as its sync set is chosen from."""

    name: str
    az: str
    fit: bool  # may claim, streams on the epoch's timeline, has flushed the promotion LSN (S2), stays (S5)
    silent_s: float = 0.0  # for how long it has not streamed


@dataclass(frozen=True, slots=True)
class Choice:
    wanted: Waits
    enough: bool  # whether the mode lets clients in with no more than this
    waiting_for: tuple[str, ...]  # who would make it enough


def acknowledgements(members: int) -> int:
    """k for a sync set of this size: a majority of all nodes, the primary counted in."""
    return (members + 1) // 2


def choose(
    mode: Mode,
    az: str,
    standbys: Iterable[Standby],
    present: Waits,
    leave_after_s: float,
    most: int = MOST_MEMBERS,
) -> Choice:
    """What the primary in zone `az` should wait for; `present` is what it waits for now.

    A member that falls silent stays for `leave_after_s`: a restart of a standby is no change of S. After
    that it leaves even where k is still met (S6), else the next failover needs somebody who is not there.
    """
    everybody = sorted(standbys, key=lambda s: s.name)
    if mode == "async":
        return Choice(NOBODY, enough=True, waiting_for=())
    usable = [
        s
        for s in everybody
        if (s.fit and s.silent_s == 0) or (s.name in present.members and s.fit and s.silent_s < leave_after_s)
    ]
    chosen = _spread(az, usable, present, most)
    if mode == "quorum":
        return Choice(waits(chosen, acknowledgements(len(chosen))), enough=True, waiting_for=())
    return _strict(everybody, chosen, present, most)


def least_acknowledgements(standbys: int, most: int = MOST_MEMBERS) -> int:
    """How many a commit waits for in mode strict, of so many configured standbys, whoever is away."""
    return acknowledgements(min(standbys, most))


def _spread(az: str, usable: list[Standby], present: Waits, most: int) -> list[str]:
    """As many as may be, with at most k - 1 in the primary's zone; who is in S stays before others."""
    in_order = sorted(usable, key=lambda s: (s.name not in present.members, s.name))
    elsewhere = [s.name for s in in_order if s.az != az][:most]
    near = [s.name for s in in_order if s.az == az][:most]
    if not elsewhere:
        return near
    for count in range(min(len(near), most - len(elsewhere)), 0, -1):
        if count <= acknowledgements(len(elsewhere) + count) - 1:
            return [*elsewhere, *near[:count]]
    return elsewhere


def _strict(everybody: list[Standby], chosen: list[str], present: Waits, most: int) -> Choice:
    """k never falls below `least_acknowledgements`, with two members one, whoever is away: commits wait."""
    least = least_acknowledgements(len(everybody), most)
    waiting_for = tuple(s.name for s in everybody if s.name not in chosen)
    if len(chosen) >= least:
        return Choice(waits(chosen, max(least, acknowledgements(len(chosen)))), True, ())
    if present.k >= least:
        return Choice(present, enough=True, waiting_for=waiting_for)
    return Choice(NOBODY, enough=False, waiting_for=waiting_for)
