"""Telling a standby to promote, by a helper that looks at the clock once more (PROTOCOL N2).

A process of this size has nothing between its look at the clock and the signal; ours may be stopped,
paged out or starved between any two lines. The file and the signal are those of `pg_ctl promote`;
PostgreSQL removes a left-over file when it starts.
"""

from __future__ import annotations

from failover_agent.adapters import programs
from failover_agent.adapters.postgres.plan import PostgresPlan
from failover_agent.errors import LeaseMovedOn, PostgresFailed

HELPER_TIMEOUT_S = 5.0
_TOO_LATE = 75
# /proc/uptime is CLOCK_BOOTTIME in seconds with two decimals; without its point, an integer.
_HELPER = f"""
read -r up idle < /proc/uptime
[ "${{up%.*}}${{up#*.}}" -lt "$1" ] || exit {_TOO_LATE}
: > "$2" && kill -USR1 "$3"
"""


def tell(plan: PostgresPlan, postmaster: int, deadline: float) -> None:
    """Raises LeaseMovedOn after `deadline` (CLOCK_BOOTTIME); nothing was done then. Or PostgresFailed."""
    argv = (
        "/bin/sh",
        "-c",
        _HELPER,
        "promote",
        str(int(deadline * 100)),
        str(plan.data_dir / "promote"),
        str(postmaster),
    )
    try:
        done = programs.run(argv, timeout_s=HELPER_TIMEOUT_S, user=plan.user)
    except (programs.TookTooLong, OSError) as error:
        raise PostgresFailed(f"promotion: {error}", hint="Is the host starved?") from error
    if done.status == _TOO_LATE:
        raise LeaseMovedOn(
            f"the promotion came later than {deadline:.2f} s of uptime, when its lease ends",
            hint="Nothing was changed; the next holder promotes. Look for what stopped this host.",
        )
    if not done.ok:
        raise PostgresFailed(f"promotion: {done.last_words()}", hint="Is PostgreSQL running?")
