"""The text of the gate's nftables table: the one source of it, at boot and for the agent.

    client ──▶ 5432 ──▶ input: let through while the gate is open, else refused with a reset
    member ──▶ 5433 ──▶ redirected to 5432, told apart by the connection's original port
    client ──▶ a virtual address that is not bound here ──▶ refused with a reset
    PostgreSQL ──▶ sport 5432 ──▶ output: let through while open; else dropped, bare resets excepted

The table is shut as written here. What opens it is one element with a timeout in the set `open`
*and* a rule with an absolute bound in the chain `passing`; gate_kernel replaces both at each refresh (G4).
Why reject on the way in but drop on the way out, and why a reset may leave: PROTOCOL G3.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass

TABLE = "inet failover_gate"
TABLE_NAME = "failover_gate"
OPEN_SET = "open"
PASSING_CHAIN = "passing"

# A TCP header has 5 to 15 words. A reset is bare when nothing follows it.
_HEADER_WORDS = range(5, 16)
_IPV4_HEADER_BYTES = 20


@dataclass(frozen=True, slots=True)
class GatePlan:
    """What the gate guards on this node."""

    port: int
    replication_port: int
    members: tuple[str, ...]  # addresses that may replicate
    replication_uids: tuple[int, ...]  # who on this host may open a connection to a replication port
    vips: tuple[str, ...] = ()  # virtual addresses of the cluster, bound here or not


def table_text(plan: GatePlan) -> str:
    """The whole table, shut, as one transaction that may be loaded over any older form of it."""
    return _HEAD + _body(plan)


_HEAD = f"""\
# Written by `failoverctl gate-table`. Shut as it stands; the agent opens it for as long as the lease lasts.
add table {TABLE}
delete table {TABLE}
"""


def _body(plan: GatePlan) -> str:
    uids = ", ".join(str(uid) for uid in sorted(set(plan.replication_uids)))
    return f"""\
table {TABLE} {{
    set open {{
        type inet_service
        flags timeout
    }}
    set members4 {{
        type ipv4_addr{_elements(plan.members, 4)}
    }}
    set members6 {{
        type ipv6_addr{_elements(plan.members, 6)}
    }}
    chain passing {{
    }}
{_strays(plan)}    chain redirect_replication {{
        type nat hook prerouting priority dstnat; policy accept;
        tcp dport {plan.replication_port} ip saddr @members4 redirect to :{plan.port}
        tcp dport {plan.replication_port} ip6 saddr @members6 redirect to :{plan.port}
    }}
    chain input {{
        type filter hook input priority filter - 10; policy accept;
        tcp dport != {{ {plan.port}, {plan.replication_port} }} accept
        tcp dport {plan.port} ct original proto-dst {plan.replication_port} ip saddr @members4 accept
        tcp dport {plan.port} ct original proto-dst {plan.replication_port} ip6 saddr @members6 accept
        tcp dport @open jump passing
        meta l4proto tcp reject with tcp reset
    }}
    chain output {{
        type filter hook output priority filter - 10; policy accept;
        tcp dport {plan.replication_port} meta skuid != {{ {uids} }} reject with tcp reset
        tcp sport != {plan.port} accept
        tcp sport {plan.port} ct original proto-dst {plan.replication_port} ip daddr @members4 accept
        tcp sport {plan.port} ct original proto-dst {plan.replication_port} ip6 daddr @members6 accept
        tcp sport @open jump passing
{_bare_resets(plan.port)}
        meta l4proto tcp drop
    }}
}}
"""


def _strays(plan: GatePlan) -> str:
    """Refuses what still comes for a virtual address that is bound elsewhere by now.

    A route may point here for a moment longer than the address stands here. The kernel would drop such
    packets without a word, and every client would wait a second for its retransmission.
    """
    rules = []
    for version, family in ((4, "ip"), (6, "ip6")):
        if vips := _of_version(plan.vips, version):
            rules.append(
                f"        tcp dport {plan.port} {family} daddr {{ {', '.join(vips)} }}"
                " fib daddr type != local reject with tcp reset\n"
            )
    if not rules:
        return ""
    hook = "        type filter hook prerouting priority raw; policy accept;\n"
    return "    chain strays {\n" + hook + "".join(rules) + "    }\n"


def _of_version(addresses: Iterable[str], version: int) -> list[str]:
    """In order, each once."""
    found = {ip for ip in map(ipaddress.ip_address, addresses) if ip.version == version}
    return [str(ip) for ip in sorted(found, key=lambda ip: ip.packed)]


def _elements(members: Iterable[str], version: int) -> str:
    addresses = _of_version(members, version)
    return "\n        elements = { " + ", ".join(addresses) + " }" if addresses else ""


def _bare_resets(port: int) -> str:
    """One rule per header length: nft has no arithmetic to say "nothing after the header"."""
    rules = []
    for words in _HEADER_WORDS:
        rst = f"        tcp sport {port} tcp flags & rst == rst tcp doff {words}"
        rules.append(f"{rst} ip hdrlength 5 ip length {_IPV4_HEADER_BYTES + 4 * words} accept")
        rules.append(f"{rst} ip6 length {4 * words} accept")
    return "\n".join(rules)
