"""Moto's models put right where they differ from EC2 on our way.

Each amendment names its source. They change moto's classes, once per process: a lab's door
owns its process, and every region in it is this lab's.

Simulated:
- [documented] sourceDestCheck of instance and primary interface: one flag <EC2 API:
  ModifyInstanceAttribute>
- [documented] security groups of instance and primary interface: one set <EC2 API:
  ModifyInstanceAttribute>
- [documented] route to an interface of a stopped or lost instance: `blackhole` <EC2 API: Route.State;
  Outposts user guide>
- [documented] a route names both the interface and its instance <EC2 API: Route>
- [documented (reserved ones), assumed (order)] private addresses: lowest free one, never the first four
  or the last <VPC user guide: subnet sizing>
- [documented] an update of a stack that changes nothing: "No updates are to be performed", also without
  parameters <CloudFormation API: UpdateStack>
- [documented] a change set is for an existing stack unless it says otherwise, and one without changes has
  failed <CloudFormation API: CreateChangeSet; user guide: change sets>
- [assumed] route stays `active` while the instance is `stopping`
"""

from __future__ import annotations

import ipaddress
from functools import cache
from typing import Any

from moto import backends as moto_backends
from moto.cloudformation.exceptions import ValidationError
from moto.cloudformation.responses import CloudFormationResponse
from moto.core import responses as moto_responses
from moto.core.utils import method_names_from_class
from moto.ec2 import utils as ec2_utils
from moto.ec2.exceptions import EC2ClientError
from moto.ec2.models.elastic_network_interfaces import NetworkInterface, NetworkInterfaceBackend
from moto.ec2.models.instances import Instance
from moto.ec2.models.route_tables import Route
from moto.ec2.models.subnets import Subnet

ALIVE = ("running", "stopping", "shutting-down")

_INSTANCE_FILTERS = {
    "network-interface.network-interface-id": "network_interfaces.id",
    "network-interface.subnet-id": "network_interfaces.subnet_id",
    "network-interface.vpc-id": "network_interfaces.vpc_id",
    "network-interface.addresses.private-ip-address": "network_interfaces.private_ip_address",
    "network-interface.availability-zone": "network_interfaces.availability_zone",
    "instance-state-code": "state_code_text",
    "client-token": "client_token",
    "root-device-name": "root_device_name",
    "iam-instance-profile.arn": "iam_instance_profile.Arn",
    "placement-group-name": "placement.group_name",
}


def free_address(backend: Any, subnet: Any) -> str:
    """The lowest address of the subnet that no interface has."""
    taken = {
        address["PrivateIpAddress"]
        for eni in backend.enis.values()
        if eni.subnet.id == subnet.id
        for address in eni.private_ip_addresses
    }
    network = ipaddress.IPv4Network(subnet.cidr_block)
    for host in range(4, network.num_addresses - 1):
        candidate = str(network.network_address + host)
        if candidate not in taken:
            return candidate
    raise EC2ClientError(
        "InsufficientFreeAddressesInSubnet",
        f"There are not enough free addresses in subnet '{subnet.id}' to satisfy the requested number of"
        " instances.",
    )


def primary(instance: Any) -> Any:
    """The interface at device index 0, None while moto is still making the instance."""
    return getattr(instance, "nics", {}).get(0)


def apply() -> None:
    """Amend moto. Doing it twice changes nothing."""
    _one_flag_and_one_group_set()
    _routes_know_their_target()
    _addresses_like_aws()
    _stacks_know_when_nothing_changes()
    _change_sets_are_updates()
    _look_up_once()
    ec2_utils.filter_dict_attribute_mapping.update(_INSTANCE_FILTERS)
    _amend(
        Instance,
        state_code_text=property(lambda self: str(self.state_code)),
        setup_defaults=_root_volume,
    )


def _amend(model: Any, **attributes: object) -> None:
    for name, value in attributes.items():
        setattr(model, name, value)


