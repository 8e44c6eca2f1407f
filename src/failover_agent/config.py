"""The agent's configuration: strict, and refused with the key, the value and what to do.

Sizes in bytes, times in seconds. The file is written by role failover_agent.
"""

from __future__ import annotations

import ipaddress
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from failover_agent.core import fencing as fences
from failover_agent.core import liveness
from failover_agent.core.health import Limits
from failover_agent.core.model import Mode, Timings
from failover_agent.core.timings import PROFILES, impossible
from failover_agent.errors import ConfigRefused

DEFAULT_PATH = Path("/etc/failover-agent/agent.yml")

# What the design knows and this version does not do yet is refused by name, not taken for a typing error.
NOT_YET = {"stack": ("pacemaker",)}


def _address(text: str) -> str:
    return str(ipaddress.ip_address(text))


Address = Annotated[str, AfterValidator(_address)]
Port = Annotated[int, Field(ge=1, le=65535)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


class Instance(Part):
    id: str
    interface_id: str
    az: str


class Store(Part):
    table: str
    region: str
    endpoint_url: str = ""


class Ec2(Part):
    region: str
    endpoint_url: str = ""
    route_table_ids: tuple[str, ...] = ()


class EndpointPart(Part):
    name: Name
    vip: Address
    port: Port = 5432


class MemberPart(Part):
    name: Name
    address: Address
    az: str
    instance_id: str


class PostgresPart(Part):
    version: Annotated[int, Field(ge=13)]
    bin_dir: Path
    data_dir: Path
    config_file: Path
    agent_config_file: Path
    unit: str = "primacy-postgresql.service"
    user: str = "postgres"
    socket_dir: Path = Path("/run/postgresql")
    port: Port = 5432
    replication_port: Port = 5433


class PeersPart(Part):
    port: Port = 8009


class Tls(Part):
    ca: Path
    cert: Path
    key: Path


class Secrets(Part):
    replication: Path
    rewind: Path
    bootstrap_token: Path


class TimingsPart(Part):
    """Single values that replace the profile's."""

    ttl_s: Seconds | None = None
    beat_s: Seconds | None = None
    suspect_after_s: Seconds | None = None
    poll_s: Seconds | None = None
    request_timeout_s: Seconds | None = None
    margin_s: Seconds | None = None


class LivenessPart(Part):
    """Single limits that replace the profile's, and the ballast."""

    stuck_after_s: Seconds | None = None
    storage_hung_after_s: Seconds | None = None
    ballast_bytes: Annotated[int, Field(ge=0)] = 0


class FencingPart(Part):
    """How the node is fenced that held the lease and did not give it away, before another is promoted."""

    method: fences.Method = "none"
    when_unanswered: fences.WhenUnanswered = "promote"
    timeout_s: Seconds = 60.0
    undo: fences.Undo = "person"
    acl_id: str = ""  # isolate: the network ACL without rules of its own, made beforehand

    @model_validator(mode="after")
    def _fits_together(self) -> FencingPart:
        if (self.method == "isolate") != bool(self.acl_id):
            raise ValueError("acl_id goes with method isolate, and isolate needs it")
        if self.method == "isolate" and self.undo == "automatic":
            raise ValueError("undo automatic goes with stop-instance: who is cut off can prove nothing")
        return self


class Config(Part):
    cluster: Name
    node: Name
    mode: Mode = "async"  # of a cluster that this node begins; failoverctl switches one that exists
    stack: Literal["pgpool"] = "pgpool"
    profile: Literal["fast", "balanced", "patient"] = "balanced"
    timings: TimingsPart = TimingsPart()
    liveness: LivenessPart = LivenessPart()
    fencing: FencingPart = FencingPart()
    lag_limit_bytes: Annotated[int, Field(ge=0)] = 16 * 1024 * 1024
    leave_after_s: Seconds = 10.0  # a standby that is silent for so long is no longer waited for at commits
    priority: int = 0
    nofailover: bool = False
    failsafe: bool = True
    relay: bool = True
    instance: Instance
    store: Store
    ec2: Ec2
    endpoints: tuple[EndpointPart, ...]
    members: tuple[MemberPart, ...]
    postgres: PostgresPart
    peers: PeersPart = PeersPart()
    tls: Tls
    secrets: Secrets
    state_dir: Path = Path("/var/lib/failover-agent")
    run_dir: Path = Path("/run/failover-agent")

    @model_validator(mode="after")
    def _fits_together(self) -> Config:
        _unique("members", [m.name for m in self.members])
        _unique("members", [m.address for m in self.members])
        _unique("endpoints", [e.name for e in self.endpoints])
        _unique("endpoints", [e.vip for e in self.endpoints])
        if self.node not in {m.name for m in self.members}:
            raise ValueError(f"node {self.node} is not among members")
        if self.me.instance_id != self.instance.id:
            raise ValueError(
                f"instance.id is {self.instance.id}, members says {self.me.instance_id} of {self.node}"
            )
        if self.postgres.port == self.postgres.replication_port:
            raise ValueError(f"postgres.port and postgres.replication_port are both {self.postgres.port}")
        if broken := liveness.complaints(self.limits(), self.timing()):
            raise ValueError(f"liveness of profile {self.profile}: {'; '.join(broken)}")
        for name, own in (("state_dir", self.state_dir), ("run_dir", self.run_dir)):
            if own.is_relative_to(self.postgres.data_dir.parent):
                raise ValueError(
                    f"{name} {own} lies on the data volume; what hangs there would hang the agent"
                )
        return self

    @property
    def me(self) -> MemberPart:
        return next(m for m in self.members if m.name == self.node)

    def timing(self) -> Timings:
        """The profile with the single overrides laid over it."""
        overrides = self.timings.model_dump(exclude_none=True)
        return Timings(**{**asdict(PROFILES[self.profile]), **overrides})

    def fence_policy(self) -> fences.Fencing:
        return fences.Fencing(**self.fencing.model_dump(exclude={"acl_id"}))

    def limits(self) -> Limits:
        """The profile's with the single overrides laid over it."""
        overrides = self.liveness.model_dump(exclude_none=True)
        return Limits(**{**asdict(liveness.LIMITS[self.profile]), **overrides})


def _unique(where: str, values: list[str]) -> None:
    if twice := sorted({value for value in values if values.count(value) > 1}):
        raise ValueError(f"{where} names {', '.join(twice)} twice")


def load(path: Path) -> Config:
    """Read and check the file. Raises ConfigRefused, which names every wrong key."""
    try:
        plain = yaml.safe_load(path.read_text())
    except OSError as error:
        hint = "Run it as root." if isinstance(error, PermissionError) else "Run the playbook."
        raise _refused(path, f"cannot be read: {error.strerror}", "a file that can be read", hint) from error
    except yaml.YAMLError as error:
        raise _refused(path, f"is no YAML: {error}", "YAML", "Run the playbook.") from error
    return parse(plain, where=str(path))


def parse(plain: Any, *, where: str) -> Config:  # whatever YAML gave
    """Raises ConfigRefused."""
    if not isinstance(plain, dict):
        raise _refused(where, "holds no settings", "settings", "Run the playbook.")
    for key, values in NOT_YET.items():
        if plain.get(key) in values:
            possible = Config.model_fields[key].default
            raise ConfigRefused(
                f"{where}: {key} {plain[key]} does not exist yet",
                hint=f"Use {key}: {possible} in this version.",
                object=f"{key} in {where}",
                value=str(plain[key]),
                expected=str(possible),
            )
    try:
        config = Config.model_validate(plain)
    except ValidationError as error:
        raise ConfigRefused(
            f"{where} is refused: " + "; ".join(_wrong(e) for e in error.errors()),
            hint="Correct the inventory and run the playbook; `failoverctl check-config` tries a file.",
            **_first(error, where),
        ) from error
    if refused := impossible(config.timing(), f"timings of profile {config.profile} in {where}"):
        raise refused
    return config


def _refused(where: object, value: str, expected: str, hint: str) -> ConfigRefused:
    return ConfigRefused(f"{where} {value}", hint=hint, object=str(where), value=value, expected=expected)


def _first(error: ValidationError, where: str) -> dict[str, str]:
    """The first wrong key by its fields; the message has them all."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    absent = first["type"] == "missing"
    return {
        "object": f"{key} in {where}" if key else where,
        "value": "missing"
        if absent
        else repr(first["input"])
        if key
        else "settings that do not fit together",
        "expected": str(first["msg"]).removeprefix("Value error, "),
    }


def _wrong(error: Any) -> str:  # pydantic's ErrorDetails
    key = ".".join(str(part) for part in error["loc"])
    message = str(error["msg"]).removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        return f"{key}: there is no such setting"
    if error["type"] == "missing":
        return f"{key}: is missing"
    return f"{key} = {error['input']!r}: {message}" if key else message
