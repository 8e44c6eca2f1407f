"""What EC2 refuses and moto would do. Each rule looks at a call and raises `Refused`, or lets it pass.

Invariant: a refused call has changed nothing, because rules run before moto sees it.

Simulated:
- [documented] DryRun answers DryRunOperation (412) and does nothing <EC2 API: common parameters>
- [documented (code), assumed (same target)] a route for the same destination: RouteAlreadyExists, also
  with the same target <EC2 API: error codes>
- [documented] a destination inside the VPC's CIDR must be a whole subnet and target an interface or an
  instance <VPC user guide: subnet route tables>
- [documented] 169.254.168.0/22 is no destination <VPC user guide: subnet route tables>
- [documented] start, stop, reboot in a wrong state: IncorrectInstanceState <EC2 API: error codes>
- [documented] an association or a network ACL that does not exist: InvalidAssociationID.NotFound,
  InvalidNetworkAclID.NotFound, and nothing is changed <EC2 API: error codes>
- [documented] a used ClientToken with other parameters: IdempotentParameterMismatch <EC2 API: ensuring
  idempotency>
- [not supported by the lab] an instance with more than one interface
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from typing import Any

from ec2_lab.door.amend import primary
from ec2_lab.door.answers import Refused
from ec2_lab.door.calls import Call
from ec2_lab.door.keys import key_is_usable

_NO_DESTINATION = ipaddress.IPv4Network("169.254.168.0/22")
_ADDRESS_PARAMETER = re.compile(
    r"^(NetworkInterface\.\d+\.)?(PrivateIpAddress|PrivateIpAddresses\.\d+\.PrivateIpAddress)$"
)
_SECOND_INTERFACE = re.compile(r"^NetworkInterface\.[2-9]\d*\.(DeviceIndex|NetworkInterfaceId|SubnetId)$")


def check(call: Call, backend: Any) -> None:
    """Refuse the EC2 call as EC2 would. Raises Refused."""
    if call.flag("DryRun"):
        raise Refused("DryRunOperation", "Request would have succeeded, but DryRun flag is set.", 412)
    for rule in _RULES.get(call.action, ()):
        rule(call, backend)


def _destination_is_allowed(call: Call, backend: Any) -> None:
    table = backend.route_tables.get(call.params.get("RouteTableId", ""))
    text = call.params.get("DestinationCidrBlock", "")
    if not table or not text:
        return  # moto has the right words for both
    destination = _network(text)
    if destination is None:
        raise Refused(
            "InvalidParameterValue", f"Value ({text}) for parameter destinationCidrBlock is invalid."
        )
    if destination.subnet_of(_NO_DESTINATION):
        raise Refused("InvalidParameterValue", f"The destination CIDR block {text} is reserved.")
    inside = any(destination.subnet_of(cidr) for cidr in vpc_networks(backend.vpcs[table.vpc_id]))
    if not inside:
        return
    subnets = {
        ipaddress.IPv4Network(subnet.cidr_block)
        for zone in backend.subnets.values()
        for subnet in zone.values()
        if subnet.vpc_id == table.vpc_id
    }
    middlebox = {"NetworkInterfaceId", "InstanceId", "NatGatewayId", "VpcEndpointId"} & set(call.params)
    if destination not in subnets or not middlebox:
        raise Refused(
            "InvalidParameterValue",
            f"The destination CIDR block {text} is equal to or more specific than one of this VPC's CIDR"
            " blocks. This route can target only an interface or an instance.",
        )


def _route_is_new(call: Call, backend: Any) -> None:
    table = backend.route_tables.get(call.params.get("RouteTableId", ""))
    destination = _network(call.params.get("DestinationCidrBlock", ""))
    if not table or destination is None:
        return
    for route in table.routes:
        if _network(route.destination_cidr_block or "") == destination:
            raise Refused("RouteAlreadyExists", f"The route identified by {destination} already exists.")


def _target_exists(call: Call, backend: Any) -> None:
    """Moto's ReplaceRoute takes the old target away before it finds that the new one is missing."""
    eni = call.params.get("NetworkInterfaceId")
    if eni and eni not in backend.enis:
        raise Refused("InvalidNetworkInterfaceID.NotFound", f"The networkInterface ID '{eni}' does not exist")
    gateway = call.params.get("GatewayId", "")
    if gateway.startswith("igw-") and gateway not in backend.internet_gateways:
        raise Refused(
            "InvalidInternetGatewayID.NotFound", f"The internetGateway ID '{gateway}' does not exist"
        )
    instance_id = call.params.get("InstanceId")
    if instance_id:
        instance = _instance(backend, instance_id)
        if not primary(instance):
            raise Refused("InvalidInstanceID", f"The instance '{instance_id}' has no interface.")


