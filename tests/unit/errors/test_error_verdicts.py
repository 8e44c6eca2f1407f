"""Each verdict as a pair: the healthy whole passes, the same with one thing changed is named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from failover_agent.core import verdicts
from failover_agent.core.model import Holder, LeaseItem, Member
from failover_agent.core.timings import PROFILES, impossible
from failover_agent.core.verdicts import DAY_S, Errors, TableSeen
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
    TimingsImpossible,
    UnitDown,
    VipInsideVpc,
    VipRouteMissing,
)

VIP = "172.16.52.1"
MEMBERS = (Member("db1", "10.0.0.1", "a", "i-1"), Member("db2", "10.0.0.2", "b", "i-2"))
ITEM = LeaseItem("c", "s1", Holder("db1", "i-1", "n"), 7, "t", 6, 1, 500)
TABLE = TableSeen(
    "rtb-a", ("10.0.0.0/16", "10.1.0.0/16"), {"172.16.52.1/32": "eni-1", "0.0.0.0/0": "eni-nat"}
)
INTERFACES = {"db1": "eni-1", "db2": "eni-2"}
NOW = 1_800_000_000.0


def only(errors: Errors, cls: type[AgentError]) -> AgentError:
    [error] = errors
    assert type(error) is cls
    assert error.object
    assert error.value
    assert error.expected
    assert error.hint
    return error


def test_a_source_destination_check_that_is_on() -> None:
    assert verdicts.source_dest_check("eni-1", on=False) == ()

    error = only(verdicts.source_dest_check("eni-1", on=True), SourceDestCheckOn)

    assert (error.object, error.value, error.expected) == ("source/destination check of eni-1", "on", "off")
    assert "eni-1" in error.hint


def test_a_route_table_that_is_not_there() -> None:
    assert verdicts.tables_exist(["rtb-a"], [TABLE]) == ()

    assert "rtb-b" in only(verdicts.tables_exist(["rtb-a", "rtb-b"], [TABLE]), RouteTableMissing).object
    only(verdicts.tables_exist([], []), RouteTableMissing)


def test_a_route_table_without_the_virtual_address() -> None:
    assert verdicts.route("writer", VIP, TABLE, INTERFACES) == ()

    without = replace(TABLE, targets={"0.0.0.0/0": "eni-nat"})
    error = only(verdicts.route("writer", VIP, without, INTERFACES), VipRouteMissing)

    assert "rtb-a" in error.object
    assert f"{VIP}/32" in error.object
    assert error.value == "there is no such route"


def test_a_route_that_is_a_blackhole_or_leads_to_a_stranger() -> None:
    hole = replace(TABLE, blackholes=frozenset({f"{VIP}/32"}))
    other_hole = replace(TABLE, blackholes=frozenset({"0.0.0.0/0"}))
    astray = replace(TABLE, targets={f"{VIP}/32": "eni-9"})

    assert "blackhole" in only(verdicts.route("writer", VIP, hole, INTERFACES), VipRouteMissing).value
    assert "eni-9" in only(verdicts.route("writer", VIP, astray, INTERFACES), VipRouteMissing).value
    assert verdicts.route("writer", VIP, other_hole, INTERFACES) == ()
    assert verdicts.route("writer", VIP, astray, {}) == (), (
        "while a member is silent its interface is unknown"
    )


@pytest.mark.parametrize("inside", ["10.0.0.5", "10.0.255.255", "10.1.0.1"])
def test_a_virtual_address_inside_the_vpc(inside: str) -> None:
    assert verdicts.vip_outside("writer", VIP, [TABLE]) == ()
    assert verdicts.vip_outside("writer", "10.2.0.1", [TABLE]) == ()

    error = only(verdicts.vip_outside("writer", inside, [TABLE]), VipInsideVpc)

    assert inside in error.object
    assert inside.rpartition(".")[0].rpartition(".")[0] in error.value


def test_an_absent_lease_is_an_alarm_unless_the_cluster_is_new() -> None:
    assert verdicts.lease_present("c", ITEM, fresh=False) == ()
    assert verdicts.lease_present("c", None, fresh=True) == ()

    assert "c" in only(verdicts.lease_present("c", None, fresh=False), LeaseMissing).object


@pytest.mark.parametrize(
    "changed",
    [
        ITEM.but(holder=Holder("db9", "i-9", "n")),
        ITEM.but(holder=Holder("db1", "i-9", "n")),  # another machine of the same name
        ITEM.but(may_claim=("db1", "db9")),
    ],
)
def test_two_clusters_of_one_name(changed: LeaseItem) -> None:
    assert verdicts.holder_is_ours(ITEM, MEMBERS) == ()
    assert verdicts.holder_is_ours(ITEM.but(holder=None), MEMBERS) == ()

    error = only(verdicts.holder_is_ours(changed, MEMBERS), ClusterNameTaken)

    assert "9" in error.value
    assert error.expected == "one of db1 (i-1), db2 (i-2)"


def test_a_foreign_data_directory() -> None:
    assert verdicts.data_is_ours("/srv", "s1", ITEM) == ()
    assert verdicts.data_is_ours("/srv", "s2", None) == ()
    assert verdicts.data_is_ours("/srv", "s2", ITEM.but(system_identifier="")) == ()
    assert verdicts.data_is_ours("/srv", "", ITEM) == (), "no data yet"

    error = only(verdicts.data_is_ours("/srv", "s2", ITEM), ForeignDataDirectory)

    assert (error.object, error.value) == ("data directory /srv", "system s2")
    assert "s1" in error.expected


@pytest.mark.parametrize(
    ("ahead_s", "apart"), [(0, False), (5, False), (-5, False), (5.1, True), (-5.1, True)]
)
def test_clocks_far_apart(ahead_s: float, apart: bool) -> None:
    errors = verdicts.clocks("db1", "db2", ahead_s)

    assert bool(errors) is apart
    if apart:
        error = only(errors, ClocksApart)
        assert ("ahead" if ahead_s > 0 else "behind") in error.value
        assert "db1" in error.object
        assert "db2" in error.object


@pytest.mark.parametrize(
    ("begins_in", "ends_in", "value"),
    [
        (-1, 15, ""),
        (-1, 13.9, "ends in 13.9 days"),
        (-9, -2, "expired 2.0 days ago"),
        (3, 90, "valid only in 3.0 days"),
    ],
)
def test_a_certificate_that_is_not_valid_for_long(begins_in: float, ends_in: float, value: str) -> None:
    errors = verdicts.certificate("/node.crt", NOW, NOW + begins_in * DAY_S, NOW + ends_in * DAY_S)

    assert [error.value for error in errors] == ([value] if value else [])
    if errors:
        only(errors, CertificateUnfit)


def test_a_disk_that_is_nearly_full() -> None:
    gib = 1 << 30
    assert verdicts.disk("/srv", 1 * gib, 10 * gib) == ()

    assert (
        "1023 MiB of 10240 MiB"
        in only(verdicts.disk("/srv", gib - (1 << 20), 10 * gib), DiskNearlyFull).value
    )


def test_a_gate_that_is_not_as_written_and_a_unit_that_rests() -> None:
    assert verdicts.gate(intact=True) == ()
    assert verdicts.unit("u.service", "active") == ()

    only(verdicts.gate(intact=False), GateDisturbed)
    assert only(verdicts.unit("u.service", "failed"), UnitDown).value == "failed"
    assert only(verdicts.unit("u.service", ""), UnitDown).value


@pytest.mark.parametrize(
    ("change", "name", "least"),
    [
        ({"margin_s": 0.85}, "margin_s", "0.856"),
        ({"ttl_s": 3.4}, "ttl_s", "3.5"),
        ({"suspect_after_s": 2.2}, "suspect_after_s", "2.25"),
    ],
)
def test_impossible_timings_are_refused_with_the_sum(change: dict[str, float], name: str, least: str) -> None:
    balanced = PROFILES["balanced"]
    assert impossible(balanced, "here") is None

    error = impossible(replace(balanced, **change), "here")

    assert error is not None
    assert type(only((error,), TimingsImpossible)) is TimingsImpossible
    assert error.object == f"{name} of here"
    assert error.value == f"{change[name]:g} s"
    assert error.expected.startswith(f"at least {least}")
    assert "request_timeout_s" in error.expected


def test_commits_that_wait_for_nobody_are_told_where_they_are_promised_and_only_there() -> None:
    settings = ("off for role hasty",)

    [told] = verdicts.outside_the_promise("quorum", settings)
    assert isinstance(told, CommitsUnprotected)
    assert told.value == "off for role hasty"
    assert verdicts.outside_the_promise("async", settings) == ()
    assert verdicts.outside_the_promise("strict", ()) == ()
