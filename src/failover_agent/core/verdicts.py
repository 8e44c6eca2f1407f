"""What is wrong with what was found, as errors that name object, value and remedy. Pure.

Each function takes what somebody saw and gives the errors it amounts to; empty means that it is fine.
A thing that could not be seen is no verdict: whoever looked has the error already.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from failover_agent.core.model import Holder, LeaseItem, Member
from failover_agent.errors import (
    AgentError,
    CertificateUnfit,
    ClocksApart,
    ClusterNameTaken,
    CommitsUnprotected,
    DiskNearlyFull,
    ForeignDataDirectory,
    GateDisturbed,
    LeaseMissing,
    RouteTableMissing,
    SourceDestCheckOn,
    UnitDown,
    VipInsideVpc,
    VipRouteMissing,
)

# A Date header tells whole seconds, and its way takes time. AWS itself bears five minutes, our logs do not.
CLOCKS_APART_S = 5.0
CERTIFICATE_DAYS = 14.0
DISK_FREE_SHARE = 0.10
DAY_S = 86400.0

Errors = tuple[AgentError, ...]


@dataclass(frozen=True, slots=True)
class TableSeen:
    """A route table of the VPC, as EC2 shows it."""

    id: str
    vpc_cidrs: tuple[str, ...]  # destinations of its `local` routes
    targets: Mapping[str, str]  # destination → interface id, "" for anything else
    blackholes: frozenset[str] = frozenset()  # destinations

    def target_of(self, vip: str) -> str:
        """The interface that the VIP's own route leads to; empty where none does."""
        return self.targets.get(str(ipaddress.ip_network(vip)), "")


def source_dest_check(interface_id: str, on: bool) -> Errors:
    if not on:
        return ()
    return (
        SourceDestCheckOn.about(
            f"source/destination check of {interface_id}",
            value="on",
            expected="off",
            hint=f"aws ec2 modify-network-interface-attribute --network-interface-id {interface_id}"
            " --no-source-dest-check, or run playbooks/provision.yml.",
        ),
    )


def tables_exist(wanted: Collection[str], seen: Collection[TableSeen]) -> Errors:
    """Every route table of the configuration; none at all is a mistake, too: nobody would be routed."""
    missing = sorted(set(wanted) - {table.id for table in seen})
    if not wanted:
        return (_no_table("ec2.route_table_ids", "empty"),)
    return tuple(_no_table(f"route table {table}", "there is no such table") for table in missing)


def _no_table(about: str, value: str) -> RouteTableMissing:
    return RouteTableMissing.about(
        about,
        value=value,
        expected="the private route tables of this VPC",
        hint="Run playbooks/site.yml: it finds the private tables and writes them into agent.yml.",
    )


def route(name: str, vip: str, table: TableSeen, leads_to: Mapping[str, str]) -> Errors:
    """A VIP's route in one table. `leads_to`: the members' interface ids that are known, by name."""
    destination = str(ipaddress.ip_network(vip))
    target = table.targets.get(destination)
    if target is None:
        value = "there is no such route"
    elif destination in table.blackholes:
        value = f"a blackhole ({target or 'no interface'})"
    elif leads_to and target not in leads_to.values():
        value = f"leads to {target or 'no interface'}, which is no member's"
    else:
        return ()
    members = ", ".join(f"{member} ({interface})" for member, interface in sorted(leads_to.items()))
    return (
        VipRouteMissing.about(
            f"route {destination} of endpoint {name} in {table.id}",
            value=value,
            expected=f"the interface of the holder{', one of ' + members if members else ''}",
            hint="The holder repairs it every few seconds: if it stays, look at `rights` here and at the"
            " holder's journal (`journalctl -u failover-agent | grep routing`).",
        ),
    )


def vip_outside(name: str, vip: str, tables: Iterable[TableSeen]) -> Errors:
    """AWS routes an address inside the VPC to the VPC itself."""
    address = ipaddress.ip_address(vip)
    cidrs = sorted({cidr for table in tables for cidr in table.vpc_cidrs})
    inside = [cidr for cidr in cidrs if _holds(cidr, address)]
    if not inside:
        return ()
    return (
        VipInsideVpc.about(
            f"virtual address {vip} of endpoint {name}",
            value=f"inside the VPC's network {', '.join(inside)}",
            expected=f"an address outside {', '.join(cidrs)}",
            hint="Choose one that nothing near the VPC uses, 172.16.52.1 for example, in primacy_endpoints;"
            " then run playbooks/site.yml.",
        ),
    )


