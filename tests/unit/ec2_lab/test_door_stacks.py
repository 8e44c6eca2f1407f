"""A stack's change set, as a check run of Ansible asks for one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.unit.ec2_lab.door_lab import Lab

TEMPLATE = (Path(__file__).parents[3] / "roles/provision/files/store.yml").read_text()


def change_set(lab: Lab, table: str) -> dict[str, Any]:
    """Of the stack `store`, which was made for the table `primacy`; it says nothing of its type."""
    client = lab.client("cloudformation")
    asked = {"StackName": "store", "TemplateBody": TEMPLATE}
    client.create_stack(**asked, Parameters=[{"ParameterKey": "TableName", "ParameterValue": "primacy"}])
    made = client.create_change_set(
        **asked, ChangeSetName="check", Parameters=[{"ParameterKey": "TableName", "ParameterValue": table}]
    )
    told: dict[str, Any] = client.describe_change_set(ChangeSetName=made["Id"])
    assert [stack["StackStatus"] for stack in client.describe_stacks()["Stacks"]] == ["CREATE_COMPLETE"]
    return told


@pytest.mark.parametrize(("table", "status"), [("primacy", "FAILED"), ("another", "CREATE_COMPLETE")])
def test_a_change_set_fails_when_it_would_change_nothing(lab: Lab, table: str, status: str) -> None:
    told = change_set(lab, table)

    assert told["Status"] == status
    assert ("didn't contain changes" in told.get("StatusReason", "")) == (status == "FAILED")
