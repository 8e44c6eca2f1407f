"""What the three rooms of the lab say to each other.

    door (the API) ──▶ Network, HostSpec ──▶ vpc (the kernel), hosts (the machines)

The door reads moto's state after every change and describes what ought to exist with the
values below; `vpc` and `hosts` make it so. Nothing here does anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path

METADATA_ADDRESS = "169.254.169.254"

# Where the region's endpoints live on the lab's internet (TEST-NET-3, RFC 5737).
API_ADDRESS = "203.0.113.10"  # EC2, IAM, STS, KMS and whatever has no gateway endpoint
DYNAMODB_ADDRESS = "203.0.113.20"
S3_ADDRESS = "203.0.113.30"
SERVICE_ADDRESSES = {"dynamodb": DYNAMODB_ADDRESS, "s3": S3_ADDRESS}


class Power(Enum):
    """Whether the machine behind an instance really runs; the API may not know yet."""

    RUNNING = "running"
    PAUSED = "paused"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class Volume:
    """An EBS volume: a sparse file, a loop device while attached, gone when deleted."""

    volume_id: str  # vol-0123…, with the dash
    size_gib: int
    device: str  # as the API names it: /dev/sdf


@dataclass(frozen=True, slots=True)
class HostSpec:
    """All that is needed to build and boot the machine behind one instance."""

    instance_id: str
    name: str  # the Name tag, or the instance id where there is none
    az: str
    private_ip: str
    prefix_length: int  # of its subnet
    gateway: str  # the subnet's first address, as in AWS
    mac: str
    authorized_key: str  # OpenSSH public key of its key pair, empty when it has none
    volumes: tuple[Volume, ...] = ()  # data volumes, without the root volume


@dataclass(frozen=True, slots=True)
class Interface:
    """An elastic network interface."""

    eni_id: str
    instance_id: str  # empty when it is attached to nothing
    vpc_id: str
    subnet_id: str
    mac: str
    private_ips: tuple[str, ...]
    public_ip: str  # empty when it has none
    source_dest_check: bool
    groups: tuple[str, ...]


class TargetKind(Enum):
    LOCAL = "local"
    INTERFACE = "interface"  # target: an ENI id
    INTERNET = "internet"  # an internet gateway
    SERVICE = "service"  # target: dynamodb or s3, through a gateway endpoint
    BLACKHOLE = "blackhole"  # the target is stopped or gone: dropped without a word


@dataclass(frozen=True, slots=True)
class Route:
    destination: str  # CIDR; for SERVICE the service's address as /32
    kind: TargetKind
    target: str = ""


@dataclass(frozen=True, slots=True)
class RouteTable:
    table_id: str
    vpc_id: str
    routes: tuple[Route, ...]


@dataclass(frozen=True, slots=True)
class Subnet:
    subnet_id: str
    vpc_id: str
    cidr: str
    table_id: str
    acl_id: str = ""


class Direction(Enum):
    INGRESS = "ingress"
    EGRESS = "egress"


@dataclass(frozen=True, slots=True)
class SecurityRule:
    direction: Direction
    protocol: str  # tcp, udp, icmp or all
    from_port: int  # 0 to 65535; meaningless for icmp and all
    to_port: int
    cidrs: tuple[str, ...] = ()
    group_ids: tuple[str, ...] = ()  # members of these groups, by their private addresses


@dataclass(frozen=True, slots=True)
class SecurityGroup:
    group_id: str
    vpc_id: str
    rules: tuple[SecurityRule, ...]


@dataclass(frozen=True, slots=True)
class AclEntry:
    """A rule of a network ACL; the lowest number that fits decides."""

    number: int
    direction: Direction
    allow: bool
    protocol: str = "all"  # tcp, udp, icmp or all
    cidr: str = "0.0.0.0/0"
    from_port: int = 0
    to_port: int = 65535


@dataclass(frozen=True, slots=True)
class NetworkAcl:
    acl_id: str
    vpc_id: str
    entries: tuple[AclEntry, ...] = ()


@dataclass(frozen=True, slots=True)
class Network:
    """All of the region's networking at one moment, as the API states it."""

    vpc_cidrs: tuple[tuple[str, tuple[str, ...]], ...] = ()  # (vpc id, its CIDRs)
    subnets: tuple[Subnet, ...] = ()
    tables: tuple[RouteTable, ...] = ()
    groups: tuple[SecurityGroup, ...] = ()
    acls: tuple[NetworkAcl, ...] = ()
    interfaces: tuple[Interface, ...] = ()


@dataclass(frozen=True, slots=True)
class LabPaths:
    """Where one lab keeps its things. Two labs share only the host image."""

    name: str

    @property
    def run(self) -> Path:
        """Sockets, pid files, what dies with a reboot."""
        return Path("/run/ec2-lab") / self.name

    @property
    def disks(self) -> Path:
        """Images of root and data volumes."""
        return Path("/var/lib/ec2-lab/labs") / self.name

    @property
    def images(self) -> Path:
        """Host images, one folder per content hash, shared by all labs."""
        return Path("/var/lib/ec2-lab/images")

    @property
    def control_socket(self) -> Path:
        """The door's control interface; root only."""
        return self.run / "control.sock"

    @property
    def router_netns(self) -> str:
        """The VPC: every interface's other end, all route tables, all security groups."""
        return f"ec2-{self.name}-vpc"

    @property
    def internet_netns(self) -> str:
        """Where the API's addresses are."""
        return f"ec2-{self.name}-net"

    def host_netns(self, instance_id: str) -> str:
        return f"ec2-{self.name}-{instance_id}"
