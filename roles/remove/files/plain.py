"""Turn a node of a cluster into a server under a plain unit. Prints {"changed": […]}.

Usage: plain.py JSON. Every step looks first, so a run that was cut short is made good by the next; what is
ours goes last, because it shows that there is something to do. Nothing here makes a server start
read-write except `_let_it_be_primary`, which is asked for only after the lease is gone from the store.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

SYSTEMD = Path("/etc/systemd/system")
UNIT = SYSTEMD / "primacy-postgresql.service"
VIP_UNIT = SYSTEMD / "primacy-vip.service"
AGENT_CONFIG = Path("/etc/primacy/postgresql/agent.conf")
OURS = (
    SYSTEMD / "failover-gate.service",
    Path("/usr/local/bin/failover-agent"),
    Path("/usr/local/bin/failover-archive"),
    Path("/usr/local/bin/failover-restore"),
    Path("/usr/local/bin/failoverctl"),
    Path("/opt/failover-agent"),
    Path("/etc/failover-agent"),
    Path("/etc/primacy/secrets"),
    Path("/var/lib/failover-agent"),
    Path("/run/failover-agent"),
    SYSTEMD / "failover-agent.service",
)
TABLE = ("inet", "failover_gate")
ALTER_SYSTEM_SETTLED_SINCE = 17  # an older server does not start over `allow_alter_system`
INTERFACE = "primacy-vip"
NOBODYS = "# Left by playbooks/remove.yml; yours to change.\n"


class Steps:
    def __init__(self, wish: dict[str, Any]) -> None:
        self.wish = wish
        self.changed: list[str] = []
        self.primary = wish["role"] == "primary"
        self.runs = self.primary or wish["standbys"] == "stream"

    def do(self) -> None:
        self._open_the_gate_for_good()
        self._write(AGENT_CONFIG, self._settings(), like=AGENT_CONFIG.parent / "postgresql.conf")
        self._write(UNIT, plain_unit(UNIT.read_text()))
        self._signal()
        self._run("systemctl", "daemon-reload")
        self._addresses()
        self._server()
        self._remove_what_is_ours()
        self._run("systemctl", "daemon-reload")

    def _open_the_gate_for_good(self) -> None:
        if self._ok("nft", "list", "table", *TABLE):
            self._run("nft", "delete", "table", *TABLE)
            self.changed.append("the gate's table is gone")

    def _settings(self) -> str:
        """What the agent wrote last, less the agent; a standby goes on following whom it followed."""
        follows = ""
        if not self.primary:
            told = re.search(r"^primary_conninfo = .*$", AGENT_CONFIG.read_text(), re.MULTILINE)
            follows = told[0] + "\n" if told else ""
            if self.wish["whole"]:  # the primary's gate, and with it the port for replication, goes too
                follows = follows.replace(
                    f"port={self.wish['replication_port']} ", f"port={self.wish['port']} "
                )
        own = "synchronous_standby_names = ''\nrestart_after_crash = on\n"
        if int((Path(self.wish["data_dir"]) / "PG_VERSION").read_text()) >= ALTER_SYSTEM_SETTLED_SINCE:
            own += "allow_alter_system = on\n"
        # Without the agent, which was asked first.
        for name, command in self.wish["archive"].items():
            own += f"{name} = '{command.replace(chr(39), chr(39) * 2)}'\n"
        return NOBODYS + follows + "recovery_target_timeline = 'latest'\n" + own

    def _signal(self) -> None:
        signal = Path(self.wish["data_dir"]) / "standby.signal"
        if self.primary and signal.exists():
            self._let_it_be_primary(signal)
        elif not self.primary and not signal.exists():
            owner = signal.parent.stat()
            signal.touch(mode=0o600)
            os.chown(signal, owner.st_uid, owner.st_gid)
            _sync(signal.parent)
            self.changed.append("standby.signal is back")

    def _let_it_be_primary(self, signal: Path) -> None:
        """From now on a start is a primary's."""
        signal.unlink()
        _sync(signal.parent)
        self.changed.append("standby.signal is gone")

    def _remove_what_is_ours(self) -> None:
        for unit in ("failover-agent.service", "failover-gate.service"):
            if (SYSTEMD / unit).exists():
                self._run("systemctl", "disable", unit)
        for path in OURS:
            if path.is_symlink() or path.is_file():
                path.unlink()
            elif path.is_dir():
                shutil.rmtree(path)
            else:
                continue
            self.changed.append(f"{path} is gone")

    def _addresses(self) -> None:
        keep = self.primary and self.wish["vip"] == "keep"
        if keep:
            self._write(VIP_UNIT, vip_unit(self.wish["vips"]))
            self._run("systemctl", "daemon-reload")
            self._enable(VIP_UNIT.name)
            return
        if VIP_UNIT.exists():
            self._run("systemctl", "disable", "--now", VIP_UNIT.name)
            VIP_UNIT.unlink()
            self.changed.append(f"{VIP_UNIT} is gone")
        for vip in self.wish["vips"]:
            for device in (INTERFACE, "lo"):
                if self._ok("ip", "address", "del", f"{vip}/32", "dev", device):
                    self.changed.append(f"{vip} is off {device}")

    def _server(self) -> None:
        if self.runs:
            if self._ok("systemctl", "--quiet", "is-active", UNIT.name):
                self._run("systemctl", "reload", UNIT.name)
            self._enable(UNIT.name)
            return
        for verb, question in (("disable", "is-enabled"), ("stop", "is-active")):
            if self._ok("systemctl", "--quiet", question, UNIT.name):
                self._run("systemctl", verb, UNIT.name)
                self.changed.append(f"{UNIT.name}: {verb}")

    def _enable(self, unit: str) -> None:
        for verb, question in (("enable", "is-enabled"), ("start", "is-active")):
            if not self._ok("systemctl", "--quiet", question, unit):
                self._run("systemctl", verb, unit)
                self.changed.append(f"{unit}: {verb}")

    def _write(self, path: Path, text: str, like: Path | None = None) -> None:
        if path.exists() and path.read_text() == text:
            return
        new = path.with_name(f".{path.name}.new")
        new.write_text(text)
        pattern = like.stat() if like else None
        if pattern:
            os.chown(new, pattern.st_uid, pattern.st_gid)
            new.chmod(pattern.st_mode & 0o777)
        with new.open() as file:
            os.fsync(file.fileno())
        new.replace(path)
        _sync(path.parent)
        self.changed.append(f"{path} is written")

    def _ok(self, *argv: str) -> bool:
        return subprocess.run(argv, capture_output=True).returncode == 0

    def _run(self, *argv: str) -> None:
        done = subprocess.run(argv, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{' '.join(argv)}: {done.stderr.strip() or done.returncode}")


def plain_unit(text: str) -> str:
    """The server's unit without gate and agent's word, started at every boot."""
    for line in (
        r"# The gate is shut[^\n]*",
        r"Requires=failover-gate\.service",
        r"# The agent leaves[^\n]*",
        r"# `\+`: [^\n]*",
    ):
        text = re.sub(rf"^{line}\n", "", text, flags=re.MULTILINE)
    text = re.sub(r"^ExecCondition=.*\n", "", text, flags=re.MULTILINE)
    text = text.replace("After=failover-gate.service network.target", "After=network.target")
    text = text.replace("started and stopped by the failover agent alone", "once of a Primacy cluster")
    text = re.sub(r"^Restart=no$", "Restart=on-failure", text, flags=re.MULTILINE)
    return text if "[Install]" in text else text.rstrip("\n") + "\n\n[Install]\nWantedBy=multi-user.target\n"


def vip_unit(vips: list[str]) -> str:
    """An interface of its own, or lo where the kernel has no dummy, as the agent did."""
    add = "; ".join(
        f"ip address replace {vip}/32 dev {INTERFACE} 2>/dev/null || ip address replace {vip}/32 dev lo"
        for vip in vips
    )
    make = f"ip link add {INTERFACE} type dummy 2>/dev/null; ip link set {INTERFACE} up 2>/dev/null"
    return (
        "[Unit]\nDescription=The addresses that clients use\nBefore=primacy-postgresql.service\n\n"
        f"[Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/bin/sh -c '{make}; {add}'\n\n"
        "[Install]\nWantedBy=multi-user.target\n"
    )


def _sync(directory: Path) -> None:
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


if __name__ == "__main__":
    steps = Steps(json.loads(sys.argv[1]))
    steps.do()
    print(json.dumps({"changed": steps.changed}))
