"""Two real agents with real PostgreSQL, gates, routes and mTLS, without the lab's machines.

Goal: that shell and adapters fit. The lab's scenarios measure and prove more, on real hosts.

    db1 10.9.0.1 ── db2 10.9.0.2
     └── 10.9.1.1 ── 10.9.1.2 API
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from failover_agent import killpoints
from failover_agent.adapters.control_client import Control, Refused
from failover_agent.adapters.systemd import looks
from failover_agent.errors import AgentError

from .moto_server import REGION, TABLE, MotoServer, client
from .namespaces import entered, ip, node_with_neighbours
from .postgres_nodes import MEMBERS, SOON_S, Node, certificates, make_node, newest_bin_dir, until

pytestmark = [pytest.mark.lab, pytest.mark.skipif(os.geteuid() != 0, reason="needs root")]

API = "10.9.1.2"
VIP = "172.16.52.1"
ROOT = Path(__file__).parents[2]


@dataclass
class World:
    place: Path
    nodes: dict[str, Node]
    configs: dict[str, Path]
    ec2: Any
    table_id: str
    interfaces: dict[str, str]
    agents: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def start(self, name: str, die_at: str = "") -> None:
        node = self.nodes[name]
        log = (self.place / f"{name}.log").open("ab")
        with entered(node.namespace):
            self.agents[name] = subprocess.Popen(
                (
                    sys.executable,
                    "-m",
                    "tests.contract.agent_process",
                    str(self.configs[name]),
                    node.unit.name,
                    node.namespace,
                ),
                cwd=ROOT,
                stdout=log,
                stderr=log,
                env={**os.environ, "PYTHONPATH": str(ROOT / "src"), killpoints.VARIABLE: die_at},
            )

    def lose_power(self, name: str) -> None:
        """Everything in memory is gone: the agent and its run directory, PostgreSQL, gate and addresses."""
        node = self.nodes[name]
        self.agents[name].send_signal(signal.SIGKILL)
        node.unit.kill(5)
        self.agents[name].wait()
        for volatile in node.plan.run_dir.iterdir():
            volatile.unlink()
        with entered(node.namespace):
            subprocess.run(
                ("ip", "address", "del", f"{VIP}/32", "dev", "lo"), check=False, capture_output=True
            )
            subprocess.run(("nft", "flush", "ruleset"), check=True)
            self.nodes[name].plan.run_dir.mkdir(exist_ok=True)

    def end(self) -> None:
        for name, agent in self.agents.items():
            agent.kill()
            agent.wait()
            print(f"--- {name}", (self.place / f"{name}.log").read_text()[-6000:], sep="\n")

    def status(self, name: str) -> dict[str, Any]:
        try:
            return Control(self.nodes[name].plan.run_dir / "control.sock").cluster()
        except AgentError:
            return {"holder": "", "members": [], "endpoints": []}

    def settled(self, primary: str, standby: str) -> bool:
        status = self.status(primary)
        states = {m["name"]: m["state"] for m in status["members"]}
        return status["holder"] == primary and states == {primary: "running", standby: "streaming"}

    def route(self) -> str:
        table = self.ec2.describe_route_tables(RouteTableIds=[self.table_id])["RouteTables"][0]
        routes = {r.get("DestinationCidrBlock"): r.get("NetworkInterfaceId") for r in table["Routes"]}
        return next((n for n, i in self.interfaces.items() if i == routes.get(f"{VIP}/32")), "")


def configuration(node: Node, world_place: Path, interfaces: dict[str, str], table_id: str) -> dict[str, Any]:
    plan, url = node.plan, f"http://{API}:{MOTO_PORT}"
    return {
        "cluster": "primacy",
        "node": node.name,
        "profile": "patient",  # a slow machine shall not miss a deadline here
        "instance": {"id": f"i-{node.name}", "interface_id": interfaces[node.name], "az": f"{REGION}a"},
        "store": {"table": TABLE, "region": REGION, "endpoint_url": url},
        "ec2": {"region": REGION, "endpoint_url": url, "route_table_ids": [table_id]},
        "endpoints": [{"name": "writer", "vip": VIP, "port": 5432}],
        "members": [
            {"name": name, "address": address, "az": f"{REGION}a", "instance_id": f"i-{name}"}
            for name, address in MEMBERS.items()
        ],
        "postgres": {
            "version": plan.version,
            "bin_dir": str(plan.bin_dir),
            "data_dir": str(plan.data_dir),
            "config_file": str(plan.config_file),
            "agent_config_file": str(plan.agent_config_file),
            "socket_dir": str(plan.socket_dir),
        },
        "tls": {
            "ca": str(world_place / "ca.crt"),
            "cert": str(world_place / f"{node.name}.crt"),
            "key": str(world_place / f"{node.name}.key"),
        },
        "secrets": {
            "replication": str(plan.replication_secret),
            "rewind": str(plan.rewind_secret),
            "bootstrap_token": str(plan.state_dir / "bootstrap-token"),
        },
        "state_dir": str(plan.state_dir),
        "run_dir": str(plan.run_dir),
    }


MOTO_PORT = 5000


@pytest.fixture
def world() -> Iterator[World]:
    with ExitStack() as stack:
        place = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="agents-")))
        place.chmod(0o755)
        first, second, api = stack.enter_context(node_with_neighbours("ag"))
        ip("-n", second, "route", "add", "default", "via", "10.9.0.1")
        ip("-n", api, "route", "add", "default", "via", "10.9.1.1")
        subprocess.run(("ip", "netns", "exec", first, "sysctl", "-qw", "net.ipv4.ip_forward=1"), check=True)
        with entered(api):
            stack.enter_context(MotoServer(API, MOTO_PORT))
            ec2 = client("ec2", f"http://{API}:{MOTO_PORT}")
            vpc = ec2.create_vpc(CidrBlock="10.9.0.0/16")["Vpc"]["VpcId"]
            subnet = ec2.create_subnet(VpcId=vpc, CidrBlock="10.9.0.0/24")["Subnet"]["SubnetId"]
            table_id = ec2.create_route_table(VpcId=vpc)["RouteTable"]["RouteTableId"]
            interfaces = {
                name: ec2.create_network_interface(SubnetId=subnet)["NetworkInterface"]["NetworkInterfaceId"]
                for name in MEMBERS
            }
        certificates(place)
        (place / "replication").write_text("replication-secret\n")
        (place / "rewind").write_text("rewind-secret\n")
        bin_dir = newest_bin_dir()
        nodes, configs = {}, {}
        for name, namespace in (("db1", first), ("db2", second)):
            nodes[name] = make_node(name, namespace, place / name, place, bin_dir)
            stack.callback(nodes[name].unit.remove)
            configs[name] = place / f"{name}.yml"
            plain = configuration(nodes[name], place, interfaces, table_id)
            configs[name].write_text(yaml.safe_dump(plain))
            (nodes[name].plan.state_dir / "bootstrap-token").write_text("once")
        with entered(api):
            world = World(place, nodes, configs, ec2, table_id, interfaces)
            stack.callback(world.end)
            stack.callback(
                lambda: [print(f"--- {n}", (place / f"{n}.log").read_text()[-6000:]) for n in nodes]
            )
            yield world


def test_bootstrap_power_loss_return_and_switchover(world: World) -> None:
    world.start("db1")
    world.start("db2", die_at="promoted-before-publish")
    until(lambda: world.settled("db1", "db2"))
    until(lambda: world.route() == "db1")
    db1, db2 = world.nodes["db1"], world.nodes["db2"]
    db1.sql("CREATE TABLE t (i int)")
    db1.sql("INSERT INTO t VALUES (1)")
    assert not any((n.plan.state_dir / "bootstrap-token").exists() for n in (db1,))

    # A restart of the agent leaves PostgreSQL and the lease as they are.
    epoch, since = world.status("db1")["epoch"], db1.sql("SELECT pg_postmaster_start_time()")
    world.agents["db1"].send_signal(signal.SIGTERM)
    world.agents["db1"].wait(20)
    world.start("db1")
    until(lambda: world.settled("db1", "db2"))
    assert (world.status("db1")["epoch"], db1.sql("SELECT pg_postmaster_start_time()")) == (epoch, since)

    # The heir's agent dies right after its promotion; the next one goes on with the same lease.
    world.lose_power("db1")
    until(lambda: world.agents["db2"].poll() is not None)
    assert world.agents["db2"].returncode == -signal.SIGKILL
    world.start("db2")
    until(lambda: world.status("db2")["holder"] == "db2" and world.route() == "db2")
    until(lambda: _writable(db2))
    db2.sql("INSERT INTO t VALUES (2)")

    world.start("db1")
    until(lambda: world.settled("db2", "db1"))
    until(lambda: db1.sql("SELECT count(*) FROM t") == [(2,)])

    outcome = handed_over(Control(db2.plan.run_dir / "control.sock"), "db1")
    assert (outcome["from"], outcome["target"]) == ("db2", "db1")
    until(lambda: world.settled("db1", "db2"))
    until(lambda: world.route() == "db1")
    assert db1.sql("SELECT count(*) FROM t") == [(2,)]
    print(json.dumps(outcome))


def handed_over(control: Control, to: str) -> dict[str, Any]:
    """Ordered until it is taken: refused, and nothing changed, while the standby streams anew by its slot."""
    for _left in looks(SOON_S, 1.0):
        try:
            return control.switchover(to)
        except Refused as refused:
            print(refused)
    raise AssertionError("no switchover was taken in time")


def _writable(node: Node) -> bool:
    try:
        return bool(node.sql("SELECT NOT pg_is_in_recovery()") == [(True,)])
    except psycopg.Error:
        return False
