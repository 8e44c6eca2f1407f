"""What the doctor looks at on this node: each check is one look and the verdict over it.

Everything here reads. What needs a right to change is asked by requests that cannot change anything
(adapters.inspect_cloud). The checks need no running agent; what a running one says is one of them.
"""

from __future__ import annotations

from failover_agent.adapters.systemd import SystemdUnit, Unit
from failover_agent.checkup.cloud import Cloud
from failover_agent.checkup.host import Host
from failover_agent.checkup.neighbours import Neighbours
from failover_agent.checkup.store import Store
from failover_agent.config import Config
from failover_agent.core.timings import impossible, relations
from failover_agent.shell.doctor import Check, Finding

__all__ = ["checks"]


def checks(config: Config, unit: Unit | None = None) -> tuple[Check, ...]:
    """In the order in which one thing rests on another. `unit` holds PostgreSQL; systemd's if not given."""
    neighbours = Neighbours(config)
    host = Host(config, unit or SystemdUnit(config.postgres.unit))
    cloud, store = Cloud(config, neighbours), Store(config, host)
    return (
        Check("timings", lambda: _timings(config)),
        Check("units", host.units),
        Check("agent", host.agent),
        Check("gate", host.gate),
        Check("certificate", host.certificate),
        Check("disk", host.disk),
        Check("store", store.reached),
        Check("store rights", store.rights),
        Check("lease", store.lease),
        Check("data directory", store.data_directory),
        Check("postgresql", host.postgresql),
        Check("promise", store.promise),
        Check("logins", neighbours.logins),
        Check("peers", neighbours.answer),
        Check("clocks", lambda: neighbours.clocks(store.clock_ahead_s)),
        Check("interface", cloud.interface),
        Check("routes", cloud.routes),
        Check("addresses", cloud.addresses),
        Check("route rights", cloud.rights),
        Check("fencing", cloud.fencing),
    )


def _timings(config: Config) -> Finding:
    broken = impossible(config.timing(), f"timings of profile {config.profile}")
    sums = "; ".join(str(relation) for relation in relations(config.timing()))
    return Finding(f"{config.profile}: {sums}", (broken,) if broken else ())
