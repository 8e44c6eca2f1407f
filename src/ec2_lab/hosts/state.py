"""What must be known of a host besides what the kernel tells: a small file per host.

Power is never written here. It is read from the host's cgroup, so nothing can disagree with it.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from ec2_lab.model import LabPaths


@dataclass(frozen=True, slots=True)
class HostState:
    instance_id: str
    name: str
    private_ip: str
    netns: str
    init_pid: int  # of the last boot; a host that rebooted by itself has another (ask its cgroup)
    volumes: tuple[str, ...]  # ids of the attached data volumes


def folder(paths: LabPaths) -> Path:
    return paths.run / "hosts"


def write(paths: LabPaths, state: HostState) -> None:
    target = folder(paths) / f"{state.instance_id}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_suffix(".new")
    temporary.write_text(json.dumps(asdict(state)))
    temporary.replace(target)


def read(paths: LabPaths, instance_id: str) -> HostState | None:
    try:
        return _parse((folder(paths) / f"{instance_id}.json").read_text())
    except FileNotFoundError:
        return None


def forget(paths: LabPaths, instance_id: str) -> None:
    for suffix in ("json", "new", "console", "notify", "lock"):
        with contextlib.suppress(FileNotFoundError):
            (folder(paths) / f"{instance_id}.{suffix}").unlink()


def every(paths: LabPaths) -> list[HostState]:
    found = []
    for file in sorted(folder(paths).glob("*.json")):
        with contextlib.suppress(FileNotFoundError):
            found.append(_parse(file.read_text()))
    return found


def _parse(text: str) -> HostState:
    fields = json.loads(text)
    return HostState(**{**fields, "volumes": tuple(fields["volumes"])})
