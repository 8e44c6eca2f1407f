"""How the links of the router namespace are called, and the addresses between it and the internet."""

from __future__ import annotations

IGW = "igw"  # to the internet, through the gateway's 1:1 NAT
SVC = "svc"  # to the region's services, for gateway endpoints: no NAT
VOID = "void"  # where packets for interfaces without a machine go; the forward hook drops them

# TEST-NET-1 (RFC 5737): no VPC can be using it.
IGW_ROUTER, IGW_FAR = "192.0.2.0", "192.0.2.1"
SVC_ROUTER, SVC_FAR = "192.0.2.2", "192.0.2.3"


def link(eni_id: str) -> str:
    """The router's end of an interface's cable; Linux allows 15 characters.

    The last eleven hexadecimal digits of the id tell a lab's interfaces apart.
    """
    return f"eni-{eni_id[-11:]}"
