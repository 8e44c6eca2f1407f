"""The cloud's faults, each made through the API, are named by class and fields; looking changes nothing.

Goal: the doctor's looks and the agent's own calls tell the faults apart, with no more rights than the
node's role has. Method: the region's front door judges rights and DryRun as AWS does; a node asks it with
the role that the playbook gives it, and the region is compared before and after.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from botocore.exceptions import ClientError
from jinja2 import Environment
from moto.backends import get_backend
from tests.contract.moto_server import client
from tests.unit.ec2_lab.door_lab import Lab, fresh_lab
from tests.unit.ec2_lab.test_door_rights import Node, deny

from failover_agent.adapters import aws
from failover_agent.adapters.dynamodb import DynamoLeaseStore
from failover_agent.adapters.inspect_cloud import Ec2Inspector, prove_may_write
from failover_agent.adapters.lease_item import to_attributes
from failover_agent.adapters.routes import Ec2RouteTables
from failover_agent.core import verdicts
from failover_agent.core.model import Absent, Holder, LeaseItem, Unknown, Version
from failover_agent.errors import (
    AgentError,
    LeaseTooNew,
    LeaseUnreadable,
    RightMissing,
    RouteTableMissing,
    SourceDestCheckOn,
    StoreSchemaWrong,
    StoreTableMissing,
    StoreUnreachable,
    VipInsideVpc,
    VipRouteMissing,
)
from rehearsal.cluster import ROOT

VIP = "172.16.52.1"
TABLE, CLUSTER = "primacy", "blue"
ITEM = LeaseItem(CLUSTER, "s1", Holder("db1", "i-1", "n1"), 7, "t1", 6, 1, 500)


class Region:
    """A VPC with a node, its route for the VIP, and the store's table."""

    def __init__(self, lab: Lab) -> None:
        self.lab, self.node = lab, Node(lab)
        self._clients: dict[str, Any] = {}
        # On a fast machine the tests come to the account's limits, as people's scripts do.
        self.ec2, self.dynamodb = lab.client("ec2", attempts=10), lab.client("dynamodb")
        self.check(False)
        self.ec2.create_route(**self.route())
        self.make_table("item")
        template = (ROOT / "roles/provision/templates/node-policy.json.j2").read_text()
        self.policy = Environment(autoescape=True).from_string(template)
        lab.client("iam").put_role_policy(
            RoleName="node",
            PolicyName="only",
            PolicyDocument=self.policy.render(
                provision_region="eu-central-1", provision_cluster=CLUSTER, provision_store_table=TABLE
            ),
        )

    def client(self, service: str) -> Any:
        """With the node's role, one per service."""
        if service not in self._clients:
            self._clients[service] = self.node.client(service)
        return self._clients[service]

    def check(self, on: bool) -> None:
        self.ec2.modify_network_interface_attribute(
            NetworkInterfaceId=self.node.eni, SourceDestCheck={"Value": on}
        )

    def route(self) -> dict[str, str]:
        return {
            "RouteTableId": self.lab.table,
            "DestinationCidrBlock": f"{VIP}/32",
            "NetworkInterfaceId": self.node.eni,
        }

    def put_back(self) -> None:
        """What people do about each fault."""
        self.check(False)
        with suppress(ClientError):
            self.ec2.create_route(**self.route())
        self.ec2.replace_route(**self.route())
        with suppress(ClientError):
            self.node.iam.delete_role_policy(RoleName="node", PolicyName="against")
        with suppress(ClientError):
            self.dynamodb.delete_table(TableName=TABLE)
        self.make_table("item")

    def make_table(self, sort_key: str) -> None:
        keys = {"cluster": "HASH", sort_key: "RANGE"}
        self.dynamodb.create_table(
            TableName=TABLE,
            BillingMode="PAY_PER_REQUEST",
            AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key in keys],
            KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in keys.items()],
        )

    def store(self, timeout_s: float = 20) -> DynamoLeaseStore:
        return DynamoLeaseStore(
            self.client("dynamodb"), table=TABLE, cluster=CLUSTER, request_timeout_s=timeout_s
        )

    def inspector(self) -> Ec2Inspector:
        return Ec2Inspector(lambda: self.client("ec2"))

    def state(self) -> object:
        """Everything of the region that a look could have changed."""
        ours = [{"Name": "vpc-id", "Values": [self.lab.vpc]}]  # a list of all is throttled sooner
        tables = self.ec2.describe_route_tables(Filters=ours)["RouteTables"]
        interfaces = self.ec2.describe_network_interfaces(Filters=ours)["NetworkInterfaces"]
        try:
            items = self.dynamodb.scan(TableName=TABLE)["Items"]
        except ClientError as error:
            items = str(error)
        return tables, interfaces, items

    def look(self) -> tuple[AgentError, ...]:
        """All that the doctor looks at in the cloud; the region must be the same after it."""
        before = self.state()
        found: list[AgentError] = []
        inspector, interface = self.inspector(), self.node.eni
        try:
            found += verdicts.source_dest_check(interface, inspector.source_dest_check(interface))
            tables = inspector.tables([self.lab.table])
            found += verdicts.tables_exist([self.lab.table], tables)
            found += verdicts.vip_outside("writer", VIP, tables)
            for table in tables:
                found += verdicts.route("writer", VIP, table, {"db1": interface})
                inspector.prove_may_route(table, VIP, interface)
            answer = self.store().read()
            if isinstance(answer, Unknown):
                assert answer.cause is not None
                raise answer.cause
            notes = self.store().notes("member#")
            assert not isinstance(notes, Unknown)
            prove_may_write(self.client("dynamodb"), TABLE, CLUSTER)
        except AgentError as error:
            found.append(error)
        assert self.state() == before
        return tuple(found)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Region]:
    with fresh_lab(tmp_path_factory.mktemp("region")) as lab:
        yield Region(lab)
    get_backend("dynamodb").reset()  # moto's state is the process's


