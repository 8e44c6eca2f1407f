"""From a configuration to a running agent: the only place that knows every implementation."""

from __future__ import annotations

import fcntl
import functools
import os
import pwd
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from failover_agent.adapters import aws
from failover_agent.adapters.addresses import DummyAddresses
from failover_agent.adapters.app import App
from failover_agent.adapters.clock import SystemClock
from failover_agent.adapters.dynamodb import DynamoLeaseStore
from failover_agent.adapters.fence import IsolateSubnet, StopInstance
from failover_agent.adapters.files import JsonNotebook, TokenFile
from failover_agent.adapters.gate import NftGate
from failover_agent.adapters.gate_table import GatePlan
from failover_agent.adapters.peers import HttpPeers, client_context
from failover_agent.adapters.postgres import LocalPostgres, PostgresPlan
from failover_agent.adapters.probes import NodeProbes
from failover_agent.adapters.routes import Ec2RouteTables
from failover_agent.adapters.server import CannotListen, Doors
from failover_agent.adapters.systemd import NotifySupervisor, SystemdUnit, Unit
from failover_agent.config import Config, MemberPart
from failover_agent.core.model import Endpoint, Member
from failover_agent.errors import ConfigRefused
from failover_agent.ports import Fence
from failover_agent.shell.agent import Agent, Ports, Settings
from failover_agent.shell.fencer import Unfenceable

WAL_SOCKET = ".failover-agent"  # beside PostgreSQL's own: its user does not get into run_dir
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class AlreadyRunning(ConfigRefused):
    """Another agent process holds this node's lock."""


@dataclass(frozen=True, slots=True)
class Wired:
    """A made agent, its doors and its peers, none of them started."""

    agent: Agent
    doors: Doors
    peers: HttpPeers
    lock: int  # held for the life of the process


def wire(config: Config, version: str, unit: Unit | None = None) -> Wired:
    """Raises AgentError. Takes the node's lock first: two agents must never keep one lease.

    `unit` holds PostgreSQL; systemd's of the configuration when not given.
    """
    lock = take_lock(config.run_dir)
    clock = SystemClock()
    peers = make_peers(config, clock)
    unit = unit or SystemdUnit(config.postgres.unit)
    ports = make_ports(config, clock, peers, unit)
    agent = Agent(ports, settings(config, version), lambda: uuid.uuid4().hex)
    app = App(agent, [m.name for m in config.members], postgres_uid(config), agent.body.journal)
    return Wired(agent, Doors(app), peers, lock)


def open_doors(config: Config, wired: Wired) -> None:
    """Answer people and peers, and begin to ask the others. Raises AgentError."""
    wired.doors.open_unix(config.run_dir / "control.sock")
    try:  # what PostgreSQL asks for its archive; nobody else needs it
        wired.doors.open_unix(config.postgres.socket_dir / WAL_SOCKET, config.postgres.user)
    except CannotListen as error:
        wired.agent.body.journal.trouble("the socket for PostgreSQL's archive", error)
    wired.doors.open_https(
        config.me.address, config.peers.port, ca=config.tls.ca, cert=config.tls.cert, key=config.tls.key
    )
    wired.peers.start()


