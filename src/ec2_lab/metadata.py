"""The metadata service at 169.254.169.254: who am I, and with which keys may I call the API.

A caller is known by its private address alone; the router lets nobody send with another's.

Simulated:
- [documented] IMDSv2 only: PUT /latest/api/token with a ttl of 1 to 21600 s, 401 without a valid token
  <EC2 user guide: instance metadata service>
- [documented] a PUT with X-Forwarded-For: 403 <EC2 user guide: IMDSv2>
- [documented] HttpEndpoint disabled: 403 <EC2 user guide: instance metadata options>
- [documented (renewal ≥ 5 min before), assumed (life)] role credentials live for 6 h and are renewed 10
  min before they end <EC2 user guide: IAM roles>
- [documented] tags under tags/instance only when allowed <EC2 user guide: tags in instance metadata>
- [documented] a token is bound to the instance that asked for it <EC2 user guide: IMDSv2>
- [not simulated] PKCS7 signature of the identity document
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ec2_lab.door import ACCOUNT, REGION
from ec2_lab.door.amend import primary
from ec2_lab.engine import Engine
from ec2_lab.life import Life, Stage

TOKEN_TTL_MAX_S = 21_600
CREDENTIALS_LIFE_S = 6 * 3600
CREDENTIALS_RENEWED_BEFORE_S = 600

Tree = dict[str, Any]  # folder: dict, file: str


@dataclass(frozen=True, slots=True)
class Credentials:
    """Temporary keys of one instance's role."""

    instance_id: str
    role: str
    access_key: str
    secret_key: str
    session_token: str
    issued: datetime
    expires: datetime

    def document(self) -> str:
        return json.dumps(
            {
                "Code": "Success",
                "LastUpdated": _stamp(self.issued),
                "Type": "AWS-HMAC",
                "AccessKeyId": self.access_key,
                "SecretAccessKey": self.secret_key,
                "Token": self.session_token,
                "Expiration": _stamp(self.expires),
            },
            indent=2,
        )


class Identities:
    """Which instance asks, and which instance and role an access key belongs to."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._current: dict[str, Credentials] = {}  # by instance id
        self.issued: dict[str, Credentials] = {}  # by access key, old ones too

    def life_at(self, address: str) -> Life | None:
        """The running instance with this private address."""
        with self._engine.lock:
            for life in self._engine.lives.values():
                if life.stage is not Stage.TERMINATED and address in life.interface.private_ips:
                    return life
        return None

    def who(self, access_key: str) -> str:
        """`instance/role` for keys from the metadata service, else the key id itself."""
        known = self.issued.get(access_key)
        return f"{known.instance_id}/{known.role}" if known else access_key

    def profile(self, life: Life) -> Any:
        """Moto's instance profile of the instance, or None."""
        association = self._engine.backend.iam_instance_profile_associations.get(life.instance_id)
        return association.iam_instance_profile if association else None

    def credentials(self, life: Life, role: Any) -> Credentials:
        """Keys of this role for this instance; new ones shortly before the old ones end."""
        with self._engine.lock:
            now = datetime.now(UTC)
            known = self._current.get(life.instance_id)
            left_s = (known.expires - now).total_seconds() if known and known.role == role.name else 0.0
            if known and left_s > CREDENTIALS_RENEWED_BEFORE_S:
                return known
            fresh = _assume(life.instance_id, role)
            self._current[life.instance_id] = self.issued[fresh.access_key] = fresh
            return fresh

    def tree(self, life: Life) -> Tree:
        """Everything this instance may read, as folders and files."""
        with self._engine.lock:
            profile = self.profile(life)
            return {
                "meta-data": _meta_data(life, profile),
                "dynamic": {"instance-identity": {"document": _identity_document(life)}},
            }

    def key_of(self, life: Life) -> tuple[str, str] | None:
        pair = self._engine.backend.key_pairs.get(life.instance.key_name or "")
        return (pair.key_name, pair.public_key.strip()) if pair else None


def metadata_app(identities: Identities) -> Callable[..., Iterable[bytes]]:
    """The WSGI application; the caller's address in REMOTE_ADDR is its identity."""
    tokens: dict[str, tuple[str, float]] = {}  # token → (instance id, end on the monotonic clock)

    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        life = identities.life_at(environ.get("REMOTE_ADDR", ""))
        if life is None:
            status, body = "404 Not Found", ""
        elif life.instance.metadata_options.http_endpoint == "disabled":
            status, body = "403 Forbidden", ""
        elif environ["REQUEST_METHOD"] == "PUT":
            status, body = _new_token(environ, life, tokens)
        elif not _token_holds(environ, life, tokens):
            status, body = "401 Unauthorized", ""
        elif environ["REQUEST_METHOD"] != "GET":
            status, body = "405 Method Not Allowed", ""
        else:
            status, body = _read(identities, life, environ.get("PATH_INFO", "/"))
        content = body.encode()
        headers = [("Content-Type", "text/plain"), ("Content-Length", str(len(content)))]
        if ttl := environ.get("ec2_lab.ttl"):
            headers.append(("X-aws-ec2-metadata-token-ttl-seconds", ttl))
        start_response(status, headers)
        return [content]

    return app


def _new_token(environ: dict[str, Any], life: Life, tokens: dict[str, Any]) -> tuple[str, str]:
    if environ.get("PATH_INFO") != "/latest/api/token":
        return "404 Not Found", ""
    if "HTTP_X_FORWARDED_FOR" in environ:
        return "403 Forbidden", ""
    asked = environ.get("HTTP_X_AWS_EC2_METADATA_TOKEN_TTL_SECONDS", "")
    if not asked.isdigit() or not 1 <= int(asked) <= TOKEN_TTL_MAX_S:
        return "400 Bad Request", ""
    now = time.monotonic()
    for old in [t for t, (_, end) in tokens.items() if end < now]:
        tokens.pop(old, None)
    token = secrets.token_urlsafe(40)
    tokens[token] = (life.instance_id, now + int(asked))
    environ["ec2_lab.ttl"] = asked
    return "200 OK", token


