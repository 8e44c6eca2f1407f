"""One API call as it came in: which service, which action, who asked, with what.

Nothing here judges or answers; it only reads the request the way AWS would route it.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode

from ec2_lab.model import API_ADDRESS, DYNAMODB_ADDRESS, S3_ADDRESS

ENDPOINTS = {API_ADDRESS: "api", DYNAMODB_ADDRESS: "dynamodb", S3_ADDRESS: "s3"}
EVERYTHING = "loopback"

_CREDENTIAL = re.compile(r"Credential=([^/,\s]+)/\d{8}/([^/]+)/([^/]+)/")
_SECRET = re.compile(r"secret|password|privatekey|keymaterial|userdata|plaintext|token|certificate", re.I)
_SECRET_SERVICES = {"secretsmanager", "ssm", "kms"}
_PARAMETER_CHARS_MAX = 400


@dataclass(slots=True)
class Call:
    """A request to the API. `params` are the flat form fields of the EC2 and query protocols."""

    service: str
    action: str
    params: dict[str, str]
    body: bytes
    caller: str  # address the request came from
    access_key: str
    endpoint: str  # api, dynamodb, s3, or loopback for the controller, which reaches all
    json_body: dict[str, Any] = field(default_factory=dict)

    @property
    def protocol(self) -> str:
        """How errors must be written: ec2, json, s3 or query."""
        if self.service in ("ec2", "s3"):
            return self.service
        return "query" if self.params.get("Action") else "json"

    @property
    def from_controller(self) -> bool:
        return self.endpoint == EVERYTHING

    def flag(self, name: str) -> bool:
        return self.params.get(name, "").lower() == "true"

    def listed(self, prefix: str) -> list[str]:
        """Values of `prefix.1`, `prefix.2`, … in order."""
        found = [
            (int(key[len(prefix) + 1 :]), value)
            for key, value in self.params.items()
            if key.startswith(prefix + ".") and key[len(prefix) + 1 :].isdigit()
        ]
        return [value for _, value in sorted(found)]

    def without_secrets(self) -> dict[str, object]:
        """Parameters as the history may keep them."""
        given: Mapping[str, object] = self.json_body or self.params
        if self.service in _SECRET_SERVICES:
            return {k: v for k, v in given.items() if k in ("Name", "SecretId", "KeyId", "Action")}
        skipped = ("Action", "Version")
        return {
            key: "…" if _SECRET.search(key) and key != "ClientToken" else _short(value)
            for key, value in given.items()
            if key not in skipped
        }


def read(environ: dict[str, Any], bound_to: str | None) -> Call:
    """Take the request apart and leave `environ` as it was for whoever reads it next."""
    length = int(environ.get("CONTENT_LENGTH") or 0)
    body = environ["wsgi.input"].read(length) if length else b""
    environ["wsgi.input"] = io.BytesIO(body)
    environ["CONTENT_LENGTH"] = str(len(body))
    access_key, service = _signature(environ)
    target = environ.get("HTTP_X_AMZ_TARGET", "")
    params = _form(environ, body)
    if not service:
        service = "dynamodb" if target.startswith("DynamoDB") else "sts" if params.get("Action") else "s3"
    if target:
        action = target.rpartition(".")[2]
    else:
        action = params.get("Action") or f"{environ['REQUEST_METHOD']} {environ.get('PATH_INFO', '/')}"
    return Call(
        service=service,
        action=action,
        params=params,
        body=body,
        caller=environ.get("REMOTE_ADDR") or "unknown",
        access_key=access_key,
        endpoint=bound_to or _endpoint(environ),
        json_body=_json(body) if target else {},
    )


def put_back(environ: dict[str, Any], call: Call) -> None:
    """Write changed form parameters into the request moto will see."""
    call.body = urlencode(call.params).encode()
    environ["wsgi.input"] = io.BytesIO(call.body)
    environ["CONTENT_LENGTH"] = str(len(call.body))


def _signature(environ: dict[str, Any]) -> tuple[str, str]:
    signed = environ.get("HTTP_AUTHORIZATION", "")
    found = _CREDENTIAL.search(signed)
    if found:
        return found[1], found[3].lower()
    for key, value in parse_qsl(environ.get("QUERY_STRING", "")):
        if key == "X-Amz-Credential" and value.count("/") == 4:  # a presigned URL
            parts = value.split("/")
            return parts[0], parts[3].lower()
    return "", ""


def _form(environ: dict[str, Any], body: bytes) -> dict[str, str]:
    fields = dict(parse_qsl(environ.get("QUERY_STRING", ""), keep_blank_values=True))
    if environ.get("CONTENT_TYPE", "").startswith("application/x-www-form-urlencoded"):
        fields.update(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
    return fields


def _json(body: bytes) -> dict[str, Any]:
    try:
        parsed = json.loads(body or b"{}")
    except ValueError:
        return {}
    return parsed if isinstance(parsed, dict) else {}


def _endpoint(environ: dict[str, Any]) -> str:
    """By the address the client asked for, where the server did not say which one it is bound to."""
    for told in (environ.get("SERVER_NAME", ""), environ.get("HTTP_HOST", "").partition(":")[0]):
        if told in ENDPOINTS:
            return ENDPOINTS[told]
    return EVERYTHING


def _short(value: object) -> object:
    if isinstance(value, int | float | bool) or value is None:
        return value
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= _PARAMETER_CHARS_MAX else text[:_PARAMETER_CHARS_MAX] + "…"