def take_lock(run_dir: Path) -> int:
    """Raises AlreadyRunning."""
    run_dir.mkdir(mode=0o755, parents=True, exist_ok=True)
    fd = os.open(run_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(fd)
        raise AlreadyRunning(
            f"another agent holds {run_dir / 'lock'}",
            hint="See `systemctl status failover-agent`.",
            object=str(run_dir / "lock"),
            value="held by another agent",
            expected="held by nobody",
        ) from error
    return fd


def make_ports(config: Config, clock: SystemClock, peers: HttpPeers, unit: Unit) -> Ports:
    timing = config.timing()
    credentials = aws.CredentialsAhead()
    dynamodb = aws.client(
        "dynamodb",
        region=config.store.region,
        endpoint_url=config.store.endpoint_url,
        timeout_s=timing.request_timeout_s,
        credentials=credentials,
    )
    ec2 = functools.partial(
        aws.client,
        "ec2",
        region=config.ec2.region,
        endpoint_url=config.ec2.endpoint_url,
        timeout_s=timing.request_timeout_s * 4,
        credentials=credentials,
    )
    return Ports(
        clock=clock,
        store=DynamoLeaseStore(
            dynamodb,
            table=config.store.table,
            cluster=config.cluster,
            request_timeout_s=timing.request_timeout_s,
        ),
        gate=NftGate(gate_plan(config), clock),
        addresses=DummyAddresses(),
        routes=Ec2RouteTables(
            ec2, table_ids=config.ec2.route_table_ids, request_timeout_s=timing.request_timeout_s
        ),
        postgres=LocalPostgres(postgres_plan(config), unit, clock),
        peers=peers,
        supervisor=NotifySupervisor(),
        run_notes=JsonNotebook(config.run_dir),
        state_notes=JsonNotebook(config.state_dir),
        bootstrap_token=TokenFile(config.secrets.bootstrap_token),
        probes=NodeProbes(postgres_plan(config), config.limits(), clock),
        fence=make_fence(config, ec2),
    )


def make_fence(config: Config, ec2: Callable[[], Any]) -> Fence:
    timeout_s = config.timing().request_timeout_s
    if config.fencing.method == "stop-instance":
        return StopInstance(ec2, request_timeout_s=timeout_s)
    if config.fencing.method == "isolate":
        return IsolateSubnet(ec2, acl_id=config.fencing.acl_id, request_timeout_s=timeout_s)
    return Unfenceable()


def make_peers(config: Config, clock: SystemClock) -> HttpPeers:
    timing = config.timing()
    return HttpPeers(
        config.node,
        tuple(member(m) for m in config.members if m.name != config.node),
        port=config.peers.port,
        context=client_context(config.tls.ca, config.tls.cert, config.tls.key),
        clock=clock,
        ask_s=timing.ask_s,
        request_timeout_s=timing.request_timeout_s,
    )


def settings(config: Config, version: str) -> Settings:
    return Settings(
        cluster=config.cluster,
        me=member(config.me),
        others=tuple(member(m) for m in config.members if m.name != config.node),
        boot_id=BOOT_ID.read_text().strip(),
        interface_id=config.instance.interface_id,
        timings=config.timing(),
        endpoints=tuple(Endpoint(e.name, e.vip, e.port) for e in config.endpoints),
        lag_limit_bytes=config.lag_limit_bytes,
        priority=config.priority,
        nofailover=config.nofailover,
        mode=config.mode,
        leave_after_s=config.leave_after_s,
        version=version,
        limits=config.limits(),
        fencing=config.fence_policy(),
        failsafe=config.failsafe,
        relay=config.relay,
    )


def member(part: MemberPart) -> Member:
    return Member(part.name, part.address, part.az, part.instance_id)


def postgres_uid(config: Config) -> int:
    """Raises ConfigRefused where PostgreSQL's user does not exist."""
    try:
        return pwd.getpwnam(config.postgres.user).pw_uid
    except KeyError as error:
        raise ConfigRefused(
            f"postgres.user = {config.postgres.user!r}: there is no such user",
            hint="Install PostgreSQL first.",
            object="postgres.user",
            value=config.postgres.user,
            expected="a user of this host",
        ) from error


def gate_plan(config: Config) -> GatePlan:
    """Raises ConfigRefused where PostgreSQL's user does not exist."""
    return GatePlan(
        port=config.postgres.port,
        replication_port=config.postgres.replication_port,
        members=tuple(m.address for m in config.members),
        replication_uids=(0, postgres_uid(config)),
        vips=tuple(e.vip for e in config.endpoints),
    )


def postgres_plan(config: Config) -> PostgresPlan:
    part = config.postgres
    return PostgresPlan(
        node=config.node,
        version=part.version,
        bin_dir=part.bin_dir,
        data_dir=part.data_dir,
        config_file=part.config_file,
        agent_config_file=part.agent_config_file,
        user=part.user,
        socket_dir=part.socket_dir,
        port=part.port,
        replication_port=part.replication_port,
        members={m.name: m.address for m in config.members},
        tls_ca=config.tls.ca,
        replication_secret=config.secrets.replication,
        rewind_secret=config.secrets.rewind,
        run_dir=config.run_dir,
        state_dir=config.state_dir,
    )
