"""What a role's policies do not name is denied, in AWS' words; the controller may do everything."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from jinja2 import Environment
from tests.unit.ec2_lab.door_lab import VIP, Lab
from tests.unit.ec2_lab.test_door_endpoints import DOCUMENT, make_table

from ec2_lab.door import ACCOUNT
from ec2_lab.model import API_ADDRESS, DYNAMODB_ADDRESS, S3_ADDRESS
from failover_agent.adapters.fence import IsolateSubnet, StopInstance
from failover_agent.errors import FenceRefused, RightMissing
from rehearsal.cluster import ROOT

PORTS = {
    "ec2": API_ADDRESS,
    "dynamodb": DYNAMODB_ADDRESS,
    "s3": S3_ADDRESS,
    "sts": API_ADDRESS,
    "iam": API_ADDRESS,
}


class Node:
    """A host in the VPC with a role, whose policies the test chooses."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.iam = lab, lab.client("iam")
        self.iam.create_role(RoleName="node", AssumeRolePolicyDocument=DOCUMENT)
        self.iam.create_instance_profile(InstanceProfileName="profile")
        self.iam.add_role_to_instance_profile(InstanceProfileName="profile", RoleName="node")
        self.instance_id, self.eni = lab.run("db1", IamInstanceProfile={"Name": "profile"})
        lab.until_state(self.instance_id, "running")
        identities = lab.door.front.identities
        life = lab.door.engine.lives[self.instance_id]
        self.keys = identities.credentials(life, identities.profile(life).roles[0])

    def may(self, *statements: dict[str, Any], name: str = "only") -> None:
        document = json.dumps({"Version": "2012-10-17", "Statement": list(statements)})
        self.iam.put_role_policy(RoleName="node", PolicyName=name, PolicyDocument=document)

    def client(self, service: str) -> Any:
        made = self.lab.client(service, self.lab.port_of(self.lab.door.at(PORTS[service])))
        made._request_signer._credentials.access_key = self.keys.access_key
        return made


@pytest.fixture
def node(lab: Lab) -> Node:
    return Node(lab)


def allow(*actions: str, **more: Any) -> dict[str, Any]:
    return {"Effect": "Allow", "Action": list(actions), "Resource": "*"} | more


def deny(*actions: str, **more: Any) -> dict[str, Any]:
    return allow(*actions) | {"Effect": "Deny"} | more


def refusal(call: Callable[..., Any], **parameters: Any) -> tuple[str, str]:
    with pytest.raises(ClientError) as refused:
        call(**parameters)
    error = refused.value.response["Error"]
    return error["Code"], error["Message"]


def test_an_action_no_policy_names_is_denied_with_principal_and_action(node: Node) -> None:
    node.may(allow("ec2:DescribeVpcs"))
    ec2 = node.client("ec2")
    assert ec2.describe_vpcs()["Vpcs"]

    code, text = refusal(ec2.describe_route_tables)

    principal = f"arn:aws:sts::{ACCOUNT}:assumed-role/node/{node.instance_id}"
    assert code == "UnauthorizedOperation"
    assert f"User: {principal} is not authorized to perform: ec2:DescribeRouteTables" in text


def test_dynamodb_denies_in_its_own_way(lab: Lab, node: Node) -> None:
    make_table(lab.client("dynamodb"))
    node.may(allow("dynamodb:GetItem"))
    store = node.client("dynamodb")
    store.get_item(TableName="leases", Key={"cluster": {"S": "c"}})

    code, text = refusal(store.put_item, TableName="leases", Item={"cluster": {"S": "c"}})

    assert code == "AccessDeniedException"
    assert "dynamodb:PutItem" in text
    assert "table/leases" in text
    assert lab.client("dynamodb").scan(TableName="leases")["Items"] == []


def test_a_transaction_needs_the_rights_of_its_parts(lab: Lab, node: Node) -> None:
    make_table(lab.client("dynamodb"))
    store = node.client("dynamodb")
    put = {"Put": {"TableName": "leases", "Item": {"cluster": {"S": "c"}}}}
    node.may(allow("dynamodb:TransactWriteItems"))
    assert refusal(store.transact_write_items, TransactItems=[put])[0] == "AccessDeniedException"

    node.may(allow("dynamodb:PutItem"))
    store.transact_write_items(TransactItems=[put])


@pytest.mark.parametrize(
    "statement",
    [
        allow("*"),
        allow("ec2:*"),
        allow("EC2:describevpc?"),
        allow() | {"Action": "ec2:DescribeVpcs"},
        {"Effect": "Allow", "NotAction": "iam:*", "Resource": "*"},
        allow("ec2:DescribeVpcs", Condition={"StringEquals": {"aws:RequestedRegion": "eu-central-1"}}),
    ],
)
def test_statements_that_name_the_action_allow_it(node: Node, statement: dict[str, Any]) -> None:
    node.may(statement)

    assert node.client("ec2").describe_vpcs()["Vpcs"]


@pytest.mark.parametrize(
    "statement",
    [
        allow("ec2:Describe"),
        allow("ec2:DescribeVpc[s]"),
        {"Effect": "Allow", "NotAction": "ec2:*", "Resource": "*"},
    ],
)
def test_statements_that_do_not_name_it_do_not(node: Node, statement: dict[str, Any]) -> None:
    node.may(statement)

    assert refusal(node.client("ec2").describe_vpcs)[0] == "UnauthorizedOperation"


