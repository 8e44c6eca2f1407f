"""What the playbooks write for a server, that server takes: a name it does not know, and it does not start.

The role's own templates, by Ansible, for every version that preflight lets through; the version that is here
is started with them. What the other versions know stands in SINCE, from their release notes.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.certificates import Authority
from tests.unit.roles.programs import ROLES, load

from .postgres_nodes import USER, newest_bin_dir

VERSIONS = range(13, 19)
# Settings younger than the oldest version, and values: "name = value".
SINCE = {
    "client_connection_check_interval": 14,
    "log_recovery_conflict_waits": 14,
    "recovery_init_sync_method": 14,
    "wal_compression = lz4": 15,
    "allow_alter_system": 17,
}
TEMPLATES = ("postgresql.conf", "pg_hba.conf", "pg_ident.conf")
PLAY = """
- hosts: localhost
  gather_facts: false
  vars_files: {vars_files}
  tasks:
    - ansible.builtin.copy:
        dest: "{{{{ place }}}}/rendered.json"
        mode: "0644"
        content: |
          {{% set all = {{}} %}}{{% for version in versions %}}{{% for name in templates %}}
          {{% set there = place ~ '/' ~ version %}}
          {{% set here = {{'postgresql_version': version, 'postgresql__config_dir': there}} %}}
          {{% set text = lookup('ansible.builtin.template', role ~ name ~ '.j2', template_vars=here) %}}
          {{% set _ = all.update({{version ~ '/' ~ name: text}}) %}}
          {{% endfor %}}{{% endfor %}}{{{{ all | to_json }}}}
"""
GIVEN = {
    "primacy_private_ip": "10.9.0.1",
    "primacy_members": [{"name": "db1", "address": "10.9.0.1"}, {"name": "db2", "address": "10.9.0.2"}],
    "primacy_vpc_cidr": "10.9.0.0/16",
    "postgresql_archive_command": "test ! -f '/archive/%f' && cp %p /archive/%f",
    "postgresql_restore_command": "cp /archive/%f %p",
    "postgresql_settings": {"work_mem": "8MB"},
}


@pytest.fixture(scope="module")
def rendered() -> Iterator[Path]:
    """A folder for each version, with the files of the role; PostgreSQL's user can walk into it."""
    with tempfile.TemporaryDirectory(prefix="pg-rendered-") as name:
        place = Path(name)
        place.chmod(0o755)
        role = ROLES / "postgresql"
        vars_files = [str(role / "defaults/main.yml"), str(role / "vars/main.yml"), str(place / "given.json")]
        for version in VERSIONS:
            (place / str(version)).mkdir()
        asked = {"versions": list(VERSIONS), "templates": TEMPLATES, "role": f"{role}/templates/"}
        places = {"place": str(place), "postgresql_secrets_dir": str(place)}
        (place / "given.json").write_text(json.dumps(GIVEN | asked | places))
        (place / "play.yml").write_text(PLAY.format(vars_files=vars_files))
        playbook = str(Path(sys.executable).parent / "ansible-playbook")
        python = f"ansible_python_interpreter={sys.executable}"
        argv = (playbook, "-i", "localhost,", "-c", "local", "-e", python, str(place / "play.yml"))
        done = subprocess.run(argv, cwd=place, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-1000:]
        for name, text in json.loads((place / "rendered.json").read_text()).items():
            (place / name).write_text(text)
        yield place


def too_young(text: str, version: int) -> list[str]:
    """What of SINCE is written although `version` does not know it."""
    return [
        young
        for young, since in SINCE.items()
        if since > version and re.search(rf"^{young}\b", text, re.MULTILINE)
    ]


def test_these_are_the_versions_that_preflight_lets_through() -> None:
    (check,) = (
        task["ansible.builtin.assert"]["that"]
        for task in yaml.safe_load((ROLES / "preflight/tasks/timings.yml").read_text())
        if "version" in task["name"]
    )

    assert f"in range({VERSIONS.start}, {VERSIONS.stop})" in check


