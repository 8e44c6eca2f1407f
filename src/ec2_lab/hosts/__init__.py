"""The machines of the lab: systemd-nspawn hosts with disks that can lose power."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ec2_lab.hosts.machines import Hosts
    from ec2_lab.hosts.remains import sweep

__all__ = ["Hosts", "sweep"]


def __getattr__(name: str) -> object:
    # Loaded when asked for: `ec2-lab exec` needs only the cgroups and must start quickly.
    if name == "Hosts":
        from ec2_lab.hosts.machines import Hosts

        return Hosts
    if name == "sweep":
        from ec2_lab.hosts.remains import sweep

        return sweep
    raise AttributeError(name)
