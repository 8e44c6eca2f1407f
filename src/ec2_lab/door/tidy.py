"""What moto leaves undone after a call that succeeded. Level-triggered: it looks at the whole state.

Simulated:
- [documented] an interface made by RunInstances goes with its instance unless told otherwise <EC2 API:
  InstanceNetworkInterfaceSpecification>
- [documented] an instance always has a root volume, also when only data volumes were named <EC2 user
  guide: block device mapping>
- [documented] a terminated instance lets go of the interfaces that outlive it <EC2 user guide: instance
  termination>
- [documented] a gateway endpoint has its prefix-list route in exactly its route tables <VPC user guide:
  gateway endpoints>
- [documented] a volume that was made from no snapshot names an empty one, not none <EC2 API: Volume>
"""

from __future__ import annotations

from typing import Any

from ec2_lab.door.calls import Call
from ec2_lab.door.keys import name_by_arn


def after(call: Call, backend: Any) -> None:
    """Complete what the call began."""
    if call.action == "RunInstances":
        for reservation in list(backend.reservations.values())[-1:]:
            for instance in reservation.instances:
                _complete_new_instance(call, instance)
    if call.action in ("RunInstances", "CreateVolume"):
        for volume in backend.volumes.values():
            volume.snapshot_id = volume.snapshot_id or ""
        name_by_arn(backend)
    if "VpcEndpoint" in call.action:
        _endpoint_routes(backend)
    if call.action == "TerminateInstances":
        for eni in list(backend.enis.values()):
            if eni.instance and eni.instance.state in ("terminated", "shutting-down"):
                _let_go(eni)


def _complete_new_instance(call: Call, instance: Any) -> None:
    for index, eni in instance.nics.items():
        prefix = f"NetworkInterface.{index + 1}."
        if not call.params.get(prefix + "NetworkInterfaceId"):
            told = call.params.get(prefix + "DeleteOnTermination", "true")
            eni.delete_on_termination = told.lower() == "true"
    if instance.root_device_name not in instance.block_device_mapping:
        instance.setup_defaults()


def _endpoint_routes(backend: Any) -> None:
    for table in backend.route_tables.values():
        wanted = {
            e.destination_prefix_list_id: e.id
            for e in backend.vpc_end_points.values()
            if e.destination_prefix_list_id and e.state != "deleted" and table.id in e.route_table_ids
        }
        for route in table.routes:
            listed = route.destination_prefix_list_id
            if listed and wanted.pop(listed, None) is None:
                table._routes.pop(route.id, None)
        for prefix_list, endpoint in wanted.items():
            backend.create_route(table.id, None, gateway_id=endpoint, destination_prefix_list_id=prefix_list)


def _let_go(eni: Any) -> None:
    eni.instance = None
    eni.attachment_id = None
    eni.attach_time = None
    eni.device_index = None
    eni.status = "available"
