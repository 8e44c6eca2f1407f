"""What PostgreSQL there is on this host, and what speaks against making it a cluster's first node.

Usage: inspect_server.py JSON, with path, version, bin_dir, settings_of_ours, extension_packages, begun, stop.
Prints JSON: data (what lies at path, null: nothing), servers (what runs that is not ours), settings (what the
server was configured by), problems (each with a remedy), agent (whether an agent of ours was installed here
before). Changes nothing.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

UNIT_OF_OURS = "primacy-postgresql.service"
# A standby refuses to start with fewer than the primary has; ours has this many of each.
AT_LEAST = {"max_wal_senders": 20, "max_replication_slots": 20}
# Of the old server alone, or the agent's to decide.
NOT_CARRIED = re.compile(
    r"^(archive_|recovery_|restore_|primary_|synchronous_|ssl|log_|logging_|syslog_|event_|external_pid_file"
    r"|cluster_name|stats_temp_directory|data_sync_retry|lc_messages|dynamic_shared_memory_type|unix_socket_)"
)
ASK = """
select json_build_object(
 'settings', (select coalesce(json_object_agg(name, setting), '{}') from pg_settings
              where source = 'configuration file' and not pending_restart),
 'superuser', (select count(*) from pg_roles where rolname = 'postgres' and rolsuper and rolcanlogin),
 'in_recovery', pg_is_in_recovery(),
 'logical_slots', (select coalesce(json_agg(slot_name), '[]') from pg_replication_slots
                   where slot_type = 'logical'),
 'md5_roles', (select coalesce(json_agg(rolname), '[]') from pg_authid where rolpassword like 'md5%'),
 'hba', (select coalesce(json_agg(trim(concat_ws(' ', type, array_to_string(database, ','),
         array_to_string(user_name, ','), address, netmask, auth_method))), '[]') from pg_hba_file_rules))
"""


def control_of(path: Path, bin_dir: str) -> dict[str, str]:
    """The control file's lines, empty where there is no data directory."""
    if not (path / "PG_VERSION").exists():
        return {}
    argv = (f"{bin_dir}/pg_controldata", "-D", str(path))
    done = subprocess.run(
        argv, capture_output=True, text=True, env={"LC_ALL": "C.UTF-8", "PATH": os.environ["PATH"]}
    )
    lines = (line.partition(":") for line in done.stdout.splitlines())
    return {key.strip(): value.strip() for key, _, value in lines} if done.returncode == 0 else {}


def data_at(path: Path, bin_dir: str) -> dict[str, Any] | None:
    """What lies there, as far as it can be read; None: nothing."""
    version = path / "PG_VERSION"
    if not version.exists():
        return None
    control = control_of(path, bin_dir)
    tablespaces = path / "pg_tblspc"
    return {
        "path": str(path),
        "version": version.read_text().strip(),
        "readable": bool(control),
        "system_identifier": control.get("Database system identifier", ""),
        "state": control.get("Database cluster state", ""),
        "wal_level": control.get("wal_level setting", ""),
        "wal_log_hints": control.get("wal_log_hints setting", "") == "on",
        "checksums": control.get("Data page checksum version", "0") != "0",
        "standby": (path / "standby.signal").exists(),
        "tablespaces": sorted(str(p.readlink()) for p in tablespaces.iterdir())
        if tablespaces.is_dir()
        else [],
        "owner": version.owner(),
    }


def servers() -> Iterator[dict[str, Any]]:
    """Postmasters outside our unit. A postmaster's working directory is its data directory."""
    for process in Path("/proc").iterdir():
        if not process.name.isdigit():
            continue
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            data_dir = str((process / "cwd").readlink())
            pid_file = Path(data_dir, "postmaster.pid").read_text().splitlines()
            control_group = (process / "cgroup").read_text()
        except OSError:
            continue
        if not words[0].endswith((b"/postgres", b"/postmaster")) or pid_file[0] != process.name:
            continue
        units = re.findall(r"([^/\n]+\.service)", control_group)
        if UNIT_OF_OURS not in units:
            unit = units[-1] if units else ""
            yield {
                "pid": int(process.name),
                "data_dir": data_dir,
                "unit": unit,
                "port": pid_file[3],
                "socket": pid_file[4],
            }


def ask(server: dict[str, Any], owner: str, bin_dir: str) -> dict[str, Any]:
    """What only the running server knows; empty when it does not answer."""
    way = ("-h", server["socket"], "-p", server["port"], "-d", "postgres", "-U", "postgres")
    psql = (f"{bin_dir}/psql", *way, "-XAtqc", ASK)
    try:
        done = subprocess.run(
            ("runuser", "-u", owner, "--", *psql), capture_output=True, text=True, timeout=20
        )
    except subprocess.TimeoutExpired:
        return {}
    found: dict[str, Any] = json.loads(done.stdout) if done.returncode == 0 else {}
    return found