def _token_holds(environ: dict[str, Any], life: Life, tokens: dict[str, Any]) -> bool:
    owner, end = tokens.get(environ.get("HTTP_X_AWS_EC2_METADATA_TOKEN", ""), ("", 0.0))
    return bool(owner == life.instance_id and time.monotonic() < end)


def _read(identities: Identities, life: Life, path: str) -> tuple[str, str]:
    parts = [part for part in path.split("/") if part]
    if parts[:1] != ["latest"]:
        return "404 Not Found", ""
    node: Any = identities.tree(life)
    profile = identities.profile(life)
    if parts[1:3] == ["meta-data", "iam"] and len(parts) == 5 and profile:
        role = next((r for r in profile.roles if r.name == parts[4]), None)
        if parts[3] == "security-credentials" and role:
            return "200 OK", identities.credentials(life, role).document()
    if parts[1:3] == ["meta-data", "public-keys"] and (key := identities.key_of(life)):
        if len(parts) == 3:
            return "200 OK", f"0={key[0]}"
        return ("200 OK", key[1]) if parts[3:] == ["0", "openssh-key"] else ("200 OK", "openssh-key")
    for part in parts[1:]:
        if not isinstance(node, dict) or part not in node:
            return "404 Not Found", ""
        node = node[part]
    if isinstance(node, dict):
        return "200 OK", "\n".join(name + "/" * isinstance(below, dict) for name, below in node.items())
    return "200 OK", str(node)


def _meta_data(life: Life, profile: Any) -> Tree:
    instance = life.instance
    eni = primary(instance)
    name = instance.private_dns_name
    tree: Tree = {
        "ami-id": instance.image_id,
        "hostname": name,
        "instance-id": instance.id,
        "instance-life-cycle": instance.lifecycle or "on-demand",
        "instance-type": instance.instance_type,
        "local-hostname": name,
        "local-ipv4": eni.private_ip_address,
        "mac": eni.mac_address,
        "network": {"interfaces": {"macs": {eni.mac_address: _interface(eni, name)}}},
        "placement": {
            "availability-zone": instance.availability_zone,
            "availability-zone-id": eni.subnet.availability_zone_id,
            "region": REGION,
        },
        "security-groups": "\n".join(g.name for g in eni.group_set),
        "services": {"domain": "amazonaws.com", "partition": "aws"},
    }
    if eni.public_ip:
        tree["public-ipv4"] = eni.public_ip
    if profile:
        tree["iam"] = {
            "info": json.dumps(
                {
                    "Code": "Success",
                    "LastUpdated": _stamp(datetime.now(UTC)),
                    "InstanceProfileArn": profile.arn,
                    "InstanceProfileId": profile.id,
                }
            ),
            "security-credentials": {role.name: "" for role in profile.roles},
        }
    if instance.metadata_options.instance_metadata_tags == "enabled":
        tree["tags"] = {"instance": {tag["key"]: tag["value"] for tag in instance.get_tags()}}
    return tree


def _interface(eni: Any, name: str) -> Tree:
    vpc_cidrs = [
        str(c["cidr_block"]) for c in eni.ec2_backend.vpcs[eni.vpc_id].get_cidr_block_association_set()
    ]
    tree: Tree = {
        "device-number": str(eni.device_index or 0),
        "interface-id": eni.id,
        "local-hostname": name,
        "local-ipv4s": "\n".join(a["PrivateIpAddress"] for a in eni.private_ip_addresses),
        "mac": eni.mac_address,
        "owner-id": ACCOUNT,
        "security-group-ids": "\n".join(g.id for g in eni.group_set),
        "security-groups": "\n".join(g.name for g in eni.group_set),
        "subnet-id": eni.subnet.id,
        "subnet-ipv4-cidr-block": eni.subnet.cidr_block,
        "vpc-id": eni.vpc_id,
        "vpc-ipv4-cidr-block": vpc_cidrs[0],
        "vpc-ipv4-cidr-blocks": "\n".join(vpc_cidrs),
    }
    if eni.public_ip:
        tree["public-ipv4s"] = eni.public_ip
    return tree


def _identity_document(life: Life) -> str:
    instance = life.instance
    return json.dumps(
        {
            "accountId": ACCOUNT,
            "architecture": instance.architecture,
            "availabilityZone": instance.availability_zone,
            "imageId": instance.image_id,
            "instanceId": instance.id,
            "instanceType": instance.instance_type,
            "pendingTime": _stamp(instance.launch_time),
            "privateIp": instance.private_ip_address,
            "region": REGION,
            "version": "2017-09-30",
        },
        indent=2,
    )


def _assume(instance_id: str, role: Any) -> Credentials:
    from moto.backends import get_backend

    assumed = get_backend("sts")[ACCOUNT]["aws"].assume_role(
        region_name=REGION,
        role_session_name=instance_id,
        role_arn=role.arn,
        policy="",
        duration=CREDENTIALS_LIFE_S,
        external_id="",
    )
    issued = datetime.now(UTC)
    return Credentials(
        instance_id=instance_id,
        role=role.name,
        access_key=assumed.access_key_id,
        secret_key=assumed.secret_access_key,
        session_token=assumed.session_token,
        issued=issued,
        expires=assumed.expiration.replace(tzinfo=UTC),
    )


def _stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