@pytest.mark.parametrize("version", VERSIONS)
def test_no_server_is_told_what_it_does_not_know(rendered: Path, version: int) -> None:
    text = (rendered / str(version) / "postgresql.conf").read_text()

    assert too_young(text, version) == []
    # What it does know is not left out for it.
    assert too_young(text, 0) == [young for young, since in SINCE.items() if since <= version]


@pytest.mark.parametrize("version", VERSIONS)
def test_a_server_that_is_left_alone_is_told_no_more(tmp_path: Path, version: int) -> None:
    assert too_young(left_alone(tmp_path, version), version) == []


def left_alone(data_dir: Path, version: int) -> str:
    """What playbooks/remove.yml writes in the place of the agent's file, on a primary."""
    (data_dir / "PG_VERSION").write_text(f"{version}\n")
    wish = {"role": "primary", "standbys": "stream", "archive": {}, "data_dir": str(data_dir)}
    text: str = load("remove", "plain").Steps(wish)._settings()
    return text


@dataclass
class Started:
    bin_dir: Path
    place: Path

    def ask(self, sql: str) -> str:
        """What the server answers; `postgres` comes in by the socket, as in pg_ident.conf."""
        return as_postgres(
            self.bin_dir / "psql", "-XAtq", "-h", self.place, "-U", USER, "-d", USER, "-c", sql
        )


def as_postgres(*argv: Any) -> str:
    become = ("setpriv", f"--reuid={USER}", f"--regid={USER}", "--init-groups")
    done = subprocess.run((*become, *map(str, argv)), cwd="/", capture_output=True, text=True)
    assert done.returncode == 0, (argv, done.stdout, done.stderr)
    return done.stdout.strip()


@pytest.fixture(scope="module")
def started(rendered: Path) -> Iterator[Started]:
    """The server that is here, with the settings of its version: no TCP, its own files, else as written."""
    bin_dir = newest_bin_dir()
    version = int(bin_dir.parts[4])
    place = rendered / str(version)
    assert place.exists(), f"PostgreSQL {version} is none of {VERSIONS}"
    data_dir, log = place / "data", place / "log"
    shutil.chown(place, USER, USER)
    Authority(place).certificate("node", "10.9.0.1")
    shutil.chown(place / "node.key", USER, USER)
    as_postgres(bin_dir / "initdb", "-D", data_dir, "--auth=reject", "-U", USER)
    (place / "agent.conf").write_text(left_alone(data_dir, version))
    here = {
        "config_file": place / "postgresql.conf",
        "data_directory": data_dir,
        "listen_addresses": "",
        "unix_socket_directories": place,
        **{f"ssl_{what}_file": place / f"{file}" for what, file in CERTIFICATES.items()},
    }
    options = " ".join(f"-c {name}='{value}'" for name, value in here.items())
    control = (bin_dir / "pg_ctl", "-D", data_dir, "-s", "-w", "-t", "60")
    try:
        as_postgres(*control, "-l", log, "-o", options, "start")
    except AssertionError:
        pytest.fail(f"no server from these settings: {log.read_text()[-2000:] if log.exists() else 'no log'}")
    try:
        yield Started(bin_dir, place)
    finally:
        as_postgres(*control, "-m", "immediate", "stop")


CERTIFICATES = {"ca": "ca.crt", "cert": "node.crt", "key": "node.key"}


def test_the_server_that_is_here_takes_every_setting(started: Started) -> None:
    wrong = started.ask(
        "select name, error from pg_file_settings"
        # What the command line says instead could not be applied, and is no fault.
        " where error is not null and error <> 'setting could not be applied'"
    )

    assert wrong == ""
    assert started.ask("select current_setting('wal_log_hints'), current_setting('work_mem')") == "on|8MB"


def test_the_server_that_is_here_takes_every_line_of_who_may_come_in(started: Started) -> None:
    assert started.ask("select error from pg_hba_file_rules where error is not null") == ""
    assert started.ask("select count(*) > 5 from pg_hba_file_rules") == "t"
