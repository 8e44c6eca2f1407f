"""What a fresh region holds: no default VPC, one AMI as Debian publishes it.

Simulated:
- [documented] AMI owner 136693071363, name `debian-13-amd64-DATE-SERIAL`, root device /dev/xvda
  <wiki.debian.org/Cloud/AmazonEC2Image>
- [documented (it can be deleted)] the account has no default VPC <VPC user guide: default VPCs>
- [assumed] prefix lists of S3 and DynamoDB hold the lab's own address of the service
"""

from __future__ import annotations

from typing import Any

from ec2_lab.door import ACCOUNT, REGION, ZONES
from ec2_lab.model import SERVICE_ADDRESSES

DEBIAN_OWNER = "136693071363"
DEBIAN_IMAGE = "debian-13-amd64-20250911-2232"


def ec2() -> Any:
    """Moto's EC2 of this region."""
    from moto.backends import get_backend

    return get_backend("ec2")[ACCOUNT][REGION]


def fresh_region() -> Any:
    """Forget everything moto holds, then make an empty region. Returns its EC2."""
    from moto.core.base_backend import BackendDict

    BackendDict.reset()
    backend = ec2()
    _remove_default_vpc(backend)
    _register_debian(backend)
    for prefix_list in backend.managed_prefix_lists.values():
        service = prefix_list.prefix_list_name.rpartition(".")[2]
        if service in SERVICE_ADDRESSES:
            entry = {"Cidr": f"{SERVICE_ADDRESSES[service]}/32", "Description": service}
            prefix_list.entries = {prefix_list.version: [entry]}
    return backend


def _remove_default_vpc(backend: Any) -> None:
    for things in (
        backend.subnets,
        backend.route_tables,
        backend.network_acls,
        backend.groups,
        backend.internet_gateways,
        backend.vpcs,
        backend.tags,
    ):
        things.clear()


def _register_debian(backend: Any) -> None:
    from moto.ec2.models.amis import Ami

    ami = Ami(
        backend,
        "ami-0d1ab0debaa000013",
        name=DEBIAN_IMAGE,
        description="Debian 13 (20250911-2232)",
        owner_id=DEBIAN_OWNER,
        public=True,
        virtualization_type="hvm",
        architecture="x86_64",
        hypervisor="xen",
        image_location=f"amazon/{DEBIAN_IMAGE}",
        root_device_type="ebs",
        root_device_name="/dev/xvda",
        region_name=ZONES[0],
    )
    backend.amis[ami.id] = ami
