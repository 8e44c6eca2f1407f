"""A small region for the tests of the VPC: real namespaces and real packets, no machines.

subnet a 10.0.11.0/24   subnet b 10.0.12.0/24   public subnet 10.0.1.0/24
  db1 .10, app1 .20       db2 .10                 nat .10 = 198.51.100.7, check off
  table rtb-a             table rtb-b             table rtb-pub
"""

from __future__ import annotations

import dataclasses
import socket
import socketserver
import subprocess
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ec2_lab.model import (
    DYNAMODB_ADDRESS,
    Direction,
    Interface,
    LabPaths,
    Network,
    Route,
    RouteTable,
    SecurityGroup,
    SecurityRule,
    Subnet,
    TargetKind,
)
from ec2_lab.vpc import Vpc, namespace

T = TypeVar("T")

VPC, CIDR = "vpc-01", "10.0.0.0/16"
VIP = "172.16.0.1"
ANSWER_S = 10.0  # until what must come has come, on a machine where anybody may stand still for seconds
SILENCE_S = 1.0  # how long we listen to silence: long for one packet between namespaces
PORT = 5432
EVERYWHERE = ("0.0.0.0/0",)

ADDRESSES = {"db1": "10.0.11.10", "app1": "10.0.11.20", "db2": "10.0.12.10", "nat": "10.0.1.10"}
SUBNETS = {"db1": "a", "app1": "a", "db2": "b", "nat": "pub"}
NAT_PUBLIC = "198.51.100.7"


def eni(name: str) -> str:
    return f"eni-000000000000000{list(ADDRESSES).index(name) + 1:02x}"


def rule(direction: Direction, protocol: str, port: int = 0, **peers: tuple[str, ...]) -> SecurityRule:
    return SecurityRule(direction, protocol, port, port, **peers)


OUT = rule(Direction.EGRESS, "all", cidrs=EVERYWHERE)
GROUPS = (
    SecurityGroup("sg-db", VPC, (rule(Direction.INGRESS, "tcp", PORT, group_ids=("sg-app", "sg-db")), OUT)),
    SecurityGroup("sg-app", VPC, (OUT,)),
    SecurityGroup("sg-nat", VPC, (rule(Direction.INGRESS, "all", cidrs=(CIDR,)), OUT)),
)
LOCAL = Route(CIDR, TargetKind.LOCAL)
BY_NAT = Route("0.0.0.0/0", TargetKind.INTERFACE, eni("nat"))


def interface(name: str) -> Interface:
    number = list(ADDRESSES).index(name) + 1
    return Interface(
        eni_id=eni(name),
        instance_id=f"i-{number:017x}",
        vpc_id=VPC,
        subnet_id=f"subnet-{SUBNETS[name]}",
        mac=f"02:00:00:00:00:{number:02x}",
        private_ips=(ADDRESSES[name],),
        public_ip=NAT_PUBLIC if name == "nat" else "",
        source_dest_check=name != "nat",
        groups=({"db1": "sg-db", "db2": "sg-db", "app1": "sg-app", "nat": "sg-nat"}[name],),
    )


NETWORK = Network(
    vpc_cidrs=((VPC, (CIDR,)),),
    subnets=(
        Subnet("subnet-a", VPC, "10.0.11.0/24", "rtb-a"),
        Subnet("subnet-b", VPC, "10.0.12.0/24", "rtb-b"),
        Subnet("subnet-pub", VPC, "10.0.1.0/24", "rtb-pub"),
    ),
    tables=(
        RouteTable("rtb-a", VPC, (LOCAL, BY_NAT)),
        RouteTable("rtb-b", VPC, (LOCAL, BY_NAT)),
        RouteTable("rtb-pub", VPC, (LOCAL, Route("0.0.0.0/0", TargetKind.INTERNET))),
    ),
    groups=GROUPS,
    interfaces=tuple(interface(name) for name in ADDRESSES),
)


def with_routes(network: Network, table_id: str, *routes: Route) -> Network:
    """The network with these routes in one table beside the ones it has."""
    tables = [
        dataclasses.replace(t, routes=t.routes + routes) if t.table_id == table_id else t
        for t in network.tables
    ]
    return dataclasses.replace(network, tables=tuple(tables))


def with_interface(network: Network, name: str, **changes: object) -> Network:
    interfaces = [
        dataclasses.replace(i, **changes) if i.eni_id == eni(name) else i  # type: ignore[arg-type]
        for i in network.interfaces
    ]
    return dataclasses.replace(network, interfaces=tuple(interfaces))


def open_to_all(network: Network) -> Network:
    """The network with groups that let everything in and out."""
    anything = rule(Direction.INGRESS, "all", cidrs=EVERYWHERE)
    groups = tuple(dataclasses.replace(g, rules=(anything, OUT)) for g in network.groups)
    return dataclasses.replace(network, groups=groups)


def to(name: str, destination: str = f"{VIP}/32") -> Route:
    return Route(destination, TargetKind.INTERFACE, eni(name))


def service() -> Route:
    return Route(f"{DYNAMODB_ADDRESS}/32", TargetKind.SERVICE, "dynamodb")


