"""Fencing on a cluster that runs: rights by the playbooks' own policy, settings as site.yml writes them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from jinja2 import Environment

from rehearsal.aws import client
from rehearsal.cluster import ROOT, Cluster
from rehearsal.lab import Lab
from rehearsal.waiting import wait_for

AGENT_YML = "/etc/failover-agent/agent.yml"
PYTHON = "/opt/failover-agent/current/venv/bin/python"
SET = f"""
import json, sys, yaml
said = yaml.safe_load(open("{AGENT_YML}"))
said["fencing"] = json.loads(sys.argv[1])
open("{AGENT_YML}", "w").write(yaml.safe_dump(said))
"""
ROLE, POLICY = "primacy-db", "failover-agent"
AGAIN_S = 60.0


@contextmanager
def settings_kept(cluster: Cluster, nodes: int) -> Iterator[None]:
    """Whatever the block makes of the agents' settings, they have those of before afterwards."""
    for node in cluster.nodes():
        cluster.lab.execute(node, "cp", "-a", AGENT_YML, f"{AGENT_YML}.before")
        cluster.lab.execute(node, "sync")  # a power loss takes what was not
    try:
        yield
    finally:
        for node in cluster.nodes():
            cluster.lab.execute(node, "mv", f"{AGENT_YML}.before", AGENT_YML)
        restart_agents(cluster, nodes, "none")


def fence_by(cluster: Cluster, nodes: int, to: str = "", **settings: object) -> None:
    """Every agent fences by these settings from now on; `to`: who is primary then."""
    for node in cluster.nodes():
        cluster.lab.execute(node, PYTHON, "-c", SET, json.dumps(settings))
        cluster.lab.execute(node, "sync")
    restart_agents(cluster, nodes, str(settings["method"]), to)


def restart_agents(cluster: Cluster, nodes: int, method: str, to: str = "") -> None:
    """The standbys', then the old primary's after a switchover to `to`, or to any of them.

    As for planned work: on a busy machine an agent may take longer to start than a primary may be silent.
    """
    old = cluster.primary()
    standbys = [node for node in cluster.nodes() if node != old]
    for node in standbys:
        restart(cluster, node, method)
    cluster.wait_until_whole(nodes)
    cluster.switch_over(to or cluster.heir())
    restart(cluster, old, method)
    cluster.wait_until_whole(nodes)


def restart(cluster: Cluster, node: str, method: str) -> None:
    cluster.lab.execute(node, "systemctl", "restart", "failover-agent", timeout_s=150)
    wait_for(f"{node} to fence by {method}", partial(fences_by, cluster, node, method), AGAIN_S)


def fences_by(cluster: Cluster, node: str, method: str) -> bool:
    status = cluster.status_of(node)
    return status is not None and status["fencing"]["method"] == method


def waited_for(cluster: Cluster) -> set[str]:
    """Whose fence some node waits for."""
    told = [cluster.status_of(node) for node in cluster.lab.running("db")]
    return {name for status in told if status for name in status["fencing"]["waits_for"]}


@contextmanager
def rights(lab: Lab, method: str) -> Iterator[None]:
    """The nodes may fence by `method`, by the statements that roles/provision gives, while the block runs."""
    iam = client(lab, "iam")
    before = iam.get_role_policy(RoleName=ROLE, PolicyName=POLICY)["PolicyDocument"]
    template = (ROOT / "roles/provision/templates/node-policy.json.j2").read_text()
    document = Environment(autoescape=False).from_string(template)  # noqa: S701  # JSON
    wanted = json.loads(document.render(provision_fencing_method=method))
    had = {statement["Sid"] for statement in before["Statement"]}
    more = [statement for statement in wanted["Statement"] if statement["Sid"] not in had]
    put(iam, {**before, "Statement": [*before["Statement"], *more]})
    try:
        yield
    finally:
        put(iam, before)


def put(iam: Any, document: object) -> None:
    iam.put_role_policy(RoleName=ROLE, PolicyName=POLICY, PolicyDocument=json.dumps(document))


@contextmanager
def acl_that_lets_nothing_pass(lab: Lab, host: str) -> Iterator[str]:
    """A network ACL without rules of its own in the VPC of `host`; it must be free again at the end."""
    ec2 = client(lab)
    vpc = instance(lab, host)["VpcId"]
    acl = ec2.create_network_acl(VpcId=vpc)["NetworkAcl"]["NetworkAclId"]
    try:
        yield acl
    finally:
        ec2.delete_network_acl(NetworkAclId=acl)


def instance(lab: Lab, host: str) -> dict[str, Any]:
    found = client(lab).describe_instances(InstanceIds=[lab.instance_id(host)])
    shown: dict[str, Any] = found["Reservations"][0]["Instances"][0]
    return shown


def state(lab: Lab, host: str) -> str:
    """As EC2 shows it."""
    return str(instance(lab, host)["State"]["Name"])


def acl_of(lab: Lab, host: str) -> str:
    """The network ACL of the subnet that `host` is in."""
    by_subnet = [{"Name": "association.subnet-id", "Values": [instance(lab, host)["SubnetId"]]}]
    (acl,) = client(lab).describe_network_acls(Filters=by_subnet)["NetworkAcls"]
    return str(acl["NetworkAclId"])


def alone_in_its_subnet(cluster: Cluster) -> list[str]:
    """Nodes whose subnet holds nobody else's interface."""
    ec2, fit = client(cluster.lab), []
    for node in cluster.nodes():
        by_subnet = [{"Name": "subnet-id", "Values": [instance(cluster.lab, node)["SubnetId"]]}]
        if len(ec2.describe_network_interfaces(Filters=by_subnet)["NetworkInterfaces"]) == 1:
            fit.append(node)
    return fit
