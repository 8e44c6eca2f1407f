"""The doctor on real hosts: a whole cluster has no problem, a fault made through the API is named."""

from __future__ import annotations

import json
from typing import Any

import boto3
import pytest

from ec2_lab.daemon import Endpoint
from ec2_lab.model import LabPaths
from rehearsal.cluster import Cluster
from rehearsal.waiting import wait_for

from .conftest import WISH

pytestmark = pytest.mark.lab

PATIENCE_S = 120.0  # what an earlier scenario left in the agents' memory fades within a minute


def told(cluster: Cluster, node: str) -> dict[str, Any]:
    words = ("failoverctl", "doctor", "--json")
    answer: dict[str, Any] = json.loads(cluster.lab.execute(node, *words, timeout_s=60, check=False))
    return answer


def wait_until_fine(cluster: Cluster, node: str) -> None:
    last: dict[str, Any] = {}

    def fine() -> bool:
        last.update(told(cluster, node))
        return bool(last["fine"])

    try:
        wait_for(f"{node} fine", fine, PATIENCE_S)
    finally:
        print(node, json.dumps(last.get("problems"), indent=2))


def interface_of(ec2: Any, cluster: Cluster, node: str) -> str:
    by_address = [{"Name": "private-ip-address", "Values": [cluster.nodes()[node]]}]
    found = ec2.describe_network_interfaces(Filters=by_address)["NetworkInterfaces"]
    return str(found[0]["NetworkInterfaceId"])


def test_a_whole_cluster_has_no_problem_and_a_check_left_on_is_named_until_it_is_off(
    cluster: Cluster,
) -> None:
    cluster.wait_until_whole(WISH.nodes)
    for node in cluster.nodes():
        wait_until_fine(cluster, node)
    endpoint = Endpoint.read(LabPaths(cluster.lab.name))
    ec2: Any = boto3.client(
        "ec2",
        endpoint_url=endpoint.url,
        region_name=endpoint.region,
        aws_access_key_id=endpoint.access_key_id,
        aws_secret_access_key=endpoint.secret_access_key,
    )
    standby = next(node for node in cluster.nodes() if node != cluster.primary())
    interface = interface_of(ec2, cluster, standby)

    ec2.modify_network_interface_attribute(NetworkInterfaceId=interface, SourceDestCheck={"Value": True})
    try:
        answer = told(cluster, standby)
    finally:
        ec2.modify_network_interface_attribute(NetworkInterfaceId=interface, SourceDestCheck={"Value": False})

    assert not answer["fine"]
    [problem] = [p for p in answer["problems"] if p["error"] == "SourceDestCheckOn"]
    assert interface in problem["object"]
    assert (problem["value"], problem["expected"]) == ("on", "off")
    assert interface in problem["remedy"]
    wait_until_fine(cluster, standby)
