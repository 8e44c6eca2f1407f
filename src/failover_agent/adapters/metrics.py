"""The node's report as Prometheus metrics."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric

from failover_agent.core.model import NodeReport, Server, ServerState


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
        for name, help_text, value in gauges:
            yield GaugeMetricFamily(name, help_text, value=float(value))
