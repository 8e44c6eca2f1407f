"""The machines of the lab: systemd-nspawn hosts with disks that can lose power."""

from __future__ import annotations

from ec2_lab.hosts.machines import Hosts
from ec2_lab.hosts.remains import sweep

__all__ = ["Hosts", "sweep"]
