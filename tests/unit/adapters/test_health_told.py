"""A node's health as peers, and Prometheus, read it."""

from __future__ import annotations

from dataclasses import replace

from tests.unit.adapters.test_door import REPORT

from failover_agent.adapters import metrics
from failover_agent.adapters.report_json import decode, encode
from failover_agent.core.health import WELL, Health, Renewals
from failover_agent.core.model import SyncProgress
from failover_agent.core.near_miss import add

RENEWALS = add(add(Renewals(), 0.2), 0.95)
HUNG = Health(hung=True, fsync_waits_s=12, free_bytes=77, renewals=RENEWALS, alarms=("storage-hung",))


def lines(health: Health) -> dict[str, float]:
    text = metrics.text(replace(REPORT, health=health)).decode()
    return {k: float(v) for k, v in (li.rsplit(" ", 1) for li in text.splitlines() if li[0] != "#")}


def test_a_peer_reads_the_health_as_it_was_told() -> None:
    assert decode(encode(replace(REPORT, health=HUNG))).health == HUNG


def test_a_pause_is_told_to_peers_and_to_prometheus() -> None:
    paused = replace(REPORT, paused=True)

    assert decode(encode(paused)).paused
    assert not decode({k: v for k, v in encode(paused).items() if k != "paused"}).paused
    assert "primacy_paused 1.0" in metrics.text(paused).decode()
    assert lines(WELL)["primacy_paused"] == 0


def test_an_older_agent_tells_no_health_and_is_well() -> None:
    plain = encode(REPORT)
    del plain["health"]

    assert decode(plain).health == WELL


def test_sessions_that_wait_for_standbys_are_told_to_peers_and_to_prometheus() -> None:
    hang = SyncProgress(True, "", ("db2",), waiting=3, longest_wait_s=4.5)
    report = replace(REPORT, sync=hang)

    assert decode(encode(report)).sync == hang
    told = metrics.text(report).decode().splitlines()
    assert "primacy_commits_hang 1.0" in told
    assert "primacy_commits_waiting 3.0" in told
    assert "primacy_commit_wait_seconds 4.5" in told
    assert "primacy_commits_waiting" not in metrics.text(replace(REPORT, sync=None)).decode()


def test_what_only_a_newer_agent_tells_is_left_out() -> None:
    plain = encode(replace(REPORT, health=HUNG))
    plain["health"]["mood"] = "fine"
    plain["health"]["renewals"]["mood"] = "fine"

    assert decode(plain).health == HUNG


def test_the_alarms_that_are_on_show_one_and_the_others_zero() -> None:
    assert lines(HUNG)['primacy_alarm{name="storage-hung"}'] == 1
    assert lines(HUNG)['primacy_alarm{name="disk-full"}'] == 0
    assert lines(HUNG)["primacy_disk_free_bytes"] == 77


def test_renewals_are_a_histogram_and_near_misses_a_counter() -> None:
    shown = lines(HUNG)

    assert shown["primacy_renewal_near_misses_total"] == 1
    assert shown['primacy_renewal_used_share_bucket{le="0.25"}'] == 1
    assert shown['primacy_renewal_used_share_bucket{le="0.9"}'] == 1
    assert shown['primacy_renewal_used_share_bucket{le="+Inf"}'] == 2
    assert shown["primacy_renewal_used_share_count"] == 2
    assert lines(WELL)['primacy_renewal_used_share_bucket{le="+Inf"}'] == 0, "no renewal yet"
