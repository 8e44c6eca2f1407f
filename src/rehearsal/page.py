"""A page made of parts, each written by the command that it names; the others are left as they are."""

from __future__ import annotations

BEGIN, END = "<!-- begin: {} -->", "<!-- end: {} -->"

FRAME = """\
# Measured

Every part of this page was made by the command that it names, which replaces that part and no other.
Median (minimum-maximum), on lab hosts of one machine.

The outage is the longest time in which a client that writes an id every 10 ms through the virtual
address got no answer. Without a connection it begins a new attempt every 0.1 s, or 10 ms after one that
was refused, gives each 0.5 s, and uses the first that comes: never two, never two writes on their way.
It connects by `service=writer` of our application hosts ([clients](clients.md)): `keepalives_idle=1`,
`keepalives_interval=1`, `keepalives_count=2` and `tcp_user_timeout=1000`, so that it leaves a silent
connection within two seconds. A client that waits longer has an outage that is longer by as much.
Between two steps the cluster is whole, and one ttl passes: a member whose agent has just started votes for
nobody for so long ([failsafe](failsafe.md)), and a second failure within that time is answered as late.
*Lost*: acknowledged ids that the final primary does not have; mode `async`
allows what had not reached the standby, and every other loss fails the command. *Double*: ids
acknowledged by a node after another node had begun to acknowledge on a newer timeline. *Late*: ids
that a deposed node acknowledged after its lease had ended. A cut-off host is mended, and a hung or
full volume freed, as soon as another node serves. *Streams again* counts from when the power is back,
the cut mended, the agent or host awake, else from the fault.

Beside others, on such a machine with the same kind of client: power loss Patroni 32 s by default
and 22 s at its shortest documented settings, PAF 12 s; switchover repmgr 0.33 s, Patroni 1.4 s.
With a stopped agent and no watchdog Patroni lost over 4,000 acknowledged writes to two primaries.
"""


def put(page: str, name: str, part: str) -> str:
    """The page with `part` in the place of the old one of this name, or at its end; "" is an empty page."""
    begin, end = BEGIN.format(name), END.format(name)
    text = f"{begin}\n{part.strip()}\n{end}"
    page = page or FRAME
    if begin in page:
        before, _, rest = page.partition(begin)
        _, found, after = rest.partition(end)
        assert found, f"{begin} has no end"
        return before + text + after
    return f"{page.rstrip()}\n\n{text}\n"
