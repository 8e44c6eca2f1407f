"""Who answers where, one at a time, and what is written down."""

from __future__ import annotations

import json
import threading
import urllib.request
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

import pytest
from botocore.exceptions import ClientError
from tests.unit.ec2_lab.door_lab import Lab

from ec2_lab.model import API_ADDRESS, DYNAMODB_ADDRESS, S3_ADDRESS

TTL = {"X_aws_ec2_metadata_token_ttl_seconds": "60"}
RACES = 60
RUNNERS = 8
DOCUMENT = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}
        ],
    }
)


def make_table(dynamodb: Any) -> None:
    dynamodb.create_table(
        TableName="leases",
        BillingMode="PAY_PER_REQUEST",
        AttributeDefinitions=[{"AttributeName": "cluster", "AttributeType": "S"}],
        KeySchema=[{"AttributeName": "cluster", "KeyType": "HASH"}],
    )


def test_of_eight_conditional_updates_at_once_exactly_one_lands(lab: Lab) -> None:
    make_table(lab.client("dynamodb"))
    clients = [lab.client("dynamodb") for _ in range(RUNNERS)]
    start = threading.Barrier(RUNNERS)
    won: list[int] = []
    refusals: list[str] = []

    def run(me: int) -> None:
        for race in range(RACES):
            start.wait()
            try:
                clients[me].update_item(
                    TableName="leases",
                    Key={"cluster": {"S": f"c{race}"}},
                    UpdateExpression="SET holder = :me",
                    ConditionExpression="attribute_not_exists(holder)",
                    ExpressionAttributeValues={":me": {"S": str(me)}},
                )
            except ClientError as refused:
                refusals.append(refused.response["Error"]["Code"])
            else:
                won.append(race)

    runners = [threading.Thread(target=run, args=(me,)) for me in range(RUNNERS)]
    for runner in runners:
        runner.start()
    for runner in runners:
        runner.join()

    assert sorted(won) == list(range(RACES))
    assert set(refusals) == {"ConditionalCheckFailedException"}
    assert len(refusals) == RACES * (RUNNERS - 1)


@pytest.mark.parametrize(
    ("address", "answers", "refuses"),
    [
        (API_ADDRESS, {"ec2", "sts"}, {"dynamodb", "s3"}),
        (DYNAMODB_ADDRESS, {"dynamodb"}, {"ec2", "sts", "s3"}),
        (S3_ADDRESS, {"s3"}, {"ec2", "sts", "dynamodb"}),
    ],
)
def test_an_endpoint_serves_its_own_service_only(
    lab: Lab, address: str, answers: set[str], refuses: set[str]
) -> None:
    port = lab.port_of(lab.door.at(address))
    ask = {
        "ec2": lambda client: client.describe_vpcs(),
        "sts": lambda client: client.get_caller_identity(),
        "dynamodb": lambda client: client.list_tables(),
        "s3": lambda client: client.list_buckets(),
    }
    lab.door.front.rights.trust("AKIACONTROLLER")
    for service in answers:
        ask[service](lab.client(service, port))
    for service in refuses:
        with pytest.raises(ClientError) as refused:
            ask[service](lab.client(service, port))
        assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403


def test_an_unsigned_call_is_refused(lab: Lab) -> None:
    headers = {"X-Amz-Target": "DynamoDB_20120810.ListTables"}
    request = urllib.request.Request(f"http://127.0.0.1:{lab.port}/", data=b"{}", headers=headers)

    with pytest.raises(HTTPError) as refused:
        urllib.request.urlopen(request, timeout=60)  # noqa: S310 - our own

    assert refused.value.headers["x-amzn-ErrorType"] == "MissingAuthenticationToken"