def test_an_explicit_deny_wins_over_any_allow(node: Node) -> None:
    node.may(allow("*"), name="all")
    node.may(deny("ec2:DescribeVpcs"))
    ec2 = node.client("ec2")

    code, text = refusal(ec2.describe_vpcs)

    assert code == "UnauthorizedOperation"
    assert "explicit deny" in text
    assert ec2.describe_subnets()["Subnets"]


def test_managed_policies_count_and_a_removed_one_no_more(node: Node) -> None:
    document = json.dumps({"Version": "2012-10-17", "Statement": [allow("ec2:DescribeVpcs")]})
    arn = node.iam.create_policy(PolicyName="managed", PolicyDocument=document)["Policy"]["Arn"]
    node.iam.attach_role_policy(RoleName="node", PolicyArn=arn)
    ec2 = node.client("ec2")
    assert ec2.describe_vpcs()["Vpcs"]

    node.iam.detach_role_policy(RoleName="node", PolicyArn=arn)

    assert refusal(ec2.describe_vpcs)[0] == "UnauthorizedOperation"


def test_a_denied_call_is_denied_before_a_dry_run_is_answered(node: Node) -> None:
    node.may(allow("ec2:DescribeVpcs"))
    ec2 = node.client("ec2")
    asked = {"InstanceIds": [node.instance_id], "DryRun": True}
    assert refusal(ec2.terminate_instances, **asked)[0] == "UnauthorizedOperation"

    node.may(allow("ec2:TerminateInstances"))
    assert refusal(ec2.terminate_instances, **asked)[0] == "DryRunOperation"


def test_everybody_may_ask_who_they_are(node: Node) -> None:
    assert node.client("sts").get_caller_identity()["Account"] == ACCOUNT


def test_a_key_nobody_issued_is_unknown_inside_the_vpc(lab: Lab) -> None:
    ec2 = lab.client("ec2", lab.port_of(lab.door.at(API_ADDRESS)))

    assert refusal(ec2.describe_vpcs)[0] == "AuthFailure"
    assert lab.client("ec2").describe_vpcs()["Vpcs"], "the controller calls from elsewhere"


@pytest.mark.parametrize("method", ["stop-instance", "isolate"])
def test_the_nodes_policy_lets_it_fence_by_the_method_that_was_chosen_and_no_other(
    lab: Lab, node: Node, method: str
) -> None:
    template = (ROOT / "roles/provision/templates/node-policy.json.j2").read_text()
    values = {"provision_region": "eu-central-1", "provision_cluster": "c", "provision_store_table": "leases"}
    values["provision_fencing_method"] = method
    policy = json.loads(Environment(autoescape=False).from_string(template).render(values))  # noqa: S701
    node.may(*policy["Statement"])
    ec2, all_ec2 = node.client("ec2"), lab.client("ec2")
    fences: dict[str, StopInstance | IsolateSubnet] = {
        "stop-instance": StopInstance(lambda: ec2, request_timeout_s=5),
        "isolate": IsolateSubnet(lambda: ec2, acl_id=an_acl(all_ec2, node), request_timeout_s=5),
    }
    other = next(fence for name, fence in fences.items() if name != method)

    fences[method].prove(node.instance_id)
    with pytest.raises(RightMissing):
        other.prove(node.instance_id)
    assert fences[method].is_fenced(node.instance_id) is False
    with pytest.raises(FenceRefused, match="not allowed"):
        other.fence(node.instance_id)
    assert fences[method].fence(node.instance_id) is None


def an_acl(ec2: Any, node: Node) -> str:
    instance = ec2.describe_instances(InstanceIds=[node.instance_id])["Reservations"][0]["Instances"][0]
    return str(ec2.create_network_acl(VpcId=instance["VpcId"])["NetworkAcl"]["NetworkAclId"])


def test_the_nodes_policy_allows_what_the_agent_asks_and_no_more(lab: Lab, node: Node) -> None:
    """Goal: roles/provision gives enough. Method: its own template, the calls of the agent's adapters."""
    template = (ROOT / "roles/provision/templates/node-policy.json.j2").read_text()
    values = {"provision_region": "eu-central-1", "provision_cluster": "c", "provision_store_table": "leases"}
    policy = json.loads(Environment(autoescape=False).from_string(template).render(values))  # noqa: S701
    node.may(*policy["Statement"])
    make_table(lab.client("dynamodb"))
    ec2, store = node.client("ec2"), node.client("dynamodb")
    route = {"RouteTableId": lab.table, "DestinationCidrBlock": VIP, "NetworkInterfaceId": node.eni}

    ec2.create_route(**route)
    ec2.replace_route(**route)
    assert ec2.describe_route_tables(RouteTableIds=[lab.table])["RouteTables"]
    store.put_item(TableName="leases", Item={"cluster": {"S": "c"}})
    store.get_item(TableName="leases", Key={"cluster": {"S": "c"}}, ConsistentRead=True)
    store.query(
        TableName="leases",
        KeyConditionExpression="cluster = :c",
        ExpressionAttributeValues={":c": {"S": "c"}},
    )

    assert refusal(ec2.stop_instances, InstanceIds=[node.instance_id])[0] == "UnauthorizedOperation"
    assert refusal(store.delete_table, TableName="leases")[0] == "AccessDeniedException"
    assert refusal(ec2.terminate_instances, InstanceIds=[node.instance_id])[0] == "UnauthorizedOperation"