class _SayWho(socketserver.BaseRequestHandler):
    """Tell the caller which host answers and which address it saw, then echo."""

    def handle(self) -> None:
        server = self.server
        assert isinstance(server, _Server)
        self.request.sendall(f"{server.name} {self.client_address[0]}\n".encode())
        while data := self.request.recv(1024):
            self.request.sendall(data)


class _Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    name = ""


def _datagrams(address: str, within_s: float) -> socket.socket:
    made = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    made.settimeout(within_s)
    made.bind((address, 0))
    return made


class Spot:
    """A place in the network from which one can talk and listen."""

    def __init__(self, name: str, netns: str) -> None:
        self.name, self.netns = name, netns
        self._thread = ThreadPoolExecutor(1, initializer=lambda: namespace.enter(netns))
        self._servers: list[_Server] = []

    def do(self, work: Callable[[], T]) -> T:
        return self._thread.submit(work).result()

    def run(self, *argv: str) -> str:
        return self.do(lambda: subprocess.run(argv, check=True, capture_output=True, text=True).stdout)

    def serve(self, port: int = PORT) -> None:
        server = self.do(lambda: _Server(("0.0.0.0", port), _SayWho))  # noqa: S104
        self.adopt(server)

    def adopt(self, server: _Server) -> None:
        server.name = self.name
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        self._servers.append(server)

    def dial(
        self, address: str, port: int = PORT, *, source: str = "", within_s: float = ANSWER_S
    ) -> socket.socket:
        """A connection; TimeoutError when nobody says anything, ConnectionError when refused."""
        bound = (source, 0) if source else None
        return self.do(lambda: socket.create_connection((address, port), within_s, source_address=bound))

    def ask(self, address: str, port: int = PORT, *, source: str = "", within_s: float = ANSWER_S) -> str:
        """`HOST SEEN`: who answered, and which address it saw; `silence` when nobody did."""
        try:
            with self.dial(address, port, source=source, within_s=within_s) as connection:
                return connection.recv(100).decode().strip()
        except TimeoutError:
            return "silence"

    def gets_no_answer(self, address: str, port: int = PORT, *, source: str = "") -> bool:
        return self.ask(address, port, source=source, within_s=SILENCE_S) == "silence"

    def hears(self, sender: Spot, address: str, *, source: str = "", within_s: float = ANSWER_S) -> bool:
        """Whether one datagram from `sender` to `address` arrives here; no answer takes part in it."""
        with (
            self.do(lambda: _datagrams("0.0.0.0", within_s)) as ear,  # noqa: S104
            sender.do(lambda: _datagrams(source, within_s)) as mouth,
        ):
            mouth.sendto(b"hear me", (address, ear.getsockname()[1]))
            try:
                return ear.recv(100) == b"hear me"
            except TimeoutError:
                return False

    def hears_nothing(self, sender: Spot, address: str, *, source: str = "") -> bool:
        return not self.hears(sender, address, source=source, within_s=SILENCE_S)

    def close(self) -> None:
        for server in self._servers:
            server.shutdown()
            server.server_close()
        self._thread.shutdown()


def echo(connection: socket.socket, word: str = "ping", *, within_s: float = ANSWER_S) -> str:
    """What comes back for `word`, `silence` when nothing does."""
    connection.settimeout(within_s)
    try:
        connection.sendall(word.encode())
        return connection.recv(100).decode()
    except TimeoutError:
        return "silence"


def gets_no_echo(connection: socket.socket, word: str = "ping") -> bool:
    return echo(connection, word, within_s=SILENCE_S) == "silence"


class World:
    """The region above, plugged in; everybody serves PORT, the internet's addresses port 80."""

    def __init__(self, name: str) -> None:
        self.paths = LabPaths(name)
        self.vpc = Vpc(self.paths)
        self.apply(NETWORK)
        self.spots: dict[str, Spot] = {}
        for host in ADDRESSES:
            self.plug(host)
        self.internet = Spot("internet", self.paths.internet_netns)
        self.internet.serve(80)

    def plug(self, name: str) -> Spot:
        gateway = ADDRESSES[name].rsplit(".", 1)[0] + ".1"
        netns = self.vpc.plug(interface(name), prefix_length=24, gateway=gateway)
        spot = self.spots[name] = Spot(name, netns)
        spot.serve()
        if name == "nat":
            spot.run("sysctl", "-qw", "net.ipv4.ip_forward=1")
            spot.run(
                "nft", "add table ip nat; add chain ip nat post { type nat hook postrouting priority 100; }"
            )
            spot.run("nft", "add rule ip nat post oifname eth0 masquerade")
        return spot

    def apply(self, network: Network) -> None:
        self.vpc.apply(network)

    def __getitem__(self, name: str) -> Spot:
        return self.spots[name]

    def restore(self) -> None:
        self.apply(NETWORK)
        self.vpc.reach_api(True)
        for name in ADDRESSES:
            self.vpc.heal(eni(name))

    def close(self) -> None:
        for spot in [*self.spots.values(), self.internet]:
            spot.close()
        self.vpc.close()
