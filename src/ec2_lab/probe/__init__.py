"""A second reader of the VPC: what the API says must be what packets do.

It shares nothing with the rooms that build the VPC but the names of namespaces: it asks the API as any
client would, works out by itself where a packet must arrive, sends it, and listens everywhere.
"""

from ec2_lab.probe.packets import Disagreement, disagreements

__all__ = ["Disagreement", "disagreements"]