def _acl_and_association_exist(call: Call, backend: Any) -> None:
    """Moto takes the old association away before it finds that the new ACL is missing."""
    association, acl = call.params.get("AssociationId", ""), call.params.get("NetworkAclId", "")
    if not any(association == a.id for found in backend.network_acls.values() for a in found.associations):
        raise Refused("InvalidAssociationID.NotFound", f"The association ID '{association}' does not exist")
    if acl not in backend.network_acls:
        raise Refused("InvalidNetworkAclID.NotFound", f"The networkAcl ID '{acl}' does not exist")


def _state_is_one_of(verb: str, *allowed: str) -> Callable[[Call, Any], None]:
    def rule(call: Call, backend: Any) -> None:
        for instance_id in call.listed("InstanceId"):
            if _instance(backend, instance_id).state not in allowed:
                raise Refused(
                    "IncorrectInstanceState",
                    f"The instance '{instance_id}' is not in a state from which it can be {verb}.",
                )

    return rule


def _addresses_are_free(call: Call, backend: Any) -> None:
    if call.action == "RunInstances" and int(call.params.get("MaxCount", "1")) > 1:
        return
    wanted = {value for key, value in call.params.items() if _ADDRESS_PARAMETER.match(key)}
    if not wanted:
        return
    subnet_id = call.params.get("SubnetId") or call.params.get("NetworkInterface.1.SubnetId") or ""
    subnet = next((zone[subnet_id] for zone in backend.subnets.values() if subnet_id in zone), None)
    if subnet is None:
        return
    network = ipaddress.IPv4Network(subnet.cidr_block)
    reserved = [*(str(network.network_address + n) for n in range(4)), str(network.broadcast_address)]
    for address in sorted(wanted):
        if ipaddress.IPv4Address(address) not in network or address in reserved:
            raise Refused(
                "InvalidParameterValue", f"Address {address} does not fall within the subnet's address range"
            )
        for eni in backend.enis.values():
            if eni.vpc_id == subnet.vpc_id and any(
                a["PrivateIpAddress"] == address for a in eni.private_ip_addresses
            ):
                raise Refused("InvalidIPAddress.InUse", f"Address {address} is in use.")


def _one_interface(call: Call, _backend: Any) -> None:
    given = [key for key in call.params if _SECOND_INTERFACE.match(key)]
    if given or call.params.get("DeviceIndex", "0") != "0":
        raise Refused("UnsupportedOperation", "A machine of this lab has exactly one network interface.")


def _interface_is_available(call: Call, backend: Any) -> None:
    eni_id = call.params.get("NetworkInterface.1.NetworkInterfaceId")
    if not eni_id:
        return
    if eni_id not in backend.enis:
        raise Refused(
            "InvalidNetworkInterfaceID.NotFound", f"The networkInterface ID '{eni_id}' does not exist"
        )
    if backend.enis[eni_id].instance:
        raise Refused("InvalidNetworkInterface.InUse", f"Interface: [{eni_id}] in use.")


def _volume_is_free(call: Call, backend: Any) -> None:
    volume = backend.volumes.get(call.params.get("VolumeId", ""))
    if volume and volume.attachment:
        raise Refused("VolumeInUse", f"{volume.id} is already attached to an instance")
    if volume:
        zone = _instance(backend, call.params.get("InstanceId", "")).availability_zone
        if volume.zone.name != zone:
            raise Refused(
                "InvalidVolume.ZoneMismatch", f"The volume '{volume.id}' is not in the same zone as instance"
            )


def _network(text: str) -> ipaddress.IPv4Network | None:
    try:
        return ipaddress.IPv4Network(text)
    except ValueError:
        return None


def vpc_networks(vpc: Any) -> list[ipaddress.IPv4Network]:
    """The VPC's CIDRs, all of them."""
    return [ipaddress.IPv4Network(c["cidr_block"]) for c in vpc.get_cidr_block_association_set(ipv6=False)]


def _instance(backend: Any, instance_id: str) -> Any:
    found = backend.get_instance_by_id(instance_id)
    if found is None:
        raise Refused("InvalidInstanceID.NotFound", f"The instance ID '{instance_id}' does not exist")
    return found


_RULES: dict[str, tuple[Callable[[Call, Any], None], ...]] = {
    "CreateRoute": (_destination_is_allowed, _route_is_new, _target_exists),
    "ReplaceRoute": (_destination_is_allowed, _target_exists),
    "ReplaceNetworkAclAssociation": (_acl_and_association_exist,),
    "RunInstances": (_one_interface, _interface_is_available, _addresses_are_free, key_is_usable),
    "CreateVolume": (key_is_usable,),
    "CreateNetworkInterface": (_addresses_are_free,),
    "AttachNetworkInterface": (_one_interface,),
    "AttachVolume": (_volume_is_free,),
    "StartInstances": (_state_is_one_of("started", "stopped", "pending", "running"),),
    "StopInstances": (_state_is_one_of("stopped", "running", "stopping", "stopped"),),
    "RebootInstances": (_state_is_one_of("rebooted", "running"),),
}
