"""The VPC in the kernel: cables, route tables, security groups, the internet gateway."""

from ec2_lab.vpc.wires import Vpc, sweep

__all__ = ["Vpc", "sweep"]