Check = tuple[bool, str, str]  # whether it is wrong, what is wrong, what to do about it


def problems(
    wish: dict[str, Any], data: dict[str, Any] | None, run: dict[str, Any] | None, told: dict[str, Any]
) -> list[dict[str, str]]:
    """What speaks against it. Everything is asked before anything is changed."""
    if data is None:
        nothing = f"there is no data directory at {wish['path']}"
        return [{"what": nothing, "remedy": "name the one to adopt in postgresql_adopt_data_dir"}]
    asked = of_directory(wish, data)
    if not wish["begun"]:  # else the rest was asked before the server was stopped
        asked += [*of_data(data, told), *(of_server(wish, run, told) if run else NOT_RUNNING)]
    return [{"what": what, "remedy": remedy} for wrong, what, remedy in asked if wrong]


def of_directory(wish: dict[str, Any], data: dict[str, Any]) -> list[Check]:
    version = f"it is of PostgreSQL {data['version']}, the cluster is of {wish['version']}"
    unread = f"run pg_controldata -D {data['path']}"
    return [
        (data["version"] != str(wish["version"]), version, "pg_upgrade it first, or set postgresql_version"),
        (not data["readable"], "its control file cannot be read", unread),
    ]


def of_data(data: dict[str, Any], told: dict[str, Any]) -> list[Check]:
    standby = data["standby"] or bool(told.get("in_recovery"))
    level = f"wal_level is {data['wal_level']}"
    guarded = data["checksums"] or data["wal_log_hints"]
    hints = "set wal_log_hints = on and restart it, or stop it and run pg_checksums --enable"
    spaces = f"it has tablespaces at {', '.join(data['tablespaces'])}"
    return [
        (standby, "it is a standby", "promote it, or adopt its primary"),
        (data["wal_level"] not in ("replica", "logical"), level, "set wal_level = replica and restart it"),
        (not guarded, "it has neither data checksums nor wal_log_hints", hints),
        (bool(data["tablespaces"]), spaces, "move their tables into pg_default"),
        (data["owner"] != "postgres", f"it belongs to {data['owner']}", "give it to postgres"),
    ]


NOT_RUNNING: list[Check] = [
    (True, "it does not run, and only the running server tells its settings and roles", "start it")
]


def of_server(wish: dict[str, Any], run: dict[str, Any], told: dict[str, Any]) -> list[Check]:
    who = f"it runs as pid {run['pid']} under {run['unit'] or 'no unit'}"
    stop = "set postgresql_adopt_stop: true, and it is stopped by its own unit"
    mute = f"it (pid {run['pid']}) does not let the superuser postgres in on its socket in {run['socket']}"
    way_in = "`local all postgres peer`; create the role if there is none"
    slots = ", ".join(told.get("logical_slots", []))
    preloaded = told.get("settings", {}).get("shared_preload_libraries", "")
    bare = bool(preloaded) and not wish["extension_packages"]
    packages = "name their packages in postgresql_extension_packages"
    return [
        (not wish["stop"], who, stop),
        (not told or not told["superuser"], mute, way_in),
        (bool(slots), f"it has the logical slots {slots}, which are not carried over", "drop them"),
        (bare, f"it preloads {preloaded}, which the standbys need, too", packages),
    ]


def carried(settings: dict[str, str], ours: list[str]) -> dict[str, str]:
    """The old server's settings that every node of the cluster gets."""
    return {
        name: value
        for name, value in sorted(settings.items())
        if name not in ours and not NOT_CARRIED.match(name) and int_or_more(name, value)
    }


def int_or_more(name: str, value: str) -> bool:
    return name not in AT_LEAST or int(value) > AT_LEAST[name]


def inspect(wish: dict[str, Any]) -> dict[str, Any]:
    path = Path(wish["path"])
    data = data_at(path, wish["bin_dir"])
    running = list(servers())
    run = next(
        (s for s in running if data and os.path.realpath(s["data_dir"]) == os.path.realpath(path)), None
    )
    told = ask(run, data["owner"], wish["bin_dir"]) if run and data else {}
    return {
        "data": data,
        "servers": running,
        "run": run,
        "settings": carried(told.get("settings", {}), wish["settings_of_ours"]),
        "hba": told.get("hba", []),
        "md5_roles": told.get("md5_roles", []),
        "problems": problems(wish, data, run, told),
        "agent": Path("/opt/failover-agent/current").exists(),
    }


if __name__ == "__main__":
    print(json.dumps(inspect(json.loads(sys.argv[1]))))
