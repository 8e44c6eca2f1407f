"""Fences by EC2: the machine is stopped, or its subnets' network ACL is one that lets nothing pass.

What holds of both: look, then ask once; only a state that EC2 shows is a fence, never that it took the
request, and never silence (cluster-glue #33: a throttled answer was read as "already fenced").
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from botocore.exceptions import BotoCoreError, ClientError, ParamValidationError

from failover_agent.adapters import aws
from failover_agent.adapters.bounded import Bounded, GaveUp
from failover_agent.core.model import Unknown
from failover_agent.errors import AgentError, ApiRefused, ApiThrottled, CredentialsMissing, FenceRefused

T = TypeVar("T")

_DOWN = frozenset({"stopped", "terminated"})
# Answers after which the same call may work: EC2 is busy, or the instance is on its way somewhere.
_PASSING = frozenset({"InternalError", "InternalFailure", "Unavailable", "ServiceUnavailable"})
_ON_ITS_WAY = frozenset({"IncorrectInstanceState", "IncorrectState"})
# EC2 of an older form, or somebody else's, does not know the parameter.
_NOT_KNOWN = frozenset({"UnknownParameter", "InvalidParameter", "InvalidParameterCombination"})


class _Ec2:
    """Bounded calls, one attempt each."""

    def __init__(self, client: Callable[[], Any], request_timeout_s: float) -> None:
        self._client = functools.cache(client)  # made at the first call: EC2's model takes long to load
        self._timeout_s = request_timeout_s * 4  # as for route tables
        self._bounded = Bounded("fence")

    def read(self, about: str, action: str, call: Callable[[Any], T]) -> T | Unknown:
        try:
            return self._bounded.call(lambda: call(self._client()), self._timeout_s)
        except (ClientError, BotoCoreError, GaveUp, OSError) as error:
            return aws.unknown(error, about=about, action=f"ec2:{action}")

    def change(self, about: str, action: str, call: Callable[[Any], object]) -> Unknown | None:
        """Raises FenceRefused when EC2 says no for good."""
        try:
            self._bounded.call(lambda: call(self._client()), self._timeout_s)
        except ParamValidationError as error:
            raise _not_known(about, error) from error
        except ClientError as error:
            if aws.code_of(error) in _PASSING | _ON_ITS_WAY:
                return aws.unknown(error, about=about, action=f"ec2:{action}")
            if aws.code_of(error) in _NOT_KNOWN:
                raise _not_known(about, error) from error
            found = aws.fault(error, about=about, action=f"ec2:{action}")
            if isinstance(found, ApiThrottled | CredentialsMissing):
                return Unknown(str(found.args[0]), cause=found)
            raise _refusal(about, found) from error
        except (BotoCoreError, GaveUp, OSError) as error:
            return aws.unknown(error, about=about, action=f"ec2:{action}")
        return None

    def prove(self, about: str, action: str, call: Callable[[Any], object]) -> None:
        """That `call`, which says DryRun, would be taken. Raises AgentError."""
        try:
            call(self._client())
        except ClientError as error:
            if aws.code_of(error) != "DryRunOperation":
                raise aws.fault(error, about=about, action=f"ec2:{action}") from error
        except (BotoCoreError, OSError) as error:
            raise aws.fault(error, about=about, action=f"ec2:{action}") from error
        else:
            raise ApiRefused.about(
                f"DryRun of ec2:{action}",
                value="answered as if it had been done",
                expected="DryRunOperation",
                hint="This is not EC2's API: correct `ec2.endpoint_url` in agent.yml.",
            )

    def instance(self, instance_id: str) -> Mapping[str, Any] | Unknown:
        answer = self.read(
            f"instance {instance_id}",
            "DescribeInstances",
            lambda ec2: ec2.describe_instances(InstanceIds=[instance_id]),
        )
        if isinstance(answer, Unknown):
            return answer
        found = [i for r in answer["Reservations"] for i in r["Instances"] if i["InstanceId"] == instance_id]
        # EC2 forgets a terminated machine after an hour; it also does not know one of another account.
        return found[0] if found else Unknown(f"EC2 does not show {instance_id}")


class _ParameterNotKnown(FenceRefused):
    """This SDK, or this EC2, is older than the parameter."""


def _not_known(about: str, error: Exception) -> _ParameterNotKnown:
    return _ParameterNotKnown.about(
        about, value=str(error), expected="the request taken", hint="Is `ec2.endpoint_url` EC2's own API?"
    )


def _refusal(about: str, found: AgentError) -> FenceRefused:
    protected = "disableApiStop" in found.value or "OperationNotPermitted" in found.value
    hint = found.hint
    if isinstance(found, ApiRefused) and protected:
        hint = "Take the stop protection off its machine: it keeps the cluster from fencing it, too."
    return FenceRefused.about(about, value=found.value, expected="the request taken", hint=hint)


class StopInstance:
    """Implements `ports.Fence` by StopInstances, forced and without a shutdown of the system."""

    def __init__(self, client: Callable[[], Any], *, request_timeout_s: float) -> None:
        self._ec2 = _Ec2(client, request_timeout_s)

    def is_fenced(self, instance_id: str) -> bool | Unknown:
        instance = self._ec2.instance(instance_id)
        return instance if isinstance(instance, Unknown) else instance["State"]["Name"] in _DOWN

    def before(self, instance_id: str) -> Mapping[str, str] | Unknown:  # noqa: ARG002  # a start undoes it
        return {}

    def fence(self, instance_id: str) -> Unknown | None:
        about = f"stopping {instance_id}"
        try:
            return self._stop(about, instance_id, SkipOsShutdown=True)
        except _ParameterNotKnown:  # from before July 2025
            return self._stop(about, instance_id)

    def prove(self, instance_id: str) -> None:
        """That it could be stopped, without doing it. Raises AgentError."""
        self._ec2.prove(
            instance_id,
            "StopInstances",
            lambda ec2: ec2.stop_instances(InstanceIds=[instance_id], Force=True, DryRun=True),
        )

    def _stop(self, about: str, instance_id: str, **more: bool) -> Unknown | None:
        return self._ec2.change(
            about,
            "StopInstances",
            lambda ec2: ec2.stop_instances(InstanceIds=[instance_id], Force=True, **more),
        )

    def undo(self, instance_id: str, before: Mapping[str, str]) -> Unknown | None:  # noqa: ARG002
        return self._ec2.change(
            f"starting {instance_id}",
            "StartInstances",
            lambda ec2: ec2.start_instances(InstanceIds=[instance_id]),
        )


class IsolateSubnet:
    """Implements `ports.Fence` by ReplaceNetworkAclAssociation on every subnet the machine has a foot in.

    A network ACL has no memory of connections: what is established is cut, too, both ways. It is the
    subnet's, so a subnet that holds anybody else's interface is refused, by looking right before.
    """

    def __init__(self, client: Callable[[], Any], *, acl_id: str, request_timeout_s: float) -> None:
        self._acl_id = acl_id
        self._ec2 = _Ec2(client, request_timeout_s)

    def is_fenced(self, instance_id: str) -> bool | Unknown:
        acls = self._acls(instance_id)
        if isinstance(acls, Unknown):
            return acls
        return all(acl == self._acl_id for _, acl in acls.values())

    def before(self, instance_id: str) -> Mapping[str, str] | Unknown:
        acls = self._acls(instance_id)
        if isinstance(acls, Unknown):
            return acls
        return {subnet: acl for subnet, (_, acl) in acls.items() if acl != self._acl_id}

    def fence(self, instance_id: str) -> Unknown | None:
        acls = self._acls_of_nobody_else(instance_id)
        if isinstance(acls, Unknown):
            return acls
        return self._put(instance_id, acls, dict.fromkeys(acls, self._acl_id))

    def prove(self, instance_id: str) -> None:
        """That it could be cut off, without doing it. Raises AgentError."""
        acls = self._acls_of_nobody_else(instance_id)
        if isinstance(acls, Unknown):
            raise acls.cause or ApiRefused(acls.why, hint="Is it a member's machine?")
        for subnet, (association, _) in sorted(acls.items()):
            ask = functools.partial(_replace_acl, association, self._acl_id, DryRun=True)
            self._ec2.prove(subnet, "ReplaceNetworkAclAssociation", ask)

    def _acls_of_nobody_else(self, instance_id: str) -> dict[str, tuple[str, str]] | Unknown:
        """Raises FenceRefused where others would be cut off, too."""
        acls = self._acls(instance_id)
        if isinstance(acls, Unknown):
            return acls
        strangers = self._strangers(instance_id, sorted(acls))
        if isinstance(strangers, Unknown):
            return strangers
        if strangers:
            raise FenceRefused.about(
                f"isolating {instance_id}",
                value=f"its subnet also holds {', '.join(strangers)}",
                expected="a subnet with nothing else in it",
                hint="A network ACL cuts off all of a subnet: give every node one of its own, or use"
                " stop-instance. See docs/fencing.md.",
            )
        return acls

    def undo(self, instance_id: str, before: Mapping[str, str]) -> Unknown | None:
        acls = self._acls(instance_id)
        if isinstance(acls, Unknown):
            return acls
        cut = {subnet for subnet, (_, acl) in acls.items() if acl == self._acl_id}
        if lost := sorted(cut - set(before)):
            raise FenceRefused.about(
                f"network of {instance_id}",
                value=f"nothing tells which network ACL {', '.join(lost)} had",
                expected="the note of who fenced it",
                hint="Give the subnet its ACL by hand: aws ec2 replace-network-acl-association.",
            )
        return self._put(instance_id, acls, {subnet: before[subnet] for subnet in cut})

    def _put(
        self, instance_id: str, acls: Mapping[str, tuple[str, str]], wish: Mapping[str, str]
    ) -> Unknown | None:
        """Raises FenceRefused. Touches only what differs."""
        for subnet, wanted in sorted(wish.items()):
            association, acl = acls[subnet]
            if acl == wanted:
                continue
            ask = functools.partial(_replace_acl, association, wanted)
            unsure = self._ec2.change(
                f"network ACL of {subnet} for {instance_id}", "ReplaceNetworkAclAssociation", ask
            )
            if isinstance(unsure, Unknown):
                return unsure
        return None

    def _acls(self, instance_id: str) -> dict[str, tuple[str, str]] | Unknown:
        """Subnet → its association and its network ACL, for each subnet of the instance."""
        instance = self._ec2.instance(instance_id)
        if isinstance(instance, Unknown):
            return instance
        subnets = sorted({i["SubnetId"] for i in instance.get("NetworkInterfaces", ())})
        if not subnets:
            return Unknown(f"EC2 shows no interface of {instance_id}")
        answer = self._ec2.read(
            f"network ACLs of {', '.join(subnets)}",
            "DescribeNetworkAcls",
            lambda ec2: ec2.describe_network_acls(
                Filters=[{"Name": "association.subnet-id", "Values": subnets}]
            ),
        )
        if isinstance(answer, Unknown):
            return answer
        found = {
            a["SubnetId"]: (a["NetworkAclAssociationId"], a["NetworkAclId"])
            for acl in answer["NetworkAcls"]
            for a in acl["Associations"]
            if a["SubnetId"] in subnets
        }
        if missing := set(subnets) - set(found):
            return Unknown(f"EC2 shows no network ACL of {', '.join(sorted(missing))}")
        return found

    def _strangers(self, instance_id: str, subnets: Sequence[str]) -> list[str] | Unknown:
        answer = self._ec2.read(
            f"interfaces in {', '.join(subnets)}",
            "DescribeNetworkInterfaces",
            lambda ec2: ec2.describe_network_interfaces(
                Filters=[{"Name": "subnet-id", "Values": list(subnets)}]
            ),
        )
        if isinstance(answer, Unknown):
            return answer
        return sorted(
            i["NetworkInterfaceId"]
            for i in answer["NetworkInterfaces"]
            if i.get("Attachment", {}).get("InstanceId") != instance_id
        )


def _replace_acl(association: str, acl: str, ec2: Any, **more: bool) -> object:
    return ec2.replace_network_acl_association(AssociationId=association, NetworkAclId=acl, **more)
