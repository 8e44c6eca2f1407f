"""Who may do what: access key → role → policies, judged by action.

Moto judges every call against the resource `*`, so statements about one table would deny it; the
door judges by itself.

Simulated:
- [documented] what no policy of the role allows is denied; an explicit Deny wins <IAM user guide: policy
  evaluation logic>
- [documented] actions match without regard to case, with * and ? <IAM user guide: Action>
- [documented (text), assumed (resource)] EC2 denies with UnauthorizedOperation, DynamoDB with
  AccessDeniedException, the others with AccessDenied; the text names principal and action <IAM user
  guide: access denied messages>
- [documented] a transaction of DynamoDB needs the rights of each of its parts <DynamoDB: transactions>
- [documented] sts:GetCallerIdentity needs no right <STS API: GetCallerIdentity>
- [documented] an access key nobody issued: AuthFailure by EC2, UnrecognizedClientException by DynamoDB,
  InvalidClientTokenId by the others <AWS general reference: common errors>
- [assumed] an Allow holds for every resource and under every condition
- [assumed] a Deny for some resources or under a condition does not hold
- [assumed] the rights to an object of S3 are named after method and path
- [assumed] callers on the controller's loopback address and with the lab's own key may do everything
- [not simulated] permissions boundaries, resource policies, session policies, users' own policies
"""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ec2_lab.door import ACCOUNT, REGION
from ec2_lab.door.answers import Refused
from ec2_lab.door.calls import Call

_PREFIX = {"monitoring": "cloudwatch", "email": "ses"}  # signing name → IAM's, where they differ
_FREE = "sts:GetCallerIdentity"
_S3_OBJECT = {"GET": "GetObject", "HEAD": "GetObject", "PUT": "PutObject", "POST": "PutObject"}
_S3_BUCKET = {"GET": "ListBucket", "HEAD": "ListBucket", "PUT": "CreateBucket", "POST": "DeleteObject"}
_TRANSACTION_PARTS = {
    "Put": "PutItem",
    "Update": "UpdateItem",
    "Delete": "DeleteItem",
    "ConditionCheck": "ConditionCheckItem",
    "Get": "GetItem",
}


@dataclass(frozen=True, slots=True)
class Principal:
    """A role at work: in the lab a session is an instance."""

    role: str
    session: str

    @property
    def arn(self) -> str:
        return f"arn:aws:sts::{ACCOUNT}:assumed-role/{self.role}/{self.session}"


class Rights:
    """Judges calls by what moto's IAM holds. Under the lock."""

    def __init__(self) -> None:
        self._trusted: set[str] = set()

    def trust(self, access_key: str) -> None:
        """From now on this key may do everything, wherever it calls from."""
        self._trusted.add(access_key)

    def check(self, call: Call) -> None:
        """Refuse what the caller may not do. Raises Refused."""
        if call.access_key in self._trusted or not call.access_key:
            return  # unsigned calls get this far only where the public is served
        principal = _principal(call.access_key)
        if principal is None:
            if not call.from_controller:
                raise _unknown_key(call)
            return
        statements = list(_statements(principal.role))
        for action in needed(call):
            if any(_names(s, action) for s in statements if _is_plain_deny(s)):
                raise denied(call, principal, action, explicitly=True)
            if not any(_names(s, action) for s in statements if s.get("Effect") == "Allow"):
                raise denied(call, principal, action, explicitly=False)


def needed(call: Call) -> list[str]:
    """The IAM actions a caller needs for this call."""
    if call.service == "s3":
        return [f"s3:{_s3_action(call)}"]
    service = _PREFIX.get(call.service, call.service)
    if f"{service}:{call.action}" == _FREE:
        return []
    if call.service == "dynamodb" and call.action.startswith("Transact"):
        parts = {kind for item in call.json_body.get("TransactItems", []) for kind in item}
        return [f"dynamodb:{_TRANSACTION_PARTS[kind]}" for kind in sorted(parts & _TRANSACTION_PARTS.keys())]
    return [f"{service}:{call.action}"]


def _s3_action(call: Call) -> str:
    method, _, path = call.action.partition(" ")
    bucket, _, key = path.strip("/").partition("/")
    if not bucket:
        return "ListAllMyBuckets"
    if key:
        return _S3_OBJECT.get(method, "DeleteObject")
    return _S3_BUCKET.get(method, "DeleteBucket")


def _principal(access_key: str) -> Principal | None:
    from moto.backends import get_backend

    for assumed in get_backend("sts")[ACCOUNT]["aws"].assumed_roles:
        if assumed.access_key_id == access_key:
            return Principal(assumed.role_arn.rpartition("/")[2], assumed.session_name)
    return None


def _statements(role_name: str) -> Iterator[dict[str, Any]]:
    """Every statement of the role's policies, inline and managed; none when the role is gone."""
    from moto.backends import get_backend

    roles = get_backend("iam")[ACCOUNT]["aws"].roles
    for role in (role for role in roles.values() if role.name == role_name):
        managed = (
            version.document
            for policy in role.managed_policies.values()
            for version in policy.versions
            if version.version_id == policy.default_version_id
        )
        documents = [*role.policies.values(), *managed]
        for document in documents:
            parsed = json.loads(document) if isinstance(document, str) else document
            yield from _several(parsed.get("Statement", []))


def _several(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _names(statement: dict[str, Any], action: str) -> bool:
    if "NotAction" in statement:
        return not any(_matches(p, action) for p in _several(statement["NotAction"]))
    return any(_matches(p, action) for p in _several(statement.get("Action", [])))


def _matches(pattern: str, action: str) -> bool:
    plain = pattern.replace("[", "[[]")  # IAM knows * and ? only
    return re.fullmatch(fnmatch.translate(plain.lower()), action.lower()) is not None


def _is_plain_deny(statement: dict[str, Any]) -> bool:
    everywhere = "*" in _several(statement.get("Resource", "*"))
    return statement.get("Effect") == "Deny" and everywhere and not statement.get("Condition")


def denied(call: Call, principal: Principal, action: str, *, explicitly: bool) -> Refused:
    """The refusal in AWS' words."""
    resource = _resource(call)
    on = f" on resource: {resource}" if resource else ""
    why = (
        "with an explicit deny in an identity-based policy"
        if explicitly
        else f"because no identity-based policy allows the {action} action"
    )
    text = f"User: {principal.arn} is not authorized to perform: {action}{on} {why}"
    if call.protocol == "ec2":
        return Refused(
            "UnauthorizedOperation", f"You are not authorized to perform this operation. {text}", 403
        )
    if call.protocol == "json":
        return Refused("AccessDeniedException", text, 400)
    return Refused("AccessDenied", text, 403)


def _resource(call: Call) -> str:
    if table := call.json_body.get("TableName"):
        return f"arn:aws:dynamodb:{REGION}:{ACCOUNT}:table/{table}"
    if table := call.params.get("RouteTableId"):
        return f"arn:aws:ec2:{REGION}:{ACCOUNT}:route-table/{table}"
    return ""


def _unknown_key(call: Call) -> Refused:
    if call.protocol == "ec2":
        return Refused("AuthFailure", "AWS was not able to validate the provided access credentials", 401)
    if call.protocol == "json":
        text = "The security token included in the request is invalid."
        return Refused("UnrecognizedClientException", text, 400)
    code = "InvalidAccessKeyId" if call.protocol == "s3" else "InvalidClientTokenId"
    return Refused(code, "The security token included in the request is invalid.", 403)
