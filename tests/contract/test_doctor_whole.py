"""The whole doctor beside two real agents: it finds nothing on a whole pair, and each fault by its class.

What this world lacks is known and left out: systemd's units, and EC2's DryRun (tests/unit/errors has both).
"""

from __future__ import annotations

import os
from collections.abc import Mapping

import pytest

from failover_agent.adapters.clock import SystemClock
from failover_agent.adapters.systemd import looks
from failover_agent.checkup import checks
from failover_agent.config import load
from failover_agent.errors import AgentError
from failover_agent.shell.doctor import examine, problems
from failover_agent.shell.threads import Threads

from .moto_server import TABLE, client
from .namespaces import entered
from .postgres_nodes import SOON_S, until
from .test_agents import API, MOTO_PORT, VIP, World, world

__all__ = ["world"]

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]

NOT_HERE = {"UnitDown", "ApiRefused"}


def ask(world: World, name: str) -> Mapping[str, AgentError]:
    """What the doctor says on one node, by class."""
    node = world.nodes[name]
    with entered(node.namespace):
        results = examine(
            checks(load(world.configs[name]), node.unit), Threads(), SystemClock(), deadline_s=60
        )
    for result in results:
        print(name, result.plain())
    return {
        type(error).__name__: error for error in problems(results) if type(error).__name__ not in NOT_HERE
    }


def found_in_the_end(world: World, name: str, wanted: set[str]) -> Mapping[str, AgentError]:
    """One asking may meet what passes by itself: an agent that is late, a look that took too long."""
    for _left in looks(SOON_S, 1.0):
        if set(found := ask(world, name)) == wanted:
            return found
    raise AssertionError(f"{name} finds {sorted(found)}, not {sorted(wanted)}")


def test_a_whole_pair_has_no_problem_and_each_fault_is_named(world: World) -> None:
    world.start("db1")
    world.start("db2")
    until(lambda: world.settled("db1", "db2") and world.route() == "db1")
    found = found_in_the_end(world, "db1", {"SourceDestCheckOn"})
    assert world.interfaces["db1"] in found["SourceDestCheckOn"].object

    with entered(world.nodes["db1"].namespace):
        for interface in world.interfaces.values():
            world.ec2.modify_network_interface_attribute(
                NetworkInterfaceId=interface, SourceDestCheck={"Value": False}
            )
    # The agents look again by themselves, a standby's every ten seconds.
    found_in_the_end(world, "db1", set())
    found_in_the_end(world, "db2", set())

    # A password that is not the role's: both nodes read one file here.
    secret = world.nodes["db1"].plan.rewind_secret
    right = secret.read_text()
    secret.write_text("wrong\n")
    found = found_in_the_end(world, "db2", {"PasswordRefused"})
    assert "rewinder" in found["PasswordRefused"].object
    secret.write_text(right)

    # The route is gone and the agents, who would put it back, are, too.
    for name in ("db1", "db2"):
        world.agents[name].kill()
        world.agents[name].wait()
    with entered(world.nodes["db1"].namespace):
        api = f"http://{API}:{MOTO_PORT}"
        client("ec2", api).delete_route(RouteTableId=world.table_id, DestinationCidrBlock=f"{VIP}/32")
        client("dynamodb", api).delete_table(TableName=TABLE)
    found_in_the_end(world, "db1", {"NoAgent", "PeerSilent", "VipRouteMissing", "StoreTableMissing"})
