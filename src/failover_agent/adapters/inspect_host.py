"""Looking at this host and at the other agents for the doctor. Nothing is changed."""

from __future__ import annotations

import shutil
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization

from failover_agent.adapters import programs, report_json
from failover_agent.core.model import Member, NodeReport
from failover_agent.core.verdicts import certificate_unfit
from failover_agent.errors import PeerSilent

SYSTEMCTL_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Validity:
    """Seconds since 1970."""

    not_before: float
    not_after: float


def certificate(ca: Path, cert: Path, key: Path, name: str) -> Validity:
    """When `cert` holds. Raises CertificateUnfit when it is not of this CA, of this key, and `name`'s."""
    try:
        authority = x509.load_pem_x509_certificate(ca.read_bytes())
        found = x509.load_pem_x509_certificate(cert.read_bytes())
        private = serialization.load_pem_private_key(key.read_bytes(), None)
    except OSError as error:
        raise certificate_unfit(str(error.filename), f"cannot be read: {error.strerror}") from error
    except (ValueError, TypeError) as error:
        raise certificate_unfit(str(cert), f"it, its key or its CA is no PEM: {error}") from error
    try:
        found.verify_directly_issued_by(authority)
    except (InvalidSignature, ValueError, TypeError) as error:
        raise certificate_unfit(str(cert), f"not issued by {ca}") from error
    if found.public_key() != private.public_key():
        raise certificate_unfit(str(cert), f"does not belong to the key {key}")
    names = [
        str(attribute.value) for attribute in found.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
    ]
    if names != [name]:
        raise certificate_unfit(str(cert), f"names {', '.join(names) or 'nobody'}, not {name}")
    return Validity(
        max(c.not_valid_before_utc.timestamp() for c in (found, authority)),
        min(c.not_valid_after_utc.timestamp() for c in (found, authority)),
    )


def room(path: Path) -> tuple[int, int]:
    """Free bytes and size of the volume that `path`, or what of it exists, lies on."""
    there = next(p for p in (path, *path.parents) if p.exists())
    usage = shutil.disk_usage(there)
    return usage.free, usage.total


def unit_states(names: Sequence[str]) -> dict[str, str]:
    """What systemd says of each: active, inactive, failed, …; empty where it says nothing."""
    try:
        done = programs.run(("systemctl", "is-active", *names), timeout_s=SYSTEMCTL_TIMEOUT_S)
    except (programs.TookTooLong, OSError):
        return dict.fromkeys(names, "")
    states = done.out.split()
    return dict(zip(names, states, strict=True)) if len(states) == len(names) else dict.fromkeys(names, "")


@dataclass(frozen=True, slots=True)
class Greeting:
    """What another agent said, and how far its wall clock is ahead of ours."""

    report: NodeReport
    clock_ahead_s: float


def greet(
    member: Member,
    port: int,
    context: ssl.SSLContext,
    timeout_s: float,
    wall: Callable[[], float] = time.time,
) -> Greeting:
    """Raises PeerSilent."""
    host = f"[{member.address}]" if ":" in member.address else member.address
    try:
        with httpx.Client(verify=context, timeout=timeout_s, trust_env=False) as client:
            asked = wall()
            response = client.get(f"https://{host}:{port}/status")
            heard = wall()
        response.raise_for_status()
        report = report_json.decode(response.json())
        theirs = parsedate_to_datetime(response.headers["date"]).timestamp()
    except (httpx.HTTPError, OSError, KeyError, ValueError, TypeError, report_json.NotAReport) as error:
        raise _silent(member, port, f"no answer ({type(error).__name__}: {error})") from error
    if report.name != member.name:
        raise _silent(member, port, f"answers as {report.name}")
    # The header tells whole seconds, cut off: half a second is the best guess of the rest.
    return Greeting(report, theirs + 0.5 - (asked + heard) / 2)


def _silent(member: Member, port: int, value: str) -> PeerSilent:
    return PeerSilent.about(
        f"agent of {member.name} at {member.address}:{port}",
        value=value,
        expected=f"its report, over mTLS, as {member.name}",
        hint=f"Is {member.name} up, does failover-agent run there, and do the security groups let port {port}"
        " through among the nodes?",
    )
