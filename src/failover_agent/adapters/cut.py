"""Cutting this host off another node's PostgreSQL in the kernel (PROTOCOL F2).

Its own table, in front of the gate's: whatever else is open or shut, no packet passes between here and the
ports of the other's PostgreSQL, in either direction, whether its connection is new, old, or half closed.
A packet filter looks at every packet, so established connections are cut as well.
"""

from __future__ import annotations

import ipaddress

from failover_agent.adapters import programs
from failover_agent.errors import PostgresFailed

TABLE = "inet failover_cut"
NFT_TIMEOUT_S = 3.0


def table_text(address: str, ports: tuple[int, ...]) -> str:
    """The whole table as one transaction that may be loaded over any older form of it."""
    family = "ip" if ipaddress.ip_address(address).version == 4 else "ip6"
    listed = ", ".join(str(port) for port in sorted(set(ports)))
    return f"""\
# Written by failover-agent while this node is sealed against {address}.
add table {TABLE}
delete table {TABLE}
table {TABLE} {{
    chain input {{
        type filter hook input priority filter - 20; policy accept;
        {family} saddr {address} tcp sport {{ {listed} }} drop
    }}
    chain output {{
        type filter hook output priority filter - 20; policy accept;
        {family} daddr {address} tcp dport {{ {listed} }} drop
    }}
}}
"""


_NO_TABLE = f"add table {TABLE}\ndelete table {TABLE}\n"


def cut(address: str, ports: tuple[int, ...]) -> None:
    """From here on no packet passes. Raises PostgresFailed."""
    _load(table_text(address, ports), f"cutting off {address}")


def uncut() -> None:
    """Raises PostgresFailed."""
    _load(_NO_TABLE, "ending the cut")


def stands(address: str) -> bool:
    """Whether the table is in the kernel and names `address`; somebody may have flushed the ruleset."""
    try:
        done = programs.run(("nft", "list", "table", *TABLE.split()), timeout_s=NFT_TIMEOUT_S)
    except (programs.TookTooLong, OSError):
        return False
    return done.ok and done.out.count(f" {address} ") == 2  # one chain for each direction


def _load(text: str, what: str) -> None:
    try:
        done = programs.run(("nft", "-f", "-"), stdin=text, timeout_s=NFT_TIMEOUT_S)
    except (programs.TookTooLong, OSError) as error:
        raise PostgresFailed(
            f"{what}: nft could not be run: {error}",
            hint="Is nftables installed? Else this host stood still.",
        ) from error
    if not done.ok:
        raise PostgresFailed(f"{what}: {done.last_words()}", hint="The agent needs CAP_NET_ADMIN.")