def _holds(cidr: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    network = ipaddress.ip_network(cidr)
    return network.version == address.version and address in network


def lease_present(cluster: str, item: LeaseItem | None, fresh: bool) -> Errors:
    """`fresh`: no data here, and the leave to make a new cluster."""
    if item is not None or fresh:
        return ()
    return (
        LeaseMissing.about(
            f"lease item of cluster {cluster}",
            value="not in the table",
            expected="one item with the sort key 'lease'",
            hint="Nothing is touched until a person decides: see 'The lease is missing' in"
            " docs/operations.md.",
        ),
    )


def holder_is_ours(item: LeaseItem, members: Iterable[Member]) -> Errors:
    """Two clusters of one name write into one item: its holder, or a candidate, is none of our machines."""
    ours = {member.name: member.instance_id for member in members}
    strangers = [name for name in item.may_claim if name not in ours]
    if item.holder is not None and ours.get(item.holder.name) != item.holder.instance_id:
        strangers.insert(0, _holder(item.holder))
    if not strangers:
        return ()
    return (
        ClusterNameTaken.about(
            f"lease of cluster {item.cluster}",
            value=f"{', '.join(strangers)} at epoch {item.epoch},"
            f" system {item.system_identifier or 'not made'}",
            expected="one of " + ", ".join(f"{name} ({machine})" for name, machine in sorted(ours.items())),
            hint="Another cluster uses this name and table: give one of them another primacy_cluster."
            " If a member's machine was replaced, run playbooks/site.yml so that every node knows it.",
        ),
    )


def _holder(holder: Holder) -> str:
    return f"{holder.name} ({holder.instance_id})"


def data_is_ours(where: str, system_identifier: str, item: LeaseItem | None) -> Errors:
    """The data directory against the lease. While the lease has no system yet, nothing can be said."""
    if item is None or not item.system_identifier or system_identifier in ("", item.system_identifier):
        return ()
    return (
        ForeignDataDirectory.about(
            f"data directory {where}",
            value=f"system {system_identifier}",
            expected=f"system {item.system_identifier} of the lease of {item.cluster}",
            hint="Attach the right volume; or, if this data is worth nothing here, move it aside and the node"
            " clones. See 'Foreign data' in docs/operations.md.",
        ),
    )


def clocks(here: str, there: str, offset_s: float) -> Errors:
    """`offset_s`: how far the clock of `there` is ahead."""
    if abs(offset_s) <= CLOCKS_APART_S:
        return ()
    return (
        ClocksApart.about(
            f"clock of {here} against {there}",
            value=f"{there} is {abs(offset_s):.0f} s {'ahead' if offset_s > 0 else 'behind'}",
            expected=f"at most {CLOCKS_APART_S:g} s apart",
            hint="Look at `timedatectl` on both: chrony must run, against 169.254.169.123 on EC2. The lease"
            " does not depend on it (PROTOCOL L7), certificates and journals do.",
        ),
    )


def certificate(path: str, now: float, not_before: float, not_after: float) -> Errors:
    days = (not_after - now) / DAY_S
    if now < not_before:
        value = f"valid only in {(not_before - now) / DAY_S:.1f} days"
    elif days < 0:
        value = f"expired {-days:.1f} days ago"
    elif days < CERTIFICATE_DAYS:
        value = f"ends in {days:.1f} days"
    else:
        return ()
    return (certificate_unfit(path, value),)


def certificate_unfit(path: str, value: str) -> CertificateUnfit:
    return CertificateUnfit.about(
        f"certificate {path}",
        value=value,
        expected=f"of this cluster's CA, with its key, for {CERTIFICATE_DAYS:g} more days",
        hint="Run playbooks/site.yml: it makes and brings new ones. If the date is odd, look at the clock.",
    )


def outside_the_promise(mode: str, settings: Sequence[str]) -> Errors:
    """What is acknowledged by these settings a failover may lose, in a mode that promises otherwise (S8)."""
    if mode == "async" or not settings:
        return ()
    error = CommitsUnprotected.about(
        "synchronous_commit",
        value="; ".join(settings),
        expected=f"on or remote_apply in mode {mode}",
        hint="If their commits may be lost in a failover, leave it. Else, for a role or a database, ALTER …"
        " RESET synchronous_commit: sessions take it up when they begin. In a file: take it out of the"
        " inventory and run playbooks/site.yml; out of postgresql.auto.conf, which from 17 on ALTER SYSTEM"
        " may not change here, take the line by hand, on every node, then `systemctl reload"
        " primacy-postgresql`.",
    )
    return (error,)


def disk(path: str, free_bytes: int, size_bytes: int) -> Errors:
    if free_bytes >= size_bytes * DISK_FREE_SHARE:
        return ()
    return (
        DiskNearlyFull.about(
            f"volume of {path}",
            value=f"{free_bytes / 2**20:.0f} MiB of {size_bytes / 2**20:.0f} MiB free",
            expected=f"at least {DISK_FREE_SHARE:.0%} free",
            hint="Remove `*.kept-*` and `diverged/*` beside the data directory that nobody needs any more, or"
            " grow the volume. A full disk stops PostgreSQL.",
        ),
    )


def gate(intact: bool) -> Errors:
    if intact:
        return ()
    return (
        GateDisturbed.about(
            "nftables table inet failover_gate",
            value="gone, or not as `failoverctl gate-table` prints it",
            expected="as it was written",
            hint="The agent puts it back, shut: is it running? Find who ran `nft flush ruleset` or restarted"
            " nftables.service.",
        ),
    )


def unit(name: str, state: str, wanted: Collection[str] = ("active",)) -> Errors:
    if state in wanted:
        return ()
    return (
        UnitDown.about(
            f"unit {name}",
            value=state or "unknown to systemd",
            expected=" or ".join(wanted),
            hint=f"See `systemctl status {name}` and `journalctl -u {name}`.",
        ),
    )