def test_the_history_tells_who_asked_for_what_and_keeps_no_secret(lab: Lab, tmp_path: Path) -> None:
    lab.client("secretsmanager").create_secret(Name="db", SecretString="hunter2")
    instance_id, _ = lab.run("db1", UserData="hunter2")
    with pytest.raises(ClientError):
        lab.client("ec2").terminate_instances(InstanceIds=[instance_id], DryRun=True)

    text = (tmp_path / "api-history.jsonl").read_text()
    last = json.loads(text.splitlines()[-1])
    assert "hunter2" not in text
    assert (last["action"], last["code"], last["who"]) == (
        "TerminateInstances",
        "DryRunOperation",
        "AKIACONTROLLER",
    )
    assert last["parameters"]["InstanceId.1"] == instance_id


class Imds:
    """A caller of the metadata service from one instance's address."""

    def __init__(self, lab: Lab, address: str) -> None:
        def as_that_host(environ: dict[str, Any], start_response: Any) -> Any:
            return lab.door.metadata(environ | {"REMOTE_ADDR": address}, start_response)

        self.url = f"http://127.0.0.1:{lab.port_of(as_that_host)}/latest/"

    def ask(self, path: str, method: str = "GET", **headers: str) -> tuple[int, str]:
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        request = urllib.request.Request(self.url + path, method=method, headers=named)  # noqa: S310 - our own
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310 - our own
                return answer.status, answer.read().decode()
        except HTTPError as refused:
            return refused.code, ""

    def token(self) -> str:
        status, token = self.ask("api/token", "PUT", **TTL)
        assert status == 200
        return token

    def read(self, path: str) -> str:
        status, body = self.ask(path, X_aws_ec2_metadata_token=self.token())
        assert status == 200, path
        return body


def test_metadata_needs_a_token_of_the_same_instance(lab: Lab) -> None:
    lab.run("db1"), lab.run("db2")
    db1, db2 = Imds(lab, "10.0.11.4"), Imds(lab, "10.0.11.5")

    assert db1.ask("meta-data/instance-id")[0] == 401
    assert db1.ask("meta-data/instance-id", X_aws_ec2_metadata_token=db2.token())[0] == 401
    assert db1.ask("api/token", "PUT")[0] == 400
    assert db1.ask("api/token", "PUT", X_Forwarded_For="10.0.0.1", **TTL)[0] == 403
    assert Imds(lab, "10.0.11.99").ask("api/token", "PUT")[0] == 404


def test_metadata_tells_an_instance_who_it_is(lab: Lab) -> None:
    instance_id, eni = lab.run("db1")
    imds = Imds(lab, "10.0.11.4")

    mac = imds.read("meta-data/mac")
    document = json.loads(imds.read("dynamic/instance-identity/document"))

    assert imds.read("meta-data/instance-id") == instance_id
    assert imds.read("meta-data/local-ipv4") == "10.0.11.4"
    assert imds.read("meta-data/placement/availability-zone") == "eu-central-1a"
    assert imds.read(f"meta-data/network/interfaces/macs/{mac}/interface-id") == eni
    assert imds.read(f"meta-data/network/interfaces/macs/{mac}/vpc-id") == lab.vpc
    assert imds.read("meta-data/network/interfaces/macs/") == mac + "/"
    assert (document["instanceId"], document["region"]) == (instance_id, "eu-central-1")


def test_role_credentials_name_instance_and_role_to_the_api(lab: Lab) -> None:
    iam = lab.client("iam")
    iam.create_role(RoleName="node", AssumeRolePolicyDocument=DOCUMENT)
    iam.create_instance_profile(InstanceProfileName="profile")
    iam.add_role_to_instance_profile(InstanceProfileName="profile", RoleName="node")
    instance_id, _ = lab.run("db1", IamInstanceProfile={"Name": "profile"})
    imds = Imds(lab, "10.0.11.4")

    assert imds.read("meta-data/iam/security-credentials/") == "node"
    keys = json.loads(imds.read("meta-data/iam/security-credentials/node"))

    assert json.loads(imds.read("meta-data/iam/info"))["InstanceProfileArn"].endswith("/profile")
    assert lab.door.front.identities.who(keys["AccessKeyId"]) == f"{instance_id}/node"
    again = json.loads(imds.read("meta-data/iam/security-credentials/node"))
    assert again["AccessKeyId"] == keys["AccessKeyId"]
