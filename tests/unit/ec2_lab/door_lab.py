"""A region over recording wires and machines, served on real sockets, and a small VPC in it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from tests.unit.ec2_lab.door_fakes import RecordingMachines, RecordingWires, until
from werkzeug.serving import WSGIRequestHandler, make_server

from ec2_lab.door.app import Door, build
from ec2_lab.model import LabPaths

VIP = "172.16.52.1/32"
IMAGE = "ami-0d1ab0debaa000013"

Wsgi = Callable[[dict[str, Any], Any], Iterable[bytes]]


class Quiet(WSGIRequestHandler):
    """Requests stand in the history already."""

    protocol_version = "HTTP/1.1"

    def log(self, type: str, message: str, *args: Any) -> None: ...


@dataclass(frozen=True)
class PathsHere(LabPaths):
    here: Path = field(default_factory=Path)

    @property
    def run(self) -> Path:
        return self.here


@contextmanager
def served(app: Wsgi) -> Iterator[int]:
    """The port on 127.0.0.1 at which this application answers."""
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


@dataclass
class Lab:
    """The door, what stands behind it, and clients of it."""

    door: Door
    wires: RecordingWires
    machines: RecordingMachines
    port: int
    stack: ExitStack
    vpc: str = ""
    subnet: str = ""
    table: str = ""

    def client(self, service: str, port: int | None = None, *, attempts: int = 1) -> Any:
        return boto3.client(  # type: ignore[call-overload]  # the service is a variable here
            service,
            region_name="eu-central-1",
            endpoint_url=f"http://127.0.0.1:{port or self.port}",
            aws_access_key_id="AKIACONTROLLER",
            aws_secret_access_key="x",
            config=Config(
                retries={"total_max_attempts": attempts, "mode": "standard"},
                read_timeout=60,
                max_pool_connections=16,
            ),
        )

    def port_of(self, app: Wsgi) -> int:
        return self.stack.enter_context(served(app))

    def make_vpc(self) -> None:
        ec2 = self.client("ec2")
        self.vpc = ec2.create_vpc(CidrBlock="10.0.0.0/16")["Vpc"]["VpcId"]
        made = ec2.create_subnet(VpcId=self.vpc, CidrBlock="10.0.11.0/24", AvailabilityZone="eu-central-1a")
        self.subnet = made["Subnet"]["SubnetId"]
        self.table = ec2.create_route_table(VpcId=self.vpc)["RouteTable"]["RouteTableId"]
        ec2.associate_route_table(RouteTableId=self.table, SubnetId=self.subnet)

    def run(self, name: str, **more: Any) -> tuple[str, str]:
        """Run an instance; its id and its interface's."""
        tags = [{"ResourceType": "instance", "Tags": [{"Key": "Name", "Value": name}]}]
        asked = {"ImageId": IMAGE, "MinCount": 1, "MaxCount": 1, "SubnetId": self.subnet} | more
        made = self.client("ec2").run_instances(TagSpecifications=tags, **asked)["Instances"][0]
        return made["InstanceId"], made["NetworkInterfaces"][0]["NetworkInterfaceId"]

    def state(self, instance_id: str) -> str:
        return self.door.engine.lives[instance_id].stage.value[0]

    def until_state(self, instance_id: str, state: str) -> None:
        until(lambda: self.state(instance_id) == state)

    def vip_route(self) -> dict[str, Any]:
        tables = self.client("ec2").describe_route_tables(RouteTableIds=[self.table])["RouteTables"]
        return next(r for r in tables[0]["Routes"] if r.get("DestinationCidrBlock") == VIP)

    def kernel_routes(self) -> dict[str, tuple[str, str]]:
        """Destination → (kind, target) of our table, as the wires were last told."""
        table = next(t for t in self.wires.network.tables if t.table_id == self.table)
        return {r.destination: (r.kind.value, r.target) for r in table.routes}


@contextmanager
def fresh_lab(here: Path) -> Iterator[Lab]:
    wires, machines = RecordingWires(), RecordingMachines()
    with ExitStack() as stack:
        door = build(PathsHere("unit", here), wires, machines)
        stack.callback(door.close)
        door.engine.states_lag_s = 0.0
        lab = Lab(door, wires, machines, stack.enter_context(served(door.wsgi)), stack)
        lab.make_vpc()
        yield lab
