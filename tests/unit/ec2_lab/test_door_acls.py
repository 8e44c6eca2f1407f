"""Network ACLs as the API states them reach the wires, and a mistake changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from tests.unit.ec2_lab.door_lab import Lab, fresh_lab

from ec2_lab.model import AclEntry, Direction


def association(lab: Lab) -> tuple[str, str]:
    """The subnet's association and ACL."""
    by_subnet = [{"Name": "association.subnet-id", "Values": [lab.subnet]}]
    (acl,) = lab.client("ec2").describe_network_acls(Filters=by_subnet)["NetworkAcls"]
    found = next(a for a in acl["Associations"] if a["SubnetId"] == lab.subnet)
    return found["NetworkAclAssociationId"], acl["NetworkAclId"]


def in_force(lab: Lab) -> tuple[str, tuple[AclEntry, ...]]:
    """What the wires were last told of the subnet's border."""
    network = lab.wires.network
    acl_id = next(s.acl_id for s in network.subnets if s.subnet_id == lab.subnet)
    return acl_id, next(a.entries for a in network.acls if a.acl_id == acl_id)


def test_a_replaced_association_is_in_force_when_it_is_answered(tmp_path: Path) -> None:
    with fresh_lab(tmp_path) as lab:
        ec2 = lab.client("ec2")
        made = ec2.create_network_acl(VpcId=lab.vpc)["NetworkAcl"]["NetworkAclId"]
        ec2.create_network_acl_entry(
            NetworkAclId=made,
            RuleNumber=7,
            Protocol="6",
            RuleAction="allow",
            Egress=True,
            CidrBlock="10.0.0.0/16",
            PortRange={"From": 1024, "To": 65535},
        )
        old, default = association(lab)
        assert in_force(lab)[0] == default

        ec2.replace_network_acl_association(AssociationId=old, NetworkAclId=made)

        assert in_force(lab) == (
            made,
            (AclEntry(7, Direction.EGRESS, True, "tcp", "10.0.0.0/16", 1024, 65535),),
        )


def test_a_replacement_that_cannot_be_changes_nothing(tmp_path: Path) -> None:
    with fresh_lab(tmp_path) as lab:
        ec2, before = lab.client("ec2"), association(lab)
        for wish, code in (
            ((before[0], "acl-0123456789abcdef0"), "InvalidNetworkAclID.NotFound"),
            (("aclassoc-0123456789abcdef0", before[1]), "InvalidAssociationID.NotFound"),
        ):
            with pytest.raises(ClientError, match=code):
                ec2.replace_network_acl_association(AssociationId=wish[0], NetworkAclId=wish[1])

        assert association(lab) == before