@pytest.fixture
def region(shared: Region) -> Iterator[Region]:
    """Whole before every test, and put back after it."""
    yield shared
    shared.put_back()
    assert shared.look() == ()


def only(found: tuple[AgentError, ...], cls: type[AgentError]) -> AgentError:
    [error] = found
    assert type(error) is cls, error
    assert all((error.object, error.value, error.expected, error.hint))
    return error


def test_a_whole_region_has_no_problem_and_the_roles_rights_are_enough(region: Region) -> None:
    assert region.look() == ()


def test_a_source_destination_check_left_on(region: Region) -> None:
    region.check(True)

    error = only(region.look(), SourceDestCheckOn)

    assert region.node.eni in error.object
    assert (error.value, error.expected) == ("on", "off")


@pytest.mark.parametrize(
    "action",
    [
        "ec2:DescribeNetworkInterfaces",
        "ec2:DescribeRouteTables",
        "ec2:ReplaceRoute",
        "ec2:CreateRoute",
        "dynamodb:GetItem",
        "dynamodb:PutItem",
        "dynamodb:Query",
    ],
)
def test_a_missing_right_is_named_by_its_action(region: Region, action: str) -> None:
    region.node.may(deny(action), name="against")

    if action == "dynamodb:Query":
        answer = region.store().notes("member#")
        assert isinstance(answer, Unknown)
        error = answer.cause
    else:
        error = only(region.look(), RightMissing)

    assert isinstance(error, RightMissing)
    assert error.object == action
    assert "not allowed" in error.value


def test_the_agents_own_calls_name_a_missing_right_too(region: Region) -> None:
    region.node.may(deny("ec2:ReplaceRoute", "dynamodb:PutItem"), name="against")
    before = region.state()
    routes = Ec2RouteTables(lambda: region.client("ec2"), table_ids=[region.lab.table], request_timeout_s=20)

    with pytest.raises(RightMissing) as refused:
        routes.point(region.lab.table, VIP, region.node.eni)
    written = region.store().write(ITEM, only_if=Absent())

    assert refused.value.object == "ec2:ReplaceRoute"
    assert isinstance(written, Unknown)
    assert isinstance(written.cause, RightMissing)
    assert region.state() == before


def test_a_route_table_without_the_address(region: Region) -> None:
    region.ec2.delete_route(RouteTableId=region.lab.table, DestinationCidrBlock=f"{VIP}/32")

    error = only(region.look(), VipRouteMissing)

    assert region.lab.table in error.object
    assert error.value == "there is no such route"


def test_a_route_into_a_machine_that_is_gone(region: Region) -> None:
    other, interface = region.lab.run("db2")
    region.lab.until_state(other, "running")
    region.ec2.replace_route(
        RouteTableId=region.lab.table, DestinationCidrBlock=f"{VIP}/32", NetworkInterfaceId=interface
    )
    region.ec2.terminate_instances(InstanceIds=[other])
    region.lab.until_state(other, "terminated")

    assert "blackhole" in only(region.look(), VipRouteMissing).value


