"""The node's report as Prometheus metrics."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)

from failover_agent.core.health import Health, Renewals
from failover_agent.core.liveness import ALARMS
from failover_agent.core.model import NodeReport, Server, ServerState, SyncProgress
from failover_agent.core.near_miss import BOUNDS


def text(report: NodeReport) -> bytes:
    """The exposition format 0.0.4."""
    registry = CollectorRegistry()
    registry.register(_Collector(report))
    return generate_latest(registry)


class _Collector:
    def __init__(self, report: NodeReport) -> None:
        self._report = report

    def collect(self) -> Iterator[Metric]:
        report, server = self._report, self._report.server
        yield InfoMetricFamily(
            "primacy_node",
            "Who this node is",
            {"name": report.name, "az": report.az, "version": report.version, "doing": report.doing},
        )
        gauges: list[tuple[str, str, float]] = [
            ("primacy_lease_held", "1 when this node holds the lease", report.holds_lease),
            ("primacy_serving", "1 when it is primary and its gate is open", report.serving),
            (
                "primacy_reads_open",
                "1 when it is a standby and its gate is open to readers",
                report.reads_open,
            ),
            ("primacy_epoch", "The highest epoch it has seen", report.epoch),
            ("primacy_paused", "1 while a person has failover paused", report.paused),
            ("primacy_reaches_ec2", "1 when it can reach the EC2 API", report.reaches_ec2),
            ("primacy_postgres_answers", "1 when PostgreSQL's state is known", isinstance(server, Server)),
        ]
        if isinstance(server, Server):
            gauges += [
                ("primacy_postgres_primary", "1 on a primary", server.state is ServerState.PRIMARY),
                ("primacy_postgres_standby", "1 on a standby", server.state is ServerState.STANDBY),
                ("primacy_postgres_streaming", "1 while WAL is streamed in", server.streaming),
                ("primacy_postgres_timeline", "Timeline", server.timeline),
                ("primacy_postgres_received_bytes", "WAL position received or flushed", server.received_lsn),
                ("primacy_postgres_replayed_bytes", "WAL position replayed", server.replayed_lsn),
            ]
        gauges += _commit_gauges(report.sync)
        gauges += _health_gauges(report.health)
        for name, help_text, value in gauges:
            yield GaugeMetricFamily(name, help_text, value=float(value))
        yield _alarms(report.health)
        yield from _renewals(report.health.renewals)


def _commit_gauges(sync: SyncProgress | None) -> list[tuple[str, str, float]]:
    """Of a primary whose commits wait for standbys."""
    if sync is None:
        return []
    return [
        ("primacy_commits_hang", "1 while fewer standbys stream than a commit waits for", bool(sync.away)),
        ("primacy_commits_waiting", "Sessions whose commit waited at the last look", sync.waiting),
        ("primacy_commit_wait_seconds", "Since the statement of one of them began", sync.longest_wait_s),
    ]


def _health_gauges(health: Health) -> list[tuple[str, str, float]]:
    return [
        (
            "primacy_no_session_seconds",
            "Primary: how long no fresh session was answered",
            health.no_session_s,
        ),
        ("primacy_no_commit_seconds", "Primary: how long no client committed", health.no_commit_s),
        ("primacy_fsync_waits_seconds", "How long a small synced write has been out", health.fsync_waits_s),
        ("primacy_storage_hung", "1 when the storage counts as hung", health.hung),
        ("primacy_disk_full", "1 from full until the ballast stands again", health.full),
        ("primacy_disk_free_bytes", "Free on the data volume; -1: not measured", health.free_bytes),
        ("primacy_ballast", "1 while the ballast stands", health.ballast),
    ]


def _alarms(health: Health) -> Metric:
    alarms = GaugeMetricFamily("primacy_alarm", "1 for each alarm that is on", labels=["name"])
    for name in ALARMS:
        alarms.add_metric([name], float(name in health.alarms))
    return alarms


def _renewals(renewals: Renewals) -> Iterator[Metric]:
    """How near the renewals came to the lease's end: alert on it before a failover that is not needed."""
    yield CounterMetricFamily(
        "primacy_renewal_near_misses",
        "Renewals that landed when most of the lease's time was used up",
        value=renewals.near_misses,
    )
    buckets = [
        (str(bound) if bound < BOUNDS[-1] else "+Inf", float(count))
        for bound, count in zip(BOUNDS, renewals.buckets or (0,) * len(BOUNDS), strict=True)
    ]
    yield HistogramMetricFamily(
        "primacy_renewal_used_share",
        "Share of the lease's time that was used up when its renewal landed",
        buckets=buckets,
        sum_value=renewals.used_sum,
    )
    most = "The highest such share since this agent began"
    yield GaugeMetricFamily("primacy_renewal_used_share_most", most, value=renewals.used_most)