def _one_flag_and_one_group_set() -> None:
    def read_check(self: Any) -> bool:
        eni = primary(self)
        return bool(eni.source_dest_check) if eni else bool(self.__dict__.get("source_dest_check", True))

    def write_check(self: Any, value: object) -> None:
        on = str(value).lower() == "true"
        self.__dict__["source_dest_check"] = on
        if eni := primary(self):
            eni.source_dest_check = on

    def read_groups(self: Any) -> list[Any]:
        eni = primary(self)
        return list(eni._group_set) if eni else self.__dict__.get("security_groups", [])

    def write_groups(self: Any, groups: list[Any]) -> None:
        self.__dict__["security_groups"] = groups
        if eni := primary(self):
            eni._group_set = list(groups)

    _amend(
        Instance,
        source_dest_check=property(read_check, write_check),
        security_groups=property(read_groups, write_groups),
    )
    _amend(NetworkInterface, group_set=property(lambda self: list(dict.fromkeys(self._group_set))))


def _routes_know_their_target() -> None:
    def interface(route: Any) -> Any:
        if route.interface:
            return route.interface
        return primary(route.instance) if route.instance else None

    def interface_id(self: Any) -> str | None:
        eni = interface(self)
        return eni.id if eni else None

    def instance_id(self: Any) -> str | None:
        eni = interface(self)
        instance = eni.instance if eni else self.instance
        return instance.id if instance else None

    def state(self: Any) -> str:
        backend = self.route_table.ec2_backend
        if self.interface or self.instance:
            eni = interface(self)
            up = bool(eni and eni.id in backend.enis and eni.instance and eni.instance.state in ALIVE)
            return "active" if up else "blackhole"
        if self.gateway and self.gateway.id.startswith("igw-"):
            gateway = backend.internet_gateways.get(self.gateway.id)
            return "active" if gateway and gateway.vpc else "blackhole"
        return "active"

    _amend(
        Route,
        network_interface_id=property(interface_id),
        instance_id=property(instance_id),
        state=property(state),
    )


def _addresses_like_aws() -> None:
    def available(self: Any, instance: Any) -> str:
        address = free_address(self.ec2_backend, self)
        self._subnet_ips[address] = instance
        return address

    def request(self: Any, ip: str, instance: Any) -> None:
        self._subnet_ips[ip] = instance  # `rules` has already refused what is not free

    def create(self: Any, subnet: Any, private_ip_address: Any, *args: Any, **kwargs: Any) -> Any:
        where = self.get_subnet(subnet) if isinstance(subnet, str) else subnet
        addresses = kwargs.get("private_ip_addresses") or (args[0] if args else None)
        if not private_ip_address and not addresses:
            private_ip_address = free_address(self, where)
        return moto_create(self, where, private_ip_address, *args, **kwargs)

    _amend(Subnet, get_available_subnet_ip=available, request_ip=request)
    if not hasattr(NetworkInterfaceBackend, "amended"):
        moto_create = NetworkInterfaceBackend.create_network_interface
        _amend(NetworkInterfaceBackend, create_network_interface=create, amended=True)


def _stacks_know_when_nothing_changes() -> None:
    def different(self: Any, parameters: Any, body: Any, old: Any) -> None:
        tags = {tag["Key"]: tag["Value"] for tag in self._get_param("Tags", [])}
        if not parameters and not old.stack_parameters and body == old.template and tags in ({}, old.tags):
            raise ValidationError(old.name, message="No updates are to be performed.")
        moto_different(self, parameters, body, old)

    if not hasattr(CloudFormationResponse, "amended"):
        moto_different = CloudFormationResponse._validate_different_update
        _amend(CloudFormationResponse, _validate_different_update=different, amended=True)


def _change_sets_are_updates() -> None:
    def create(self: Any) -> Any:
        asked = self._get_param
        self._get_param = lambda name, *default: asked(
            name, *(("UPDATE",) if name == "ChangeSetType" else default)
        )
        self._validate_different_update = lambda *_: None  # one without changes is made, and has failed
        return moto_create(self)

    if CloudFormationResponse.create_change_set.__module__.startswith("moto."):
        moto_create = CloudFormationResponse.create_change_set
        _amend(CloudFormationResponse, create_change_set=create)


def _look_up_once() -> None:
    """Moto lists its own folders and its classes' methods anew for every call: a third of its time."""
    if not hasattr(moto_backends.list_of_moto_modules, "cache_info"):
        modules = tuple(moto_backends.list_of_moto_modules())
        _amend(moto_backends, list_of_moto_modules=cache(lambda: modules))
        _amend(moto_responses, method_names_from_class=cache(method_names_from_class))


def _root_volume(self: Any) -> None:
    volume = self.ec2_backend.create_volume(size=8, zone_name=self.availability_zone)
    self.ec2_backend.attach_volume(volume.id, self.id, self.root_device_name, True)