def test_a_route_table_that_is_gone(region: Region) -> None:
    tables = region.inspector().tables([region.lab.table, "rtb-0123456789abcdef0"])

    [error] = verdicts.tables_exist([region.lab.table, "rtb-0123456789abcdef0"], tables)

    assert type(error) is RouteTableMissing
    assert error.object == "route table rtb-0123456789abcdef0"


def test_an_address_inside_the_vpc_is_seen_and_refused_and_no_route_is_made(region: Region) -> None:
    before = region.state()
    tables = region.inspector().tables([region.lab.table])
    routes = Ec2RouteTables(lambda: region.client("ec2"), table_ids=[region.lab.table], request_timeout_s=20)

    [error] = verdicts.vip_outside("writer", "10.0.11.200", tables)
    with pytest.raises(VipInsideVpc) as refused:
        routes.point(region.lab.table, "10.0.11.200", region.node.eni)

    assert type(error) is VipInsideVpc
    assert (error.value, error.object) == (
        "inside the VPC's network 10.0.0.0/16",
        "virtual address 10.0.11.200 of endpoint writer",
    )
    assert "10.0.11.200" in refused.value.object
    assert region.state() == before


def test_a_deleted_table_is_no_absent_lease(region: Region) -> None:
    """L6: reading, renewing and claiming all meet the same alarm, and none of them is an answer."""
    assert region.store().read() is None
    region.dynamodb.delete_table(TableName=TABLE)

    assert TABLE in only(region.look(), StoreTableMissing).object
    for outcome in (
        region.store().write(ITEM, only_if=Absent()),
        region.store().write(ITEM, only_if=Version(7, "t1")),
    ):
        assert isinstance(outcome, Unknown)
        assert type(outcome.cause) is StoreTableMissing
    assert TABLE not in region.dynamodb.list_tables()["TableNames"]


def test_a_table_of_another_program(region: Region) -> None:
    region.dynamodb.delete_table(TableName=TABLE)
    region.make_table("id")
    region.dynamodb.put_item(TableName=TABLE, Item={"cluster": {"S": CLUSTER}, "id": {"S": "theirs"}})

    error = only(region.look(), StoreSchemaWrong)

    assert error.expected == "partition key cluster (S) and sort key item (S)"
    written = region.store().write(ITEM, only_if=Absent())
    assert isinstance(written, Unknown)
    assert type(written.cause) is StoreSchemaWrong


@pytest.mark.parametrize(
    ("changed", "cls"),
    [({"schema_version": {"N": "99"}}, LeaseTooNew), ({"epoch": {"S": "seven"}}, LeaseUnreadable)],
)
def test_a_lease_that_cannot_be_judged_is_neither_a_lease_nor_none(
    region: Region, changed: dict[str, Any], cls: type[AgentError]
) -> None:
    region.store().write(ITEM, only_if=Absent())
    assert region.store().read() == ITEM
    region.dynamodb.put_item(TableName=TABLE, Item={**to_attributes(ITEM), **changed})

    error = only(region.look(), cls)

    assert CLUSTER in error.object
    written = region.store().write(ITEM, only_if=Absent())
    assert isinstance(written, Unknown)
    assert type(written.cause) is cls


def test_a_store_out_of_reach() -> None:
    with socket.socket() as unused, socket.create_server(("127.0.0.1", 0)) as taken:
        unused.bind(("127.0.0.1", 0))  # ours, and nobody listens
        nobody = f"http://127.0.0.1:{unused.getsockname()[1]}"
        deaf = f"http://127.0.0.1:{taken.getsockname()[1]}"
        for url in (nobody, deaf):
            store = DynamoLeaseStore(
                client("dynamodb", url, 0.5), table=TABLE, cluster=CLUSTER, request_timeout_s=0.5
            )
            for outcome in (store.read(), store.write(ITEM, only_if=Absent())):
                assert isinstance(outcome, Unknown)
                assert type(outcome.cause) is StoreUnreachable
                assert outcome.cause.object == f"table {TABLE}"


def test_throttling_and_unknown_keys_are_told_apart() -> None:
    def refused(code: str) -> AgentError:
        error = ClientError({"Error": {"Code": code, "Message": "m"}}, "GetItem")
        return aws.fault(error, about="table t", action="dynamodb:GetItem")

    kinds = {
        code: type(refused(code)).__name__
        for code in ("ThrottlingException", "UnrecognizedClientException", "AccessDeniedException", "Other")
    }

    assert kinds == {
        "ThrottlingException": "ApiThrottled",
        "UnrecognizedClientException": "CredentialsMissing",
        "AccessDeniedException": "RightMissing",
        "Other": "ApiRefused",
    }
